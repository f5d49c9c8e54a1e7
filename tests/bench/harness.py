"""What every benchmark needs: a sandbox that always cleans up, processes with their cost, interleaved rounds, rows."""

import contextlib
import ctypes
import dataclasses
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
FIRST, OTHERS = CORES[:1], CORES[1:] or CORES[:1]  # pinned: the thing measured on FIRST, its load on OTHERS
INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM}
TICK = os.sysconf("SC_CLK_TCK")
MIB, GIB = 1 << 20, 1 << 30


@dataclasses.dataclass
class Plan:
    """The sizes of one run."""
    build: Path
    rounds: int
    seconds: int       # per sample
    stream: int        # bytes
    repository: int    # bytes
    leases: int
    crowd: int         # clones at once
    connections: int   # idle ones of the memory benchmark
    mintfs: bool       # is it built?

    def program(self, name):
        return self.build / "tests/bench" / name


class Failed(Exception):
    """One sentence for the user."""


def _prepare_child(cores):
    """Runs in the child before exec: it dies with the benchmark, even when that is killed, and has its cores."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.sched_setaffinity(0, cores or CORES)


def run(*argv, cores=None, env=None, timeout=300, stdin=None):
    """Runs one command and returns its standard output; a failure is told with the command and what it said."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=stdin or subprocess.DEVNULL,
                          env={**os.environ, **(env or {})}, preexec_fn=lambda: _prepare_child(cores))
    if done.returncode != 0:
        raise Failed(f"{Path(argv[0]).name} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


class Process:
    """A server under test with all its children: what it costs, and on which cores it runs."""

    def __init__(self, name, popen):
        self.name, self.popen = name, popen

    def pids(self):
        found, queue = [], [self.popen.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    queue += [int(child) for child in task.read_text().split()]
        return found

    def pin(self, cores):
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(task), cores)

    def cpu(self):
        """Seconds of CPU so far, user and system: of threads to the nanosecond, of ended children (CGI) in ticks."""
        nanoseconds = ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
                nanoseconds += sum(int(task.read_text().split()[0]) for task in tasks)
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]))
        return nanoseconds / 1e9 + ticks / TICK

    def _memory(self, field):
        text = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        return 1024 * sum(map(int, re.findall(rf"^{field}:\s+(\d+) kB", text, re.M)))

    def rss(self):
        return self._memory("VmRSS")

    def peak_rss(self):
        return self._memory("VmHWM")

    def reset_peak(self):
        for pid in self.pids():
            with contextlib.suppress(PermissionError):  # not root, and the process hides its memory: peak of its life
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def stop(self):
        self.popen.terminate()
        try:
            self.popen.wait(timeout=8)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


class Sandbox:
    """Temporary directories (`path`, and `memory` on tmpfs) and the processes in them; nothing outlives the `with`."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="mintfs-bench."))
        self.memory = Path(tempfile.mkdtemp(prefix="mintfs-bench.", dir="/dev/shm"))
        self.processes = []
        return self

    def __exit__(self, error, *_):
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)  # a second Ctrl-C waits until all is gone
        if error is Failed:
            self._tell_logs()
        for process in reversed(self.processes):
            process.stop()
        unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
        for mount in reversed(self._mounts()):
            subprocess.run([*unmount, mount], check=False)
        if not self._mounts():  # never delete through a mount
            shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.memory, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)

    def _tell_logs(self):
        for process in self.processes:
            for line in (self.path / f"{process.name}.log").read_text(errors="replace").splitlines()[-5:]:
                print(f"{process.name}: {line}", file=sys.stderr)

    def _mounts(self):
        points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return [point for point in points if point.startswith(f"{self.path}/")]

    def directory(self, name):
        (self.path / name).mkdir(parents=True, exist_ok=True)
        return self.path / name

    def write(self, name, text, mode=0o600):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def start(self, name, *argv, ready, env=None):
        """Starts a server and waits until ready() is true."""
        log = self.path / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen([str(a) for a in argv], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                     env={**os.environ, **(env or {})}, preexec_fn=lambda: _prepare_child(None))
        process = Process(name, popen)
        self.processes.append(process)
        deadline = time.monotonic() + 10
        while not ready():
            if popen.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{name} did not start: {log.read_text(errors='replace').strip()[-800:]}")
            time.sleep(0.02)
        return process

    def stop(self, process):
        process.stop()
        self.processes.remove(process)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def spent(*servers):
    """with spent(server) as cpu: ...; cpu() is then the CPU seconds of the commands run and of each server."""
    def now():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return [usage.ru_utime + usage.ru_stime, *(server.cpu() for server in servers)]

    before = now()
    yield lambda: [later - earlier for later, earlier in zip(after, before)]
    after = now()


def listening(port):
    def ready():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    return ready


def interleave(title, rounds, sides):
    """Runs {name: sample()} as A B C D, A B C D ...; the first round warms up and is dropped."""
    samples = {name: [] for name in sides}
    for number in range(rounds + 1):
        print(f"{title}: round {number or '-'}/{rounds}", file=sys.stderr)
        for name, sample in sides.items():
            try:
                samples[name].append(sample())
            except Failed as error:
                raise Failed(f"{title}, {name}: {error}") from error
    return {name: values[1:] for name, values in samples.items()}


def median(samples, side, metric):
    return statistics.median(sample[metric] for sample in samples[side])


def ratios(samples, side, peer, metric):
    """One ratio per round: neighbours in time are compared, and drift of the machine cancels out."""
    return [a[metric] / b[metric] for a, b in zip(samples[side], samples[peer])]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def wanted(text, value, at_most=None, at_least=None):
    met = value <= at_most if at_most is not None else value >= at_least
    bound = f"≤ {at_most}" if at_most is not None else f"≥ {at_least}"
    return f"{text}, wanted {bound}: {'met' if met else '**missed**'}"


def target(samples, side, peer, metric, label="", at_most=None, at_least=None):
    values = ratios(samples, side, peer, metric)
    return wanted(f"{label or ''}{spread(values)} of {peer}", statistics.median(values), at_most, at_least)


@dataclasses.dataclass
class Row:
    benchmark: str
    side: str
    median: str
    baseline: str = ""
    targets: str = ""
    also: str = ""

    def __str__(self):
        return "| " + " | ".join(dataclasses.astuple(self)) + " |"


TABLE_HEAD = "| benchmark | side | median | ratio to the first side | targets | also |\n|---|---|---|---|---|---|"
