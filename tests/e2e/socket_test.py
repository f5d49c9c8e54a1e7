"""Whom the command line trusts: a daemon of root or of its own user, wherever a socket lies."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mintfs import MINTFS, MINTFSD, STRANGER, as_user, base_environment
from support.waiting import DEADLINE

pytestmark = pytest.mark.root

_FAKE = """
import os, socket, sys
os.umask(0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        print("asked" if connection.recv(65536) else "nothing", flush=True)
        connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n{}')
"""


class Fake:
    """A stranger's process that plays the daemon at `path`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o755)
        os.chown(path.parent, STRANGER, STRANGER)
        self.process = subprocess.Popen([*as_user(STRANGER), "/usr/bin/python3", "-c", _FAKE, path],
                                        stdout=subprocess.PIPE, text=True, env=base_environment())  # fmt: skip
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def said(self) -> str:
        """What it wrote down since it was ready; ends it."""
        self.process.terminate()
        return self.process.communicate(timeout=DEADLINE)[0]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    fake = Fake(tmp_path / f"mintfs-{STRANGER + 1}" / "control.sock")
    yield fake
    fake.process.kill()
    fake.process.wait()


def _run(uid: int, **environment: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*as_user(uid), MINTFS, "run", "-c", "git", "--", "echo", "started"], capture_output=True,
                          text=True, env=base_environment(**environment), timeout=DEADLINE)  # fmt: skip


@pytest.mark.parametrize("uid", [0, STRANGER + 1])
def test_another_users_daemon_is_asked_for_nothing(fake: Fake, tmp_path: Path, uid: int) -> None:
    done = _run(uid, MINTFS_SOCKET=tmp_path / f"mintfs-{STRANGER + 1}" / "control.sock")
    assert done.returncode == 1 and done.stdout == ""
    assert f"belongs to user {STRANGER}" in done.stderr and "--socket" in done.stderr
    assert "asked" not in fake.said()


def test_without_a_runtime_directory_nothing_in_tmp_is_looked_at(fake: Fake, tmp_path: Path) -> None:
    done = _run(STRANGER + 1, TMPDIR=tmp_path)
    assert done.returncode == 1 and done.stdout == "" and "/run/mintfs/control.sock" in done.stderr
    assert fake.said() == ""


def test_a_service_to_which_root_gave_the_directory_is_asked() -> None:
    """In a place that only root can write; below /tmp anybody could have made it."""
    place = Path(tempfile.mkdtemp(prefix="mintfs-", dir="/run"))
    place.chmod(0o755)
    fake = None
    try:
        fake = Fake(place / "mintfs" / "control.sock")
        _run(STRANGER + 1, MINTFS_SOCKET=place / "mintfs/control.sock")
        assert "asked" in fake.said()
    finally:
        if fake:
            fake.process.kill()
            fake.process.wait()
        shutil.rmtree(place)


def test_the_callers_own_daemon_is_asked(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "own/control.sock"))
        listener.listen()
        listener.settimeout(DEADLINE)
        with subprocess.Popen([MINTFS, "status"], env=base_environment(MINTFS_SOCKET=tmp_path / "own/control.sock"),
                              stderr=subprocess.DEVNULL) as process:  # fmt: skip
            with listener.accept()[0] as connection:
                assert connection.recv(65536).startswith(b"GET /v1/status")
                listener.close()  # who is hung up on asks once more: a successor may have taken over
            assert process.wait(DEADLINE) == 1


def test_a_daemon_without_a_runtime_directory_says_what_to_set(tmp_path: Path) -> None:
    config = tmp_path / "mintfs.toml"
    config.write_text("")
    config.chmod(0o644)
    done = subprocess.run([*as_user(STRANGER), MINTFSD, "--config", config], capture_output=True, text=True,
                          env=base_environment(TMPDIR=tmp_path), timeout=DEADLINE)  # fmt: skip
    assert done.returncode == 1
    assert "daemon.runtime_dir" in done.stderr and "XDG_RUNTIME_DIR" in done.stderr
