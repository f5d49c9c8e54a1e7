"""An upgrade: the next mintfsd takes over without a gap, or the one that is there serves on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.git_server import Gate, GitServer
from support.inhabitant import Inhabitant
from support.job import Job, basic
from support.mintfs import MINTFSD, STRANGER, Daemon, connector, token_in
from support.ports import free_port
from support.raw_http import connect, exchange, request
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


@pytest.fixture(params=["alone", "kept"])
def running(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], request: pytest.FixtureRequest
) -> Daemon:
    """With mintfs-keeper and without."""
    return start_mintfs(connector("git", server.url, password), keeper=request.param == "kept")


@pytest.fixture
def replaceable(tmp_path: Path) -> Path:
    """A copy of the program, which a test may replace."""
    copy = tmp_path / "bin/mintfsd"
    copy.parent.mkdir()
    shutil.copy(MINTFSD, copy)
    return copy


@pytest.fixture(params=["alone", "kept"])
def copied(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], replaceable: Path, request: pytest.FixtureRequest
) -> Daemon:
    """Runs from a copy."""
    return start_mintfs(connector("git", server.url, password), keeper=request.param == "kept", program=replaceable)


def _replace(program: Path, content: bytes) -> None:
    new = program.with_name("new")
    new.write_bytes(content)
    new.chmod(0o755)
    new.replace(program)  # as a package does it


@pytest.fixture(params=["alone", "kept"])
def gated(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    replaceable: Path, request: pytest.FixtureRequest,
) -> tuple[Daemon, GitServer]:  # fmt: skip
    """Runs from a copy, too; its server holds a large clone back."""
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    server.create("acme/app", {"hello.txt": "hello\n"})
    return start_mintfs(connector("git", server.url, password), keeper=request.param == "kept", program=replaceable), server


def _has_ended(pid: int) -> bool:
    """A zombie that nobody has waited for has ended as well."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def _assert_serves(mintfs: Daemon, job: Job, server: GitServer, to: str) -> None:
    """All that a daemon is for."""
    assert "Authorization" in job.gitconfig()
    job.clone(f"{server.url}/acme/app.git", to=to)
    lease = mintfs.open_lease()
    assert "Authorization" in lease.gitconfig.read_text()
    mintfs.close_lease(lease)
    with pytest.raises(OSError):
        lease.gitconfig.read_text()


# --- an upgrade that works ---------------------------------------------------------------------------


def test_a_clone_under_way_is_finished_by_the_old_and_all_else_is_served_by_the_new(
    gated: tuple[Daemon, GitServer], gate: Gate, new_job: Callable[..., Job]
) -> None:
    mintfs, server = gated
    job, old = new_job(mintfs.open_lease()), mintfs.pid
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    said = mintfs.cli("upgrade").stdout
    new = mintfs.pid
    assert new != old and f"mintfsd is now process {new}" in said
    _assert_serves(mintfs, job, server, "meanwhile")
    assert clone.poll() is None and not _has_ended(old)
    gate.open()
    said, _ = clone.communicate(timeout=DEADLINE)
    assert clone.returncode == 0, said
    assert (job.home / "large/blob").stat().st_size == 4 << 20
    eventually("the old one ends", lambda: _has_ended(old))
    assert mintfs.pid == new
    _assert_serves(mintfs, job, server, "after")


def test_everything_of_a_lease_is_as_before_after_an_upgrade(running: Daemon) -> None:
    lease = running.open_lease()
    inodes = {path: path.stat().st_ino for path in (lease.path, lease.gitconfig, lease.path / "git/config")}
    before = running.control_api("GET", f"/v1/leases/{lease.id}")
    with lease.gitconfig.open("rb", buffering=0) as handle:
        begin = handle.read(100)
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        for _ in range(2):
            running.cli("upgrade")
            assert os.pread(handle.fileno(), 1 << 16, 0) == whole, "one handle is one snapshot"
        assert begin + handle.read(1 << 16) == whole
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert running.control_api("GET", f"/v1/leases/{lease.id}") == before
    token = token_in(whole.decode())
    assert exchange(running.port, request("GET", running.path(INFO_REFS), basic(token))).status == 200
    running.close_lease(lease)
    assert exchange(running.port, request("GET", running.path(INFO_REFS), basic(token))).status == 403


