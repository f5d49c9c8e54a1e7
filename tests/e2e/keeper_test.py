"""mintfs-keeper: the mount, the sockets and the leases outlive mintfsd, however it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.inhabitant import Inhabitant
from support.job import Job, basic
from support.mintfs import BUILD, KEEPER, STRANGER, Daemon, Lease, as_user, base_environment, connector, token_in
from support.raw_http import exchange, request
from support.tracer import Tracer
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


@pytest.fixture
def lease(kept: Daemon) -> Lease:
    return kept.open_lease()


@pytest.fixture
def inhabitant(lease: Lease, tmp_path: Path) -> Iterator[Inhabitant]:
    inhabitant = Inhabitant(lease, tmp_path / "elsewhere")
    yield inhabitant
    inhabitant.leave()


def _kill(kept: Daemon) -> int:
    """kill -9 of mintfsd; returns when its successor serves, and which it is."""
    return kept.wait_for_successor_of(kept.kill_served())


def _mounts_below(folder: Path) -> list[str]:
    with open("/proc/self/mountinfo") as table:
        return [point for line in table if (point := line.split()[4]).startswith(f"{folder}/")]


# --- kill -9 of mintfsd ------------------------------------------------------------------------------


def test_everything_of_a_lease_is_as_before_after_a_kill(kept: Daemon, lease: Lease) -> None:
    inodes = {path: path.stat().st_ino for path in (lease.path, lease.gitconfig, lease.path / "git/config")}
    token = token_in(lease.gitconfig.read_text())
    before = kept.control_api("GET", f"/v1/leases/{lease.id}")
    _kill(kept)
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert kept.control_api("GET", f"/v1/leases/{lease.id}") == before
    assert exchange(kept.port, request("GET", kept.path(INFO_REFS), basic(token))).status == 200
    assert token_in(lease.gitconfig.read_text()) != token
    kept.close_lease(lease)
    assert exchange(kept.port, request("GET", kept.path(INFO_REFS), basic(token))).status == 403
    with pytest.raises(OSError):
        lease.gitconfig.read_text()


def test_a_clone_works_after_a_kill_and_so_does_one_that_began_while_nobody_served(
    kept: Daemon, lease: Lease, server: GitServer, new_job: Callable[..., Job]
) -> None:
    job = new_job(lease)
    pid = kept.kill_served()
    job.clone(f"{server.url}/acme/app.git", to="at-once")
    kept.wait_for_successor_of(pid)
    job.clone(f"{server.url}/acme/app.git", to="later")


def test_an_open_handle_goes_on_where_it_was(kept: Daemon, lease: Lease) -> None:
    handle = os.open(lease.gitconfig, os.O_RDONLY)
    try:
        begin = os.read(handle, 100)
        whole = os.pread(handle, 1 << 16, 0)
        for _ in range(2):
            _kill(kept)
            assert os.pread(handle, 1 << 16, 0) == whole, "one handle is one snapshot"
            assert os.pread(handle, 50, 70) == whole[70:120]
        rest = b""
        while more := os.read(handle, 64):
            rest += more
        assert begin + rest == whole
    finally:
        os.close(handle)
    assert lease.gitconfig.read_bytes() != whole


@pytest.mark.root
def test_a_bind_mount_in_another_namespace_with_a_handle_and_a_cwd_outlives_the_daemon(
    kept: Daemon, inhabitant: Inhabitant
) -> None:
    begin, whole, before = inhabitant.content("go on"), inhabitant.content("whole"), inhabitant.ask("afresh")
    for _ in range(3):
        _kill(kept)
        assert inhabitant.content("whole") == whole
        begin = inhabitant.content("go on")
        assert whole.startswith(begin)
        after = inhabitant.ask("afresh")
        assert (after["inode"], after["names"]) == (before["inode"], before["names"])
        assert token_in(after["content"]) != token_in(before["content"])


def test_readers_wait_while_nobody_serves(kept: Daemon, lease: Lease) -> None:
    """The daemon is stopped first, so that what they ask lies in the kernel when it is killed."""
    pid = kept.pid
    os.kill(pid, signal.SIGSTOP)
    eventually("each of its threads has stopped", lambda: all(
        (task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in Path(f"/proc/{pid}/task").iterdir()
    ))  # fmt: skip
    readers = [subprocess.Popen(["cat", lease.gitconfig], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    with pytest.raises(subprocess.TimeoutExpired):
        readers[0].wait(0.3)
    os.kill(pid, signal.SIGKILL)
    tokens = {token_in(reader.communicate(timeout=DEADLINE)[0]) for reader in readers}
    assert len(tokens) == 8 and all(reader.returncode == 0 for reader in readers)
    assert kept.pid != pid


#: linux/fuse.h
LOOKUP, GETATTR, OPEN, READ, RELEASE = 1, 3, 14, 15, 18


@pytest.mark.root
@pytest.mark.parametrize("opcode", [LOOKUP, OPEN, READ])
def test_a_request_that_was_taken_and_not_answered_is_answered_by_the_successor(
    kept: Daemon, lease: Lease, opcode: int
) -> None:
    tracer = Tracer(kept.pid)
    reader = subprocess.Popen(["cat", lease.gitconfig], stdout=subprocess.PIPE, text=True)
    tracer.kill_at_request(opcode)
    content, _ = reader.communicate(timeout=DEADLINE)
    assert reader.returncode == 0 and "Authorization" in content
    kept.wait_for_successor_of(tracer.pid)


@pytest.mark.root
def test_an_open_whose_daemon_and_whose_opener_are_killed_holds_nothing_up(kept: Daemon, lease: Lease) -> None:
    """The successor answers nobody, or gets the release of a handle that its predecessor gave."""
    for opcode in (OPEN, RELEASE):
        tracer = Tracer(kept.pid)
        reader = subprocess.Popen(["cat", lease.gitconfig], stdout=subprocess.PIPE)
        tracer.kill_at_request(opcode)
        reader.kill()
        reader.communicate(timeout=DEADLINE)
        kept.wait_for_successor_of(tracer.pid)
        assert "Authorization" in lease.gitconfig.read_text()


def test_a_kill_right_after_a_kill_loses_nothing(kept: Daemon, lease: Lease) -> None:
    with lease.gitconfig.open("rb", buffering=0) as handle:
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        for _ in range(2):
            kept.wait_for_successor_of(kept.kill_served())
            kept.kill_served()  # it has just begun to serve
            assert os.pread(handle.fileno(), 1 << 16, 0) == whole
            assert "Authorization" in lease.gitconfig.read_text()
    assert kept.leases() == [lease.id]


def _delay(pid: int, core: int) -> None:
    """The process runs only where nobody else wants that core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
        os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))


