"""git clone of a generated repository: direct, and through mintfs. Wall time, and the CPU time of all taking part."""

import random
import shutil
import time

from harness import MIB, Failed, Row, free_port, interleave, listening, median, ratios, run, spent, spread, target
from peers import PASSWORD, REAL, Mintfs, configure

FILES, COMMITS = 2000, 20
HELPER, HEADER, RUN, LEASE = "direct, credential helper", "direct, extraHeader", "mintfs run", "mintfs, lease open"


def repository(sandbox, size):
    """A bare repository with a pack of about `size` bytes; the same objects at each run."""
    generator, bare = random.Random(1), sandbox.directory("git/acme/app.git")
    per_commit = FILES // COMMITS
    stream = bytearray()
    for commit in range(COMMITS):
        stream += b"commit refs/heads/main\ncommitter bench <bench@localhost> %d +0000\n" % (1700000000 + commit)
        stream += b"data 5\nbench\n"
        for number in range(per_commit):
            content = generator.randbytes(size // FILES)
            stream += b"M 100644 inline d%02d/f%03d.bin\ndata %d\n%s\n" % (commit, number, len(content), content)
    run("git", "init", "-q", "--bare", "-b", "main", bare)
    source = sandbox.path / "stream"
    source.write_bytes(stream)
    with source.open("rb") as file:
        run("git", "-C", bare, "fast-import", "--quiet", stdin=file)
    source.unlink()


def serve(sandbox):
    """The Git server of what lies in the sandbox's git/: its process and its address."""
    port = free_port()
    sandbox.write("users", f"bench:{PASSWORD}\n")
    config = configure(sandbox, "lighttpd.conf.in", port=port,
                       backend=run("git", "--exec-path").strip() + "/git-http-backend")
    process = sandbox.start("lighttpd", "lighttpd", "-D", "-f", config, ready=listening(port))
    return process, f"http://127.0.0.1:{port}"


def job(sandbox):
    return {"HOME": str(sandbox.directory("home")), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


def benchmark(plan, sandbox):
    repository(sandbox, plan.repository)
    server, address = serve(sandbox)
    servers = [server]
    url, copy = f"{address}/acme/app.git", sandbox.memory / "copy"
    environment = job(sandbox)
    git = ["git", "clone", "-q", url, copy]
    helper = f"!printf 'username=bench\\npassword={PASSWORD}\\n' #"
    sides = {HELPER: (git, pointed(credential__helper=helper)),
             HEADER: (git, pointed(http__extraHeader=f"Authorization: {REAL}"))}
    if plan.mintfs:
        mintfs = Mintfs(sandbox, plan.build, {"git": address})
        servers.append(mintfs.process)
        environment |= mintfs.environment
        sides[RUN] = ([plan.build / "mintfs", "run", "-c", "git", "--", *git], {})
        sides[LEASE] = (git, pointed(include__path=mintfs.open_lease("git") / ".gitconfig"))

    def sample(command, extra):
        shutil.rmtree(copy, ignore_errors=True)
        with spent(*servers) as cpu:
            begin = time.monotonic()
            run(*command, env=environment | extra)
            wall = time.monotonic() - begin
        if len(list(copy.glob("d*/*.bin"))) != FILES:
            raise Failed("the clone is not complete")
        return {"wall": wall, "cpu": sum(cpu()), "mintfsd": sum(cpu()[2:])}

    title = f"git clone, {plan.repository // MIB} MiB, {FILES} files"
    samples = interleave(title, max(plan.rounds, 5), {name: lambda s=side: sample(*s) for name, side in sides.items()})
    return [row(samples, name, title) for name in samples]


def pointed(**settings):
    """Git configuration by environment, as `mintfs run` gives it: section__key=value."""
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key.replace("__", "."), f"GIT_CONFIG_VALUE_{number}": str(value)}
    return environment


def row(samples, name, title):
    also = f"CPU of client and servers {median(samples, name, 'cpu') * 1000:.0f} ms"
    if name in (RUN, LEASE):
        also += (f" ({spread(ratios(samples, name, HELPER, 'cpu'))} of {HELPER}),"
                 f" of it mintfsd {median(samples, name, 'mintfsd') * 1000:.0f} ms")
    targets = target(samples, name, HELPER, "wall", at_most=1.05) if name in (RUN, LEASE) else ""
    return Row(title, name, f"{median(samples, name, 'wall') * 1000:.0f} ms",
               spread(ratios(samples, name, HELPER, "wall")), targets, also)