@pytest.mark.root
def test_a_bind_mount_in_another_namespace_outlives_an_upgrade(running: Daemon, tmp_path: Path) -> None:
    inhabitant = Inhabitant(running.open_lease(), tmp_path / "elsewhere")
    try:
        whole, before = inhabitant.content("whole"), inhabitant.ask("afresh")
        for _ in range(2):
            running.cli("upgrade")
            assert inhabitant.content("whole") == whole
            assert whole.startswith(inhabitant.content("go on"))
            assert inhabitant.ask("afresh")["inode"] == before["inode"]
    finally:
        inhabitant.leave()


def test_the_end_after_an_upgrade_is_as_orderly_as_any(running: Daemon) -> None:
    lease = running.open_lease()
    running.cli("upgrade")
    assert running.leases() == [lease.id]
    assert running.stop() == 0
    assert not os.path.ismount(running.mount) and not running.control.exists()


def test_opens_never_fail_while_one_upgrade_follows_the_other(running: Daemon) -> None:
    lease = running.open_lease()
    loop = 'while [ ! -e "$2" ]; do cat "$1" >/dev/null || exit 1; done'
    stop = running.root / "stop"
    readers = [subprocess.Popen(["sh", "-c", loop, "sh", lease.gitconfig, stop], stderr=subprocess.PIPE) for _ in range(4)]
    pids = [running.pid]
    for _ in range(3):
        pids.append(json.loads(running.cli("upgrade", "--format", "json").stdout)["pid"])
        assert pids[-1] == running.pid
    stop.touch()
    for reader in readers:
        _, said = reader.communicate(timeout=DEADLINE)
        assert reader.returncode == 0, said
    assert len(set(pids)) == 4


def test_sigusr2_upgrades_too(running: Daemon) -> None:
    old = running.pid
    running.signal(signal.SIGUSR2)
    assert running.wait_for_successor_of(old) != old
    eventually("the old one ends", lambda: _has_ended(old))


def test_an_upgrade_brings_the_new_configuration(running: Daemon, server: GitServer, password: Path) -> None:
    lease = running.open_lease()
    running.configure(connector("git", server.url, password), connector("more", server.url, password))
    running.cli("upgrade")
    assert "more" in running.cli("connector", "list").stdout
    assert running.open_lease(connectors=["more"]).gitconfig.exists()
    assert "Authorization" in lease.gitconfig.read_text()


