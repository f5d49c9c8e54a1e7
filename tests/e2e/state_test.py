"""What a daemon finds when it starts may be damaged: that lease is refused, everything else is served on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.disk import fill, small_disk
from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, Lease, connector
from support.waiting import DEADLINE, eventually


def _file_of(mintfs: Daemon, lease: Lease) -> Path:
    return mintfs.runtime / "leases" / f"{lease.id}.json"


def _changed(**members: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), **members}))

    return change


def _without(member: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != member}))

    return change


def _written(content: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(content) and None


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": _written(b""),
    "cut off": lambda file: os.truncate(file, file.stat().st_size // 2),
    "not JSON": _written(b"nonsense\n"),
    "another JSON": _written(b"[1, 2]\n"),
    "deep JSON": _written(b"[" * 60000),
    "NUL bytes": _written(b"\0" * 512),
    "too large": _written(b" " * (1 << 20)),
    "of a newer version": _changed(version=99),
    "of an older version": _changed(version=0),
    "without a version": _without("version"),
    "with a version that is none": _changed(version="1"),
    "of another lease": _changed(id="a" * 26),
    "with an id that leads elsewhere": _changed(id="../../../etc/passwd"),
    "without a serial": _without("serial"),
    "with a serial that is none": _changed(serial=-1),
    "with a serial of no node": _changed(serial=0),
    "with a serial that leaves none for others": _changed(serial=1 << 54),
    "with a uid that is none": _changed(uid="root"),
    "with a uid that is too large": _changed(uid=1 << 40),
    "with a subject that breaks out of a token": _changed(subject='x","lease":"y'),
    "with a connector that leads elsewhere": _changed(connectors=["../x"]),
    "with no connector": _changed(connectors=[]),
    "with an unknown operation": _changed(operations=["destroy"]),
    "with a pattern that is none": _changed(repositories=["a/../b"]),
    "with a key that is not there": _changed(kid=77),
    "with a cgroup that is none": _changed(cgroup="nonsense", cgroup_id=0),
    "with a cgroup without its number": _changed(cgroup="/a"),
    "open to others": lambda file: file.chmod(0o666),
    "a folder": _folder,
    "a link to nowhere": _dangling,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lease_is_refused_with_a_sentence_and_the_others_are_served(kept: Daemon, damage: str) -> None:
    good, bad = kept.open_lease(), kept.open_lease()
    file = _file_of(kept, bad)
    DAMAGES[damage](file)
    kept.wait_for_successor_of(kept.kill_served())
    (said,) = [line for line in kept.log().splitlines() if str(file) in line]
    assert re.search(r" warning the lease file .* is refused: \S", said), said
    assert kept.leases() == [good.id]
    assert "Authorization" in good.gitconfig.read_text()
    with pytest.raises(OSError):
        bad.gitconfig.read_text()
    assert "Authorization" in kept.open_lease().gitconfig.read_text()
    kept.wait_for_successor_of(kept.kill_served())
    assert kept.log().count(f"the lease file {file} is refused") == 1, "it is set aside"


def test_two_leases_never_share_a_node(kept: Daemon) -> None:
    first, second = kept.open_lease(), kept.open_lease()
    serial = json.loads(_file_of(kept, first).read_text())["serial"]
    _changed(serial=serial)(_file_of(kept, second))
    kept.wait_for_successor_of(kept.kill_served())
    assert "its serial is used twice" in kept.log()
    assert len(kept.leases()) == 1


def test_an_upgrade_refuses_a_damaged_lease_and_goes_through(kept: Daemon, server: GitServer, new_job: Callable[..., Job]) -> None:
    good, bad = kept.open_lease(), kept.open_lease()
    _changed(version=99)(_file_of(kept, bad))
    kept.cli("upgrade")
    assert "it was written by another version of mintfsd" in kept.log()
    assert kept.leases() == [good.id]
    new_job(good).clone(f"{server.url}/acme/app.git")


def test_an_upgrade_that_fails_keeps_a_lease_whose_file_is_damaged(kept: Daemon) -> None:
    """Whoever serves has it in memory and never reads the file again."""
    lease = kept.open_lease()
    _changed(version=99)(_file_of(kept, lease))
    kept.config.write_text("nonsense\n")
    assert kept.cli("upgrade", check=False).returncode == 1
    assert kept.leases() == [lease.id] and "Authorization" in lease.gitconfig.read_text()


def test_what_a_cut_off_write_left_is_cleaned_up(kept: Daemon) -> None:
    lease = kept.open_lease()
    left = kept.runtime / "leases" / f"{lease.id}.json.Ab12Cd"
    left.write_text("{")
    kept.wait_for_successor_of(kept.kill_served())
    assert not left.exists() and kept.leases() == [lease.id]


# --- what the keeper keeps ---------------------------------------------------------------------------

_LAYOUT_AT, _ANSWERED_AT, _USED_AT = 512, 520, 528  # src/fs/shared_state.h


def _view_of(kept: Daemon) -> int:
    """The memory of the view, as the keeper holds it."""
    assert kept.process
    for entry in Path(f"/proc/{kept.process.pid}/fd").iterdir():
        if "memfd:mintfs-view" in os.readlink(entry):
            return os.open(entry, os.O_RDWR)
    raise AssertionError("the keeper holds no view")


def _patched(offset: int, content: bytes) -> Callable[[Daemon], None]:
    def patch(kept: Daemon) -> None:
        view = _view_of(kept)
        os.pwrite(view, content, offset)
        os.close(view)

    return patch


def _told(text: str, give: Callable[[], int] | None = None) -> Callable[[Daemon], None]:
    def tell(kept: Daemon) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect(str(kept.keeper_socket))
            given = [give()] if give else []
            socket.send_fds(to, [text.encode()], given)
            for descriptor in given:
                os.close(descriptor)

    return tell


LOSSES: dict[str, Callable[[Daemon], None]] = {
    "the layout of a newer version": _patched(_LAYOUT_AT, struct.pack("=Q", 0x6D696E7466730002)),
    "no layout": _patched(_LAYOUT_AT, bytes(8)),
    "too many handles": _patched(_USED_AT, struct.pack("=I", 1 << 30)),
    "no INIT request": _patched(0, bytes(512)),
    "an empty view": _told("FDSTORE=1\nFDNAME=view", lambda: os.memfd_create("mintfs-view")),
    "a view that is no memory": _told("FDSTORE=1\nFDNAME=view", lambda: os.open("/dev/null", os.O_RDWR)),
    "no view": _told("FDSTOREREMOVE=1\nFDNAME=view"),
    "a mount that is none": _told("FDSTORE=1\nFDNAME=fuse", lambda: os.open("/dev/null", os.O_RDWR)),
    "a device that is not mounted": _told("FDSTORE=1\nFDNAME=fuse", lambda: os.open("/dev/fuse", os.O_RDWR)),
}


@pytest.mark.root
@pytest.mark.parametrize("loss", LOSSES)
def test_a_view_that_cannot_be_taken_over_is_mounted_anew(kept: Daemon, loss: str) -> None:
    """Who had it open gets an error, never somebody else's bytes and never a wait without end."""
    lease = kept.open_lease()
    handle = os.open(lease.gitconfig, os.O_RDONLY)
    try:
        pid = kept.pid
        LOSSES[loss](kept)
        assert kept.pid == pid
        kept.kill_served()
        kept.wait_for_successor_of(pid)
        assert "Authorization" in lease.gitconfig.read_text()
        assert "was mounted anew" in kept.log()
        done = subprocess.run(["head", "-c1"], stdin=handle, capture_output=True, timeout=DEADLINE)
        assert done.returncode == 1 and not done.stdout
    finally:
        os.close(handle)
    with lease.gitconfig.open("rb", buffering=0) as again:
        whole = os.pread(again.fileno(), 1 << 16, 0)
        kept.wait_for_successor_of(kept.kill_served())
        assert os.pread(again.fileno(), 1 << 16, 0) == whole, "the new one is kept"
    with open("/proc/self/mountinfo") as table:
        assert sum(1 for line in table if line.split()[4] == str(kept.mount)) == 1


