"""Many clones of a small repository at once: direct, and through mintfs with a lease each. None may fail."""

import os
import shutil
import subprocess
import time

from clone import job, pointed, serve
from harness import Failed, Row, interleave, median, ratios, run, spent, spread, wanted
from peers import PASSWORD, Mintfs

DIRECT, MINTFS = "direct, credential helper", "mintfs, a lease each"
ROUNDS, FILES = 2, 20


def repository(sandbox):
    work, bare = sandbox.directory("work"), sandbox.directory("git/acme/app.git")
    run("git", "init", "-q", "-b", "main", work)
    for number in range(FILES):
        (work / f"file{number}").write_bytes(os.urandom(500))
    run("git", "-C", work, "add", ".")
    run("git", "-C", work, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "bench")
    run("git", "clone", "-q", "--bare", work, bare)


def clone_at_once(sandbox, url, environments):
    """Returns what each that failed said. The processes open a FIFO that nobody writes to, and start when it ends."""
    copies, gate = sandbox.memory / "copies", sandbox.memory / "gate"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    os.mkfifo(gate)
    clones = [subprocess.Popen(["sh", "-c", ': <"$1" && exec git clone -q "$2" "$3"', "sh", gate, url, copies / str(number)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, **environment})
              for number, environment in enumerate(environments)]  # fmt: skip
    time.sleep(2)  # until the last waits at the gate; one that came late would be one clone fewer at once
    begin = time.monotonic()
    os.close(os.open(gate, os.O_WRONLY))
    failed = [said for clone in clones if (said := clone.communicate(timeout=300)[1]) or clone.returncode]
    wall = time.monotonic() - begin
    gate.unlink()
    whole = len(list(copies.glob(f"*/file{FILES - 1}")))
    if whole + len(failed) != len(clones):
        raise Failed(f"{len(clones)} clones, {whole} whole, {len(failed)} failed")
    return failed, wall


def benchmark(plan, sandbox):
    repository(sandbox)
    server, address = serve(sandbox)
    url, common = f"{address}/acme/app.git", job(sandbox)
    helper = f"!printf 'username=bench\\npassword={PASSWORD}\\n' #"
    sides = {DIRECT: [common | pointed(credential__helper=helper)] * plan.crowd}
    if plan.mintfs:
        mintfs = Mintfs(sandbox, plan.build, {"git": address})
        sides[MINTFS] = [common | pointed(include__path=mintfs.open_lease("git") / ".gitconfig")
                         for _ in range(plan.crowd)]  # fmt: skip

    def sample(environments):
        with spent(server) as cpu:
            failed, wall = clone_at_once(sandbox, url, environments)
        return {"wall": wall, "failed": len(failed), "said": failed[:1], "cpu": sum(cpu())}

    title = f"{plan.crowd} clones at once"
    samples = interleave(title, ROUNDS, {name: lambda s=side: sample(s) for name, side in sides.items()})
    return [row(samples, name, title) for name in samples]


def row(samples, name, title):
    failed = max(sample["failed"] for sample in samples[name])
    said = [text for sample in samples[name] for text in sample["said"]]
    return Row(title, name, f"{median(samples, name, 'wall'):.1f} s", spread(ratios(samples, name, DIRECT, "wall")),
               wanted(f"{failed} failed", failed, at_most=0), " ".join(said[:1]).replace("\n", " ")[:200])