def test_a_daemon_after_an_upgrade_is_still_the_only_one(
    running: Daemon, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    running.cli("upgrade")
    running.cli("upgrade")
    for where in ({"runtime_dir": running.runtime}, {"state_dir": running.state}):
        second = start_mintfs(connector("git", "https://git.example", password), ready=False,
                              name="second-" + next(iter(where)), daemon=where)  # fmt: skip
        said = second.refuses_to_start()
        assert f"another mintfsd (process {running.pid}) serves" in said
    assert running.open_lease().gitconfig.exists()


def test_a_kill_right_after_an_upgrade_is_made_good_although_the_old_one_has_not_ended(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> None:  # fmt: skip
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    mintfs = start_mintfs(connector("git", server.url, password), keeper=True)
    job, old = new_job(mintfs.open_lease()), mintfs.pid
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    mintfs.cli("upgrade")
    killed = mintfs.kill_served()
    assert "Authorization" in job.gitconfig()
    assert mintfs.wait_for_successor_of(killed) != old
    assert not _has_ended(old)
    gate.open()
    said, _ = clone.communicate(timeout=DEADLINE)
    assert clone.returncode == 0, said


def test_a_lease_that_the_new_one_closes_cuts_the_transfer_in_the_old_one(
    gated: tuple[Daemon, GitServer], gate: Gate, new_job: Callable[..., Job]
) -> None:
    mintfs, server = gated
    lease = mintfs.open_lease()
    job, old = new_job(lease), mintfs.pid
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    mintfs.cli("upgrade")
    assert clone.poll() is None
    mintfs.close_lease(lease)
    clone.communicate(timeout=DEADLINE)  # the gate is still shut
    assert clone.returncode != 0
    eventually("the old one ends", lambda: _has_ended(old))


def test_a_transfer_that_does_not_end_is_cut_after_the_drain_timeout_of_the_old_one(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> None:  # fmt: skip
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    mintfs = start_mintfs(connector("git", server.url, password), keeper=True, proxy={"drain_timeout": "1s"})
    job, old = new_job(mintfs.open_lease()), mintfs.pid
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    mintfs.cli("upgrade")
    eventually("the old one ends", lambda: _has_ended(old))
    clone.communicate(timeout=DEADLINE)  # the gate is still shut
    assert clone.returncode != 0
    assert mintfs.pid != old and "Authorization" in job.gitconfig()


# --- signals in its middle ---------------------------------------------------------------------------


@pytest.fixture
def start_gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "start")
    yield gate
    gate.open()


def _begin_upgrade(mintfs: Daemon, gate: Gate) -> None:
    """Returns when the new one was started, which goes on when the gate is opened."""
    _replace(mintfs.program, f'#!/bin/sh\ncat "{gate.path}"\nexec "{MINTFSD}" "$@"\n'.encode())
    mintfs.signal(signal.SIGUSR2)
    gate.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_during_an_upgrade_ends_it_all(copied: Daemon, start_gate: Gate, number: int) -> None:
    _begin_upgrade(copied, start_gate)
    copied.signal(number)
    start_gate.open()
    assert copied.process
    assert copied.process.wait(DEADLINE) == 0
    eventually("no mintfsd is left", lambda: not copied.processes())
    assert not os.path.ismount(copied.mount) and "terminate" not in copied.log()


def test_a_signal_to_end_during_an_upgrade_waits_for_the_clone_of_the_old_one(
    gated: tuple[Daemon, GitServer], gate: Gate, start_gate: Gate, new_job: Callable[..., Job]
) -> None:
    mintfs, server = gated
    job, old = new_job(mintfs.open_lease()), mintfs.pid
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    _begin_upgrade(mintfs, start_gate)
    mintfs.signal(signal.SIGTERM)
    start_gate.open()
    eventually("the new one ends", lambda: mintfs.processes() == [old])
    gate.open()
    said, _ = clone.communicate(timeout=DEADLINE)
    assert clone.returncode == 0, said
    assert mintfs.stop() == 0
    assert not os.path.ismount(mintfs.mount) and "terminate" not in mintfs.log()


@pytest.mark.parametrize("copied", ["kept"], indirect=True)
def test_an_old_one_that_is_killed_during_the_trial_leaves_the_new_one_to_the_keeper(
    copied: Daemon, server: GitServer, new_job: Callable[..., Job]
) -> None:
    good, job, old = copied.program.read_bytes(), new_job(copied.open_lease()), copied.pid
    _replace(copied.program, _strikes(copied, "KILL", whom="os.getppid()"))
    copied.signal(signal.SIGUSR2)
    new = copied.wait_for_successor_of(old)
    eventually("the old one was killed", lambda: _has_ended(old))
    assert "serves from now on" not in copied.log(), "its trial was over"
    _replace(copied.program, good)
    _assert_serves(copied, job, server, "after")
    assert copied.pid == new
    copied.wait_for_successor_of(copied.kill_served())
    _assert_serves(copied, job, server, "later")
    assert copied.stop() == 0
    assert not os.path.ismount(copied.mount)


# --- an upgrade that fails ---------------------------------------------------------------------------


#: Waits until the control socket is answered by the process that it becomes, and kills that, or its predecessor.
# It strikes within the second of the trial, also on a machine that is busy: nothing is started for each look.
_STRIKER = """\
#!/usr/bin/python3 -IS
import os, re, signal, socket, sys
self, victim = os.getpid(), {whom}
if os.fork() == 0:
    os.closerange(3, 256)
    said = b""
    while os.getppid() == self and not re.search(rb'"pid": *%d\\b' % self, said):
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(0.2)
                control.connect("{control}")
                control.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: mintfs\\r\\nConnection: close\\r\\n\\r\\n")
                said = b"".join(iter(lambda: control.recv(65536), b""))
        except OSError:
            pass
    if os.getppid() == self:
        os.kill(victim, signal.SIG{signal})
    os._exit(0)
os.execv("{real}", ["{real}", *sys.argv[1:]])
"""


def _strikes(mintfs: Daemon, name: str, whom: str = "os.getpid()") -> bytes:
    return _STRIKER.format(control=mintfs.control, real=MINTFSD, signal=name, whom=whom).encode()


BAD_PROGRAMS: dict[str, Callable[[Daemon], bytes | None]] = {
    "not there": lambda _: None,
    "empty": lambda _: b"",
    "text": lambda _: b"nonsense\n",
    "half a program": lambda _: MINTFSD.read_bytes()[:65536],
    "without its loader": lambda _: b"#!/nowhere/at/all\n",
    "without a library": lambda _: MINTFSD.read_bytes().replace(b"libfuse3.so.3\0", b"libfuse9.so.9\0"),
    "ends with 1": lambda _: b"#!/bin/sh\nexit 1\n",
    "ends with 0": lambda _: b"#!/bin/sh\nexit 0\n",
    "says nonsense": lambda _: b"#!/usr/bin/python3\nimport os, socket\nsocket.socket(fileno=2 + int(os.environ['LISTEN_FDS'])).send(b'nonsense')\n",
    "killed when it serves": lambda mintfs: _strikes(mintfs, "KILL"),
    # Not SEGV, of which a sanitizer would tell.
    "crashes when it serves": lambda mintfs: _strikes(mintfs, "TRAP"),
    "ends when it serves": lambda mintfs: _strikes(mintfs, "TERM"),
}


@pytest.mark.parametrize("program", BAD_PROGRAMS)
def test_a_bad_program_leaves_the_old_one_serving(
    copied: Daemon, server: GitServer, new_job: Callable[..., Job], program: str
) -> None:
    good = copied.program.read_bytes()
    job, pid = new_job(copied.open_lease()), copied.pid
    bad = BAD_PROGRAMS[program](copied)
    if bad is None:
        copied.program.unlink()
    else:
        _replace(copied.program, bad)
    with job.lease.gitconfig.open("rb", buffering=0) as handle:  # type: ignore[union-attr]
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        _assert_refuses(copied)
        assert copied.pid == pid
        assert os.pread(handle.fileno(), 1 << 16, 0) == whole
        _assert_serves(copied, job, server, "after")
        _replace(copied.program, good)
        copied.cli("upgrade")
        assert copied.pid != pid
        assert os.pread(handle.fileno(), 1 << 16, 0) == whole
    _assert_serves(copied, job, server, "later")


def _assert_refuses(mintfs: Daemon) -> str:
    done = mintfs.cli("upgrade", check=False)
    assert done.returncode == 1 and not done.stdout, done
    assert "The new mintfsd failed and this one serves on: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


@pytest.mark.parametrize("copied", ["kept"], indirect=True)
def test_the_keeper_has_what_the_old_one_serves_after_a_new_one_has_crashed(
    copied: Daemon, server: GitServer, password: Path, new_job: Callable[..., Job]
) -> None:
    """Although the new one had given it others: its configuration names another address and another place."""
    good, config, pid = copied.program.read_bytes(), copied.config.read_text(), copied.pid
    job = new_job(copied.open_lease())
    other = {"listen": f"127.0.0.1:{free_port()}"}
    copied.configure(connector("git", server.url, password), proxy=other)
    _replace(copied.program, BAD_PROGRAMS["killed when it serves"](copied) or b"")
    assert job.lease
    with job.lease.gitconfig.open("rb", buffering=0) as handle:
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        _assert_refuses(copied)
        _replace(copied.program, good)
        copied.config.write_text("nonsense\n")
        copied.kill_served()
        eventually("nobody serves", lambda: "is started again in 100 ms" in copied.log())
        connect(copied.port).close()  # and yet callers wait
        copied.write_config(config)
        assert copied.wait_for_successor_of(pid)
        assert os.pread(handle.fileno(), 1 << 16, 0) == whole
    _assert_serves(copied, job, server, "after")


@pytest.mark.parametrize("mistake", ["syntax", "missing secret", "another runtime_dir", "a port that is taken", "no config"])
def test_a_bad_configuration_leaves_the_old_one_serving(
    running: Daemon, server: GitServer, password: Path, new_job: Callable[..., Job], mistake: str
) -> None:
    job, pid, good = new_job(running.open_lease()), running.pid, running.config.read_text()
    git = connector("git", server.url, password)
    if mistake == "syntax":
        running.config.write_text(good + "[broken\n")
        named = str(running.config)
    elif mistake == "missing secret":
        running.configure(git, connector("more", server.url, running.root / "nothing"))
        named = str(running.root / "nothing")
    elif mistake == "another runtime_dir":
        (running.root / "file").touch()
        running.configure(git, daemon={"runtime_dir": running.root / "file"})
        named = str(running.root / "file")
    elif mistake == "a port that is taken":
        running.configure(git, proxy={"listen": f"127.0.0.1:{server.port}"})
        named = str(server.port)
    else:
        running.config.unlink()
        named = str(running.config)
    assert named in _assert_refuses(running)
    assert running.pid == pid
    _assert_serves(running, job, server, "after")
    running.config.write_text(good)
    running.cli("upgrade")
    assert running.pid != pid
    _assert_serves(running, job, server, "later")


def test_after_an_upgrade_that_failed_the_one_that_serves_is_named(
    running: Daemon, server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    """The new one had signed the locks before it came to nothing."""
    running.configure(connector("git", server.url, password), proxy={"listen": f"127.0.0.1:{server.port}"})
    _assert_refuses(running)
    for where in ({"runtime_dir": running.runtime}, {"state_dir": running.state}):
        second = start_mintfs(connector("git", "https://git.example", password), ready=False,
                              name="second-" + next(iter(where)), daemon=where)  # fmt: skip
        assert f"another mintfsd (process {running.pid}) serves" in second.refuses_to_start()


def test_a_lease_that_a_new_one_refused_before_it_failed_is_kept(copied: Daemon) -> None:
    """An older version may not know what is in its file; the one that goes on does."""
    good, lease = copied.program.read_bytes(), copied.open_lease()
    file = copied.runtime / "leases" / f"{lease.id}.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "version": 99}))
    _replace(copied.program, BAD_PROGRAMS["killed when it serves"](copied) or b"")
    _assert_refuses(copied)
    assert f"the lease file {file} is refused" in copied.log()
    assert copied.leases() == [lease.id] and "Authorization" in lease.gitconfig.read_text()
    assert json.loads(file.read_text()) == whole and os.listdir(file.parent) == [file.name]
    _replace(copied.program, good)
    copied.cli("upgrade")
    assert copied.leases() == [lease.id] and "Authorization" in lease.gitconfig.read_text()


def test_a_failed_upgrade_by_signal_is_said_in_the_log(running: Daemon) -> None:
    pid = running.pid
    running.config.write_text("nonsense\n")
    running.signal(signal.SIGUSR2)
    eventually("it is said", lambda: "not upgraded, this mintfsd serves on" in running.log())
    assert running.pid == pid


@pytest.mark.root
def test_only_an_administrator_may_upgrade(running: Daemon) -> None:
    pid = running.pid
    status, problem = running.control_api("POST", "/v1/upgrade", uid=STRANGER)
    assert status == 403 and problem["reason"] == "caller-denied"
    done = running.cli("upgrade", uid=STRANGER, check=False)
    assert done.returncode == 1 and "Only root" in done.stderr
    assert running.pid == pid


def test_the_path_is_for_post_only(mintfs: Daemon) -> None:
    pid = mintfs.pid
    for method in ("GET", "DELETE", "PUT"):
        assert mintfs.control_api(method, "/v1/upgrade")[0] in (404, 405)
    assert mintfs.pid == pid
