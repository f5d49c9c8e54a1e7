"""Requests per second and 1 GiB streams: direct, nginx, HAProxy, mintfs, one worker each."""

import json

from harness import CORES, FIRST, GIB, MIB, OTHERS, Failed, Row, interleave, median, ratios, run, spent, spread, target
from peers import HERE, PACK, SMALL, Mintfs, addresses_of, start_peer, start_upstream

TWO_THREADS = "mintfs, two threads"


def start_sides(plan, sandbox):
    direct, load = start_upstream(sandbox, plan)
    sides = [direct] + [start_peer(sandbox, name, direct.ports) for name in ("nginx", "haproxy")]
    if plan.mintfs:
        sides.append(Mintfs(sandbox, plan.build, addresses_of(direct.ports)).side(direct.ports))
    return sides, load


def place(sides, load, pinned):
    """Pinned: the proxy has a core to itself, upstream and client share the others."""
    for process in load:
        process.pin(OTHERS if pinned else CORES)
    for side in sides:
        if side.process:
            side.process.pin(FIRST if pinned else CORES)


def with_cpu(side, measure):
    """The sample of measure(), with the CPU seconds that the proxy spent meanwhile."""
    with spent(*[side.process] if side.process else []) as cpu:
        sample = measure()
    return {**sample, "cpu": sum(cpu()[1:])}


def benchmark(plan, sandbox):
    sides, load = start_sides(plan, sandbox)
    rows = []
    for pinned, connections in ((True, 32), (True, 1), (False, 32)):
        rows += requests(plan, sides, load, pinned, connections)
    if plan.mintfs:
        rows += second_thread(plan, sandbox, sides, load)
    place(sides, load, pinned=True)
    for title, upstream, move in (("GET", "plain", get), ("GET, TLS upstream", "tls", get), ("POST", "drain", post)):
        rows += stream(plan, sandbox, sides, title, upstream, move)
    return rows


def second_thread(plan, sandbox, sides, load):
    """The first side is mintfs with one thread. The second core is not free: client and upstream are on it, too."""
    one, ports = sides[-1], sides[0].ports
    two = Mintfs(sandbox, plan.build, addresses_of(ports), threads=2).side(ports, TWO_THREADS)
    rows = requests(plan, [one, two], load, False, 32, ", threads")
    sandbox.stop(two.process)
    return rows


def requests(plan, sides, load, pinned, connections, what=""):
    def sample(side):
        return with_cpu(side, lambda: wrk(side))

    def wrk(side):
        url = f"http://127.0.0.1:{side.ports['plain']}{side.target('plain', SMALL)}"
        out = run("wrk", "-t1", f"-c{connections}", f"-d{plan.seconds}s", "--latency", "-s", HERE / "wrk.lua",
                  "-H", f"Authorization: {side.authorization('plain')}", url, cores=OTHERS if pinned else CORES)
        result = json.loads(out.strip().splitlines()[-1])
        if result["errors"] or not result["requests"]:
            raise Failed(f"{side.name} answered {result['errors']} of {result['requests']} requests with an error")
        return result

    def row(side):
        name, targets, also = side.name, "", ""
        also = f"p50 {median(samples, name, 'p50'):.0f} µs, p99 {median(samples, name, 'p99'):.0f} µs"
        if side.process:
            cost = [s["cpu"] / s["requests"] * 1e6 for s in samples[name]]
            also += f"; CPU per 1000 requests {spread(cost)} ms"
        if name == TWO_THREADS:
            targets = target(samples, name, "mintfs", "rate", at_least=1.0)
        if name == "mintfs" and connections == 32 and pinned:
            targets = "; ".join((target(samples, name, "nginx", "rate", at_least=1.0),
                                 target(samples, name, "haproxy", "rate", at_least=1.1),
                                 target(samples, name, "nginx", "p99", "p99 ", at_most=1.0)))
        return Row(title, name, f"{median(samples, name, 'rate'):.0f}/s",
                   spread(ratios(samples, name, sides[0].name, "rate")), targets, also)

    place(sides, load, pinned)
    title = f"proxy: requests{what}, {connections} at once, {'pinned' if pinned else 'not pinned'}"
    samples = interleave(title, plan.rounds, {side.name: lambda s=side: sample(s) for side in sides})
    return [row(side) for side in sides]


def get(plan, sandbox, side, upstream):
    if side.process is None and upstream == "tls":  # git's own TLS client; sink speaks plain TCP
        out = run("curl", "-sf", "-o", "/dev/null", "--cacert", sandbox.path / "ca.pem",
                  "-H", f"Authorization: {side.authorization(upstream)}",
                  "-w", '{"bytes": %{size_download}, "seconds": %{time_total}}',
                  f"https://localhost:{side.ports[upstream]}{PACK}", cores=OTHERS)
        result = json.loads(out)
        return {**result, "rate": result["bytes"] / result["seconds"] / 1e6}
    return sink(plan, side, upstream, "get", PACK)


def post(plan, sandbox, side, upstream):
    return sink(plan, side, upstream, "post", "/acme/app.git/git-receive-pack", plan.stream)


def sink(plan, side, upstream, act, path, *more):
    return json.loads(run(plan.program("sink"), act, side.ports[upstream], side.target(upstream, path), *more,
                          env={"AUTHORIZATION": side.authorization(upstream)}, cores=OTHERS))


def stream(plan, sandbox, sides, title, upstream, move):
    def sample(side):
        if side.process:
            side.process.reset_peak()
        result = with_cpu(side, lambda: move(plan, sandbox, side, upstream))
        if result["bytes"] != plan.stream:
            raise Failed(f"{side.name} moved {result['bytes']} bytes of {plan.stream}")
        result["peak"] = side.process.peak_rss() if side.process else 0
        return result

    def row(side):
        name, targets, also = side.name, "", ""
        if side.process:
            cost = [s["cpu"] * GIB / s["bytes"] for s in samples[name]]
            also = f"CPU per GiB {spread(cost)} s; peak RSS {max(s['peak'] for s in samples[name]) / MIB:.1f} MiB"
        if name == "mintfs" and upstream == "tls":
            targets = target(samples, name, "nginx", "rate", at_least=1.0)
        elif name == "mintfs":
            targets = "; ".join((target(samples, name, "nginx", "rate", at_least=1.5),
                                 target(samples, name, "haproxy", "rate", at_least=1.2)))
        return Row(title, name, f"{median(samples, name, 'rate'):.0f} MB/s",
                   spread(ratios(samples, name, "direct", "rate")), targets, also)

    title = f"proxy: {plan.stream / GIB:g} GiB {title}, pinned"
    samples = interleave(title, plan.rounds, {side.name: lambda s=side: sample(s) for side in sides})
    return [row(side) for side in sides]
