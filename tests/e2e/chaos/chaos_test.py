"""Everything at once: mintfsd is killed and upgraded at random moments while many use it.

A short form runs with the suite. MINTFS_CHAOS=full (tools/chaos) is the whole of it and prints its figures;
MINTFS_CHAOS=KILLS,UPGRADES is something between. MINTFS_CHAOS_SEED repeats the choices of an earlier run.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.inhabitant import Inhabitant
from support.job import Job
from support.load import Clone, Cloner, Control, Reader
from support.mintfs import Daemon, connector
from support.waiting import DEADLINE, eventually

LEASES, READERS, CLONERS = 2000, 8, 2
FORM = os.environ.get("MINTFS_CHAOS", "")
KILLS, UPGRADES = (50, 20) if FORM == "full" else map(int, FORM.split(",")) if FORM else (10, 4)
SEED = int(os.environ.get("MINTFS_CHAOS_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 31)
#: Of the kills; the others find a daemon that serves, starts or drains.
IN_AN_UPGRADE = 0.2


@dataclass
class Happened:
    kills: list[tuple[float, float]] = field(default_factory=list)  # how long each may have been felt
    recoveries: list[float] = field(default_factory=list)  # from a kill until another mintfsd answers
    in_upgrades: int = 0
    upgrades: list[tuple[float, float]] = field(default_factory=list)


class Chaos:
    """Does to the daemon what shall be done, at moments that the random numbers choose."""

    def __init__(self, mintfs: Daemon, numbers: random.Random) -> None:
        self._mintfs, self._numbers = mintfs, numbers
        self.happened = Happened()

    def run(self, kills: int, upgrades: int) -> None:
        acts = [self._kill] * kills + [self._upgrade] * upgrades
        in_upgrades = max(1, int(kills * IN_AN_UPGRADE))
        acts[:in_upgrades] = [self._kill_in_an_upgrade] * in_upgrades
        self._numbers.shuffle(acts)
        for act in acts:
            time.sleep(self._numbers.uniform(0, 1.5))
            act()

    def _kill_newest(self) -> None:
        """Whatever it is doing: it may have just been started."""
        assert self._mintfs.process
        pids = [pid for pid in self._mintfs.processes() if pid != self._mintfs.process.pid]
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(max(pids, key=_start_time), signal.SIGKILL)

    def _kill(self) -> None:
        begin = time.monotonic()
        self._kill_newest()
        if self._numbers.random() < 0.8:  # else the next act meets what is starting
            assert self._mintfs.pid
            self.happened.recoveries.append(time.monotonic() - begin)
        self.happened.kills.append((begin, time.monotonic()))

    def _upgrade(self) -> None:
        old = self._mintfs.pid
        begin = time.monotonic()
        self._mintfs.cli("upgrade")
        self.happened.upgrades.append((begin, time.monotonic()))
        assert self._mintfs.pid != old

    def _kill_in_an_upgrade(self) -> None:
        """The old one or the new one, before, in or after the hand-over."""
        assert self._mintfs.pid
        begin = time.monotonic()
        upgrade = threading.Thread(target=lambda: self._mintfs.cli("upgrade", check=False))
        upgrade.start()
        time.sleep(self._numbers.choice([self._numbers.uniform(0, 0.1), self._numbers.uniform(0, 1.2)]))
        assert self._mintfs.process
        pids = [pid for pid in self._mintfs.processes() if pid != self._mintfs.process.pid]
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._numbers.choice(sorted(pids)), signal.SIGKILL)
        upgrade.join()
        assert self._mintfs.pid
        self.happened.kills.append((begin, time.monotonic()))
        self.happened.in_upgrades += 1


def _start_time(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _overlaps(clone: Clone, times: list[tuple[float, float]]) -> bool:
    return any(begin <= clone.end and clone.begin <= end for begin, end in times)


class Watcher:
    """Asks the inhabitant of another namespace all the time whether everything is as it was."""

    def __init__(self, inhabitant: Inhabitant) -> None:
        self.failures: list[str] = []
        self.asked = 0
        self._inhabitant = inhabitant
        self._whole, self._first = inhabitant.content("whole"), inhabitant.ask("afresh")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            self.asked += 1
            answers = {word: self._inhabitant.ask(word) for word in ("whole", "go on", "afresh")}
            self.failures += [answer["error"] for answer in answers.values() if "error" in answer]
            if self.failures:
                return
            if answers["whole"]["content"] != self._whole or not self._whole.startswith(answers["go on"]["content"]):
                self.failures.append("the content of the handle has changed")
            if any(answers["afresh"][key] != self._first[key] for key in ("inode", "names")):
                self.failures.append("the folder has changed")

    def end(self) -> list[str]:
        self._ended.set()
        self._thread.join()
        return self.failures


@pytest.fixture
def chaos_server(start_server: Callable[..., GitServer]) -> GitServer:
    server = start_server()
    server.create("acme/app", {"blob": os.urandom(2 << 20), "hello.txt": "hello\n"}, commits=3)
    return server


@pytest.fixture
def mintfs(chaos_server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", chaos_server.url, password), keeper=True, log={"level": "info"})


@pytest.fixture
def inhabitant(mintfs: Daemon, tmp_path: Path) -> Iterator[Inhabitant]:
    inhabitant = Inhabitant(mintfs.open_lease(), tmp_path / "elsewhere")
    yield inhabitant
    inhabitant.leave()


@pytest.mark.root
def test_nobody_notices_kills_and_upgrades(
    mintfs: Daemon, chaos_server: GitServer, inhabitant: Inhabitant, new_job: Callable[..., Job],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    print(f"MINTFS_CHAOS_SEED={SEED}")
    numbers, control = random.Random(SEED), Control(mintfs)
    leases = [control.open_lease() for _ in range(LEASES)]
    before = control.leases()
    readers: list[Reader] = []
    cloners: list[Cloner] = []
    watcher, chaos, begin = Watcher(inhabitant), Chaos(mintfs, numbers), time.monotonic()
    try:
        readers += [Reader([leases[0]] if number % 2 else numbers.sample(leases, 500)) for number in range(READERS)]
        cloners += [Cloner(new_job(leases[number]), f"{chaos_server.url}/acme/app.git") for number in range(CLONERS)]
        chaos.run(KILLS, UPGRADES)
    finally:
        # Who waits for an answer that never comes, which is what this test looks for, is woken by nothing else.
        rescue = threading.Timer(2 * DEADLINE, mintfs.kill)
        rescue.start()
        read = [reader.end() for reader in readers]
        clones = [clone for cloner in cloners for clone in cloner.end()]
        watcher.end()
        rescue.cancel()
    lasted, happened = time.monotonic() - begin, chaos.happened

    failed = [clone for clone in clones if clone.failure]
    # A kill may break a connection, and never what is read of the view.
    broken = [clone for clone in failed if _overlaps(clone, happened.kills) and str(mintfs.mount) not in clone.failure]
    unexplained = [clone for clone in failed if clone not in broken]
    upgraded_over = [clone for clone in clones if _overlaps(clone, happened.upgrades)]
    recoveries = sorted(happened.recoveries) or [0.0]
    table = {
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}",
        "duration, seed": f"{lasted:.0f} s, {SEED}",
        "leases open": str(len(before)),
        "kills with SIGKILL (of these in an upgrade)": f"{len(happened.kills)} ({happened.in_upgrades})",
        "upgrades": str(len(happened.upgrades)),
        f"opens and reads by {READERS} readers": str(sum(each["done"] for each in read)),
        "of these failed": str(sum(each["failed"] for each in read)),
        "longest open and read": f"{max(each['worst'] for each in read) * 1000:.0f} ms",
        "from a kill to the next answer of the control socket, median and most":
            f"{statistics.median(recoveries) * 1000:.0f} ms, {recoveries[-1] * 1000:.0f} ms",
        "looks from another mount namespace (held handle, cwd, bind mount)": str(watcher.asked),
        "of these looks failed": str(len(watcher.failures)),
        "clones": str(len(clones)),
        "of these under way during an upgrade": str(len(upgraded_over)),
        "clones failed over upgrades": str(len(unexplained)),
        "clones broken by a kill": str(len(broken)),
    }  # fmt: skip
    with capsys.disabled():
        if FORM:
            print("\n| | |\n|---|---|")
            print("\n".join(f"| {name} | {value} |" for name, value in table.items()))

    assert [each["first"] for each in read if each["failed"]] == []
    assert watcher.failures == []
    assert [clone.failure for clone in unexplained] == []
    assert all(each["done"] > 0 for each in read) and watcher.asked > 0 and clones
    assert (len(happened.kills), len(happened.upgrades)) == (KILLS, UPGRADES)
    assert control.leases() == before
    eventually("one mintfsd is left", lambda: len(mintfs.processes()) == 2)  # and the keeper
    assert mintfs.stop() == 0
    assert not os.path.ismount(mintfs.mount) and not mintfs.control.exists()