@pytest.mark.root
@pytest.mark.parametrize("name", ["proxy", "control"])
def test_a_listening_socket_that_is_none_is_made_anew(kept: Daemon, name: str, server: GitServer, new_job: Callable[..., Job]) -> None:
    job, pid = new_job(kept.open_lease()), kept.pid
    _told(f"FDSTORE=1\nFDNAME={name}", lambda: os.open("/dev/null", os.O_RDWR))(kept)
    os.kill(pid, signal.SIGKILL)
    kept.wait_for_successor_of(pid)
    job.clone(f"{server.url}/acme/app.git")


# --- the disk ----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 256) as folder:
        yield folder


@pytest.fixture
def on_disk(disk: Path, server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", server.url, password), keeper=True, runtime=disk / "run")


@pytest.mark.root
@pytest.mark.parametrize("change", ["kill", "upgrade"])
def test_a_full_runtime_directory_does_not_hinder_a_successor(
    on_disk: Daemon, disk: Path, change: str, server: GitServer, new_job: Callable[..., Job]
) -> None:
    lease, pid = on_disk.open_lease(), on_disk.pid
    filler = fill(disk)
    if change == "kill":
        on_disk.kill_served()
        on_disk.wait_for_successor_of(pid)
    else:
        on_disk.cli("upgrade")
    assert on_disk.leases() == [lease.id]
    new_job(lease).clone(f"{server.url}/acme/app.git")
    refused = on_disk.cli("lease", "open", "-c", "git", check=False)
    assert refused.returncode == 1 and refused.stderr
    filler.unlink()
    assert "Authorization" in on_disk.open_lease().gitconfig.read_text()


@pytest.mark.root
def test_a_read_only_runtime_directory_at_the_takeover_is_said_and_readers_wait_until_it_is_mended(
    on_disk: Daemon, disk: Path
) -> None:
    lease, pid = on_disk.open_lease(), on_disk.pid
    on_disk.signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    # A zombie holds nothing open any more, and with it open for writing the disk cannot be changed.
    remount = ["mount", "-o", "remount,ro", str(disk)]
    eventually("it is read-only", lambda: subprocess.run(remount, capture_output=True).returncode == 0)
    on_disk.signal(signal.SIGCONT)
    eventually("it is said", lambda: on_disk.log().count("Read-only file system") >= 2)
    (said,) = set(line for line in on_disk.log().splitlines() if "Read-only" in line)
    assert str(disk) in said and "correct daemon.runtime_dir" in said
    reader = subprocess.Popen(["cat", lease.gitconfig], stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        reader.wait(0.3)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert "Authorization" in reader.communicate(timeout=DEADLINE)[0]
    assert on_disk.leases() == [lease.id]
