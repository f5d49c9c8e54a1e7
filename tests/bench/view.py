"""A fresh open+read+close of the view, with one lease and with many, against a static file on the same libfuse
settings, and tmpfs."""

import json
import shutil

from harness import CORES, FIRST, Row, interleave, median, ratios, run, spent, spread, target
from peers import Mintfs

STAND_IN = "# as long as a view\n" + "x" * 880 + "\n"  # when mintfs is not built


def benchmark(plan, sandbox):
    servers, paths = {}, {}
    copy = sandbox.memory / "lease/.gitconfig"
    copy.parent.mkdir(mode=0o700)
    if plan.mintfs:
        mintfs = Mintfs(sandbox, plan.build, {"bench": "http://127.0.0.1:9"})
        view = mintfs.open_lease("bench") / ".gitconfig"
        shutil.copyfile(view, copy)
        servers["mintfs"] = mintfs.process
    else:
        copy.write_text(STAND_IN)
    mount = sandbox.directory("static")
    paths["tmpfs"], paths["static libfuse"] = copy, mount / "lease/.gitconfig"
    servers["static libfuse"] = sandbox.start("static_fs", plan.program("static_fs"), copy, mount,
                                              ready=paths["static libfuse"].exists)
    if plan.mintfs:
        paths["mintfs"] = view
        crowded = Mintfs(sandbox, plan.build, {"bench": "http://127.0.0.1:9"})
        first, *others = crowded.open_leases("bench", plan.leases)
        for lease in (*others, first):
            (crowded.runtime / "fs" / lease / ".gitconfig").read_bytes()
        servers["mintfs, crowded"] = crowded.process
        paths["mintfs, crowded"] = crowded.runtime / "fs" / first / ".gitconfig"

    rows = []
    for place, cores in (("one core", FIRST), (f"{len(CORES)} cores", CORES)):
        for server in servers.values():
            server.pin(cores)

        def sample(name, cores=cores):
            with spent(*[servers[name]] if name in servers else []) as cpu:
                result = json.loads(run(plan.program("openers"), paths[name], plan.seconds, cores=cores))
            return {**result, "cost": 1e6 / result["rate"], "cpu": sum(cpu()) / result["operations"] * 1e6}

        sides = {name: lambda n=name: sample(n) for name in paths}
        samples = interleave(f"view, {place}", plan.rounds, sides)
        rows += [row(plan, samples, name, place) for name in samples]
    return rows


def row(plan, samples, name, place):
    targets, cpu = "", f"{median(samples, name, 'cpu'):.2f} µs"
    if name == "mintfs":
        targets = target(samples, name, "static libfuse", "cost", at_most=1.10)
        cpu += f", {spread(ratios(samples, name, 'static libfuse', 'cpu'))} of static libfuse"
        if place == "one core":
            targets += "; " + target(samples, name, "tmpfs", "cost", at_most=9.5)
    if name == "mintfs, crowded":
        targets = target(samples, name, "mintfs", "cost", at_most=1.10)
    title = f"mintfs, {plan.leases} leases" if name == "mintfs, crowded" else name
    return Row(f"view: open+read+close, {place}", title, f"{median(samples, name, 'cost'):.2f} µs",
               spread(ratios(samples, name, "tmpfs", "cost")), targets,
               f"CPU {cpu}; p50 {median(samples, name, 'p50'):.1f} µs, p99 {median(samples, name, 'p99'):.1f} µs")