@pytest.mark.root
def test_a_request_that_comes_between_a_kill_and_the_end_of_the_daemon_waits_for_the_successor(kept: Daemon) -> None:
    """A dying mintfsd still takes it; where the kernel cannot copy it into its memory, the caller gets EIO.

    Each daemon is a new one that nobody has asked anything yet, on a core where it hardly gets to run.
    """
    leases = [kept.open_lease() for _ in range(5)]
    core = max(os.sched_getaffinity(0))
    busy = subprocess.Popen([sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"])
    try:
        for lease in leases:
            pid = kept.pid
            _delay(pid, core)
            os.kill(pid, signal.SIGKILL)
            assert "Authorization" in lease.gitconfig.read_text()
            kept.wait_for_successor_of(pid)
    finally:
        busy.kill()
        busy.wait()


# --- a mintfsd that cannot start ---------------------------------------------------------------------


def test_a_daemon_that_cannot_start_is_tried_again_ever_later_until_it_can(kept: Daemon, lease: Lease) -> None:
    good = kept.config.read_text()
    pid = kept.pid
    kept.config.write_text("nonsense\n")
    os.kill(pid, signal.SIGKILL)
    reader = subprocess.Popen(["cat", lease.gitconfig], stdout=subprocess.PIPE, text=True)
    waits = r"is started again in (\d+) ms"
    eventually("it was tried four times", lambda: len(re.findall(waits, kept.log())) >= 4)
    assert reader.poll() is None, "the reader waits"
    kept.write_config(good)
    assert "Authorization" in reader.communicate(timeout=DEADLINE)[0]
    assert kept.pid != pid
    pauses = [int(each) for each in re.findall(waits, kept.log())]
    assert pauses[-3:] == sorted(set(pauses[-3:])) and pauses[-1] >= 400, "each pause is longer than the last"
    assert kept.log().count("nonsense") >= 1 or "mintfs.toml:1" in kept.log()


def test_a_keeper_ends_while_its_daemon_cannot_start_and_the_next_start_mounts_anew(kept: Daemon) -> None:
    good = kept.config.read_text()
    kept.config.write_text("nonsense\n")
    kept.kill_served()
    eventually("it fails", lambda: kept.log().count("is started again") >= 3)
    assert kept.stop() == 0
    with pytest.raises(OSError, match="not connected"):
        os.stat(kept.mount)  # nobody is left who could unmount it
    kept.config.write_text(good)
    kept.start()
    assert "Authorization" in kept.open_lease().gitconfig.read_text()


# --- the end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_keeper_ends_both_and_leaves_nothing_mounted(kept: Daemon, number: int) -> None:
    kept.open_lease()
    _kill(kept)
    assert kept.process and kept.keeper_socket
    kept.signal(number)
    assert kept.process.wait(DEADLINE) == 0
    assert _mounts_below(kept.root) == [] and not kept.keeper_socket.exists() and not kept.control.exists()
    assert kept.stop() == 0, "no mintfsd is left"


def test_sighup_reaches_mintfsd(kept: Daemon) -> None:
    pid = kept.pid
    kept.signal(signal.SIGHUP)
    eventually("it reads its configuration again", lambda: "reloaded" in kept.log())
    assert kept.pid == pid


# --- a keeper in place of a keeper -------------------------------------------------------------------


@pytest.fixture
def start_keeper(kept: Daemon) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """One more keeper on the socket of the first."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(kept.spawn())
        return started[-1]

    yield start
    kept.stop()
    for each in started:
        assert each.wait(DEADLINE) is not None


def test_a_newer_keeper_takes_over_without_a_gap(
    kept: Daemon, lease: Lease, start_keeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    handle = os.open(lease.gitconfig, os.O_RDONLY)
    try:
        whole, pid = os.pread(handle, 1 << 16, 0), kept.pid
        for _ in range(2):
            old, new = kept.process, start_keeper()
            assert old and old.wait(DEADLINE) == 0
            assert kept.pid == pid, "mintfsd does not notice"
            assert new.poll() is None
        for _ in range(2):
            _kill(kept)
            assert os.pread(handle, 1 << 16, 0) == whole
            assert "Authorization" in lease.gitconfig.read_text()
    finally:
        os.close(handle)
    assert kept.stop() == 0
    assert _mounts_below(kept.root) == []


def test_a_newer_keeper_is_given_the_socket_at_last(kept: Daemon, lease: Lease) -> None:
    """One that was not given all must not take itself for the keeper beside the one that goes on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect(str(kept.keeper_socket))
        socket.send_fds(to, [b"TAKEOVER=1"], [theirs.fileno()])
        theirs.close()
        told: list[str] = []
        while message := (received := socket.recv_fds(ours, 4096, 1))[0]:
            told.append(message.decode().split("=")[-1])
            for descriptor in received[1]:
                os.close(descriptor)
    assert kept.process and kept.process.wait(DEADLINE) == 0
    assert {"view", "fuse", "proxy", "control"} < set(told) and told[-1] == "keeper"


def test_a_newer_keeper_takes_over_from_one_whose_daemon_cannot_start(
    kept: Daemon, lease: Lease, start_keeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    good = kept.config.read_text()
    kept.config.write_text("nonsense\n")
    kept.kill_served()
    eventually("it fails", lambda: kept.log().count("is started again") >= 5)
    kept.write_config(good)
    old, new = kept.process, start_keeper()
    assert old and old.wait(DEADLINE) == 0 and new.poll() is None
    assert "Authorization" in lease.gitconfig.read_text()


def test_when_the_keeper_is_killed_mintfsd_serves_on_and_an_upgrade_puts_it_under_a_new_one(
    kept: Daemon, lease: Lease, start_keeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    assert kept.process
    pid, old = kept.pid, kept.process
    old.kill()
    old.wait()
    assert "Authorization" in lease.gitconfig.read_text() and kept.pid == pid
    start_keeper()
    eventually("the new keeper sees that one serves", lambda: "is started again" in kept.log())
    assert "Authorization" in lease.gitconfig.read_text() and kept.pid == pid
    kept.cli("upgrade")
    handle = os.open(lease.gitconfig, os.O_RDONLY)
    try:
        whole = os.pread(handle, 1 << 16, 0)
        _kill(kept)
        assert os.pread(handle, 1 << 16, 0) == whole, "it is kept again"
    finally:
        os.close(handle)
    said = len(kept.log())
    assert kept.stop() == 0
    assert "serves" not in re.sub(r"(?m)^.*(serves from now on|serving).*$", "", kept.log()[said:])
    assert _mounts_below(kept.root) == []


def test_when_keeper_and_daemon_are_killed_the_next_start_mounts_anew(kept: Daemon, lease: Lease) -> None:
    kept.kill()
    with pytest.raises(OSError):
        lease.gitconfig.read_text()
    kept.start()
    assert kept.leases() == [lease.id]
    assert "Authorization" in lease.gitconfig.read_text()


# --- who may speak to it -----------------------------------------------------------------------------

_SEND = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), sys.argv[1])"
_GIVE = """
import os, socket, sys
ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
    to.connect(sys.argv[1])
    socket.send_fds(to, [sys.argv[2].encode()], [ends[1].fileno()])
ends[1].close()
print(len(ends[0].recv(100)))
"""


def _send(kept: Daemon, text: str, uid: int | None = None, script: str = _SEND) -> str:
    user = as_user(os.getuid() if uid is None else uid)
    done = subprocess.run([*user, "/usr/bin/python3", "-c", script, kept.keeper_socket, text], env=base_environment(), cwd="/",
                          capture_output=True, text=True, timeout=DEADLINE, check=True)  # fmt: skip
    return done.stdout


@pytest.mark.root
@pytest.mark.parametrize("text", ["TAKEOVER=1", "FDSTORE=1\nFDNAME=fuse", "FDSTOREREMOVE=1\nFDNAME=fuse", "MAINPID=1"])
def test_another_user_is_not_listened_to(kept: Daemon, lease: Lease, text: str) -> None:
    assert kept.keeper_socket
    assert kept.keeper_socket.stat().st_mode & 0o777 == 0o600
    kept.keeper_socket.chmod(0o666)
    answer = _send(kept, text, uid=STRANGER, script=_GIVE)
    assert answer.strip() == "0", "the socket that came along is closed, nothing was sent"
    said = f"a message of user {STRANGER} is refused"
    eventually("it is said", lambda: said in kept.log())
    with lease.gitconfig.open("rb", buffering=0) as handle:
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        _kill(kept)
        assert os.pread(handle.fileno(), 1 << 16, 0) == whole


GARBAGE = ["", "\n", "=", "=1", "FDSTORE", "FDSTORE=1", "FDSTORE=1\nFDNAME=", "FDSTORE=1\nFDNAME=a:b", "TAKEOVER=1",
           "FDSTORE=1\nFDNAME=" + "x" * 500, "FDNAME=" + "x" * 60000, "MAINPID=", "MAINPID=-1", "MAINPID=nonsense",
           "MAINPID=99999999999999999999", "FDSTOREREMOVE=1", "FDSTOREREMOVE=1\nFDNAME=nothing", "\x01" * 4094,
           "\x01" * 4095, "\x01" * 4096, "é" * 1000]  # fmt: skip


@pytest.mark.root  # looks at the descriptors of a process that is not dumpable
def test_garbage_changes_nothing(kept: Daemon, lease: Lease) -> None:
    assert kept.keeper_socket and kept.process
    before = sorted(os.listdir(f"/proc/{kept.process.pid}/fd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to, open(os.devnull) as null:
        to.connect(str(kept.keeper_socket))
        for text in GARBAGE:
            to.send(text.encode())
            if "TAKEOVER" not in text and "MAINPID" not in text:
                for count in (1, 2, 8, 20):
                    socket.send_fds(to, [text.encode()], [null.fileno()] * count)
        end, given = os.pipe()
        socket.send_fds(to, [b"BARRIER=1"], [given])  # sd_notify_barrier(3)
        os.close(given)
        assert os.read(end, 1) == b"", "closed when all before it was heard"
        os.close(end)
    assert sorted(os.listdir(f"/proc/{kept.process.pid}/fd")) == before, "what came along is closed"
    with lease.gitconfig.open("rb", buffering=0) as handle:
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        _kill(kept)
        assert os.pread(handle.fileno(), 1 << 16, 0) == whole


@pytest.mark.root  # looks at the descriptors of a process that is not dumpable
def test_the_table_of_what_is_kept_has_a_bound(kept: Daemon, lease: Lease) -> None:
    assert kept.keeper_socket and kept.process
    before = len(os.listdir(f"/proc/{kept.process.pid}/fd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to, open(os.devnull) as null:
        to.connect(str(kept.keeper_socket))
        for number in range(100):
            socket.send_fds(to, [f"FDSTORE=1\nFDNAME=spare{number}".encode()], [null.fileno()])
        eventually("the rest is refused", lambda: "a descriptor is refused" in kept.log())
        _kill(kept)
        assert len(os.listdir(f"/proc/{kept.process.pid}/fd")) <= before + 32
        for number in range(100):
            to.send(f"FDSTOREREMOVE=1\nFDNAME=spare{number}".encode())
    _kill(kept)
    assert len(os.listdir(f"/proc/{kept.process.pid}/fd")) <= before + 1
    assert "Authorization" in lease.gitconfig.read_text()


# --- how it is used ----------------------------------------------------------------------------------


def _run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KEEPER, *args], capture_output=True, text=True, timeout=DEADLINE, env=base_environment(**environment))  # fmt: skip


def test_help_is_on_stdout() -> None:
    done = _run("--help")
    assert done.returncode == 0 and "usage: mintfs-keeper" in done.stdout and not done.stderr


@pytest.mark.parametrize("args", [[], ["--"], ["--nonsense"], ["--socket"], ["--socket", "/tmp/x"], ["--socket", "/tmp/x", "--"]])
def test_a_wrong_use_ends_with_two(args: list[str]) -> None:
    done = _run(*args)
    assert done.returncode == 2 and "usage: mintfs-keeper" in done.stderr and not done.stdout


@pytest.mark.parametrize("place", ["/nowhere/at/all/keeper.sock", "/tmp/" + "x" * 120, "/dev/null/keeper.sock"])
def test_a_socket_that_cannot_be_made_is_said(place: str) -> None:
    done = _run("--socket", place, "--", "true")
    assert done.returncode == 1
    assert "with --socket" in done.stderr and len(done.stderr.splitlines()) == 1


def test_too_low_a_limit_of_open_files_is_said(tmp_path: Path) -> None:
    limited = ["prlimit", "--nofile=95", KEEPER, "--socket", tmp_path / "keeper.sock", "--", "true"]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=DEADLINE, env=base_environment())
    assert done.returncode == 1 and "ulimit -n 96" in done.stderr and len(done.stderr.splitlines()) == 1


#: Tells of what the keeper, and no child of it, allocates once it has begun to wait.
_WATCHED = """
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
static pid_t watched;
static void tell(const char* what) {
  if (watched == getpid()) (void)!write(2, what, strlen(what));
}
void* malloc(size_t size) { tell("ALLOCATED\\n"); return __libc_malloc(size); }
void* calloc(size_t count, size_t size) { tell("ALLOCATED\\n"); return __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { tell("ALLOCATED\\n"); return __libc_realloc(old, size); }
int poll(pollfd* waiting, nfds_t count, int patience) {
  static const auto real = reinterpret_cast<int (*)(pollfd*, nfds_t, int)>(dlsym(RTLD_NEXT, "poll"));
  if (watched == 0 && strcmp(program_invocation_short_name, "mintfs-keeper") == 0) {
    watched = getpid();
    tell("WATCHED\\n");
  }
  return real(waiting, count, patience);
}
}
"""


@pytest.mark.skipif("clang" in BUILD.name or "tsan" in BUILD.name, reason="a sanitizer has an allocator of its own")
def test_nothing_is_allocated_after_the_start(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], tmp_path: Path
) -> None:
    source, library = tmp_path / "watched.cc", tmp_path / "watched.so"
    source.write_text(_WATCHED)
    subprocess.run(["g++", "-shared", "-fPIC", "-O1", source, "-o", library], check=True)
    kept = start_mintfs(connector("git", server.url, password), keeper=True, wrapper=["env", f"LD_PRELOAD={library}"])
    good = kept.config.read_text()
    kept.cli("upgrade")
    _kill(kept)
    _send(kept, "FDSTORE=1\nFDNAME=a:b", script=_GIVE)
    kept.config.write_text("nonsense\n")
    pid = kept.kill_served()
    eventually("it is tried again", lambda: "is started again in 200 ms" in kept.log())
    kept.write_config(good)
    kept.wait_for_successor_of(pid)
    old = kept.process
    kept.spawn()
    assert old and old.wait(DEADLINE) == 0
    _kill(kept)
    assert kept.stop() == 0
    assert kept.log().count("WATCHED") == 2 and "has taken over" in kept.log() and "is refused" in kept.log()
    assert "ALLOCATED" not in kept.log()


def test_a_program_that_is_not_there_is_said_and_tried_again(tmp_path: Path) -> None:
    keeper = subprocess.Popen([KEEPER, "--socket", tmp_path / "keeper.sock", "--", tmp_path / "nothing"],
                              stderr=subprocess.PIPE, text=True, env=base_environment())  # fmt: skip
    try:
        assert keeper.stderr
        first = [keeper.stderr.readline() for _ in range(2)]
        assert f"cannot run {tmp_path}/nothing: No such file" in first[0] and "started again in 100 ms" in first[1]
    finally:
        keeper.terminate()
        assert keeper.wait(DEADLINE) == 0
