"""Fixtures of the end-to-end suite. Each test has its own server, daemon and job; nothing is shared."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.git_server import PASSWORD, USER, Gate, GitServer
from support.job import Job
from support.mintfs import MINTFSD, Daemon, Lease, connector, secret_file
from support.recorder import Recorder
from support.tls import Authority


os.umask(0o022)  # other users read what some tests write


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("root") and os.getuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


def _unmount_below(folder: Path) -> None:
    with open("/proc/self/mountinfo") as table:
        points = [line.split()[4] for line in table]
    for point in reversed([p for p in points if p.startswith(f"{folder}/")]):
        unmount = ["umount", "-l"] if os.getuid() == 0 else ["fusermount3", "-uz"]
        subprocess.run([*unmount, point], check=False)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's: short enough for Unix sockets, and other users may pass through it."""
    folder = Path(tempfile.mkdtemp(prefix="mintfs-", dir="/tmp"))  # whatever TMPDIR is, it may be private
    folder.chmod(0o711)
    yield folder
    _unmount_below(folder)
    shutil.rmtree(folder)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., GitServer]]:
    """Starts a Git server: start_server("name", users=..., tls=...)."""
    started: list[GitServer] = []

    def start(name: str = "server", **options: Any) -> GitServer:
        options.setdefault("users", {USER: PASSWORD})
        started.append(GitServer(tmp_path / name, **options))
        return started[-1].start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def server(start_server: Callable[..., GitServer]) -> GitServer:
    """A private server with the repositories acme/app and other/secret."""
    server = start_server()
    server.create("acme/app", {"hello.txt": "hello\n"}, commits=3)
    server.create("other/secret")
    return server


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Give it to start_server to stop a clone in its middle."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


@pytest.fixture
def start_upstream() -> Iterator[Callable[..., Recorder]]:
    started: list[Recorder] = []

    def start(**options: Any) -> Recorder:
        started.append(Recorder(**options))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


@pytest.fixture
def upstream(start_upstream: Callable[..., Recorder]) -> Recorder:
    return start_upstream()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def password(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "password", PASSWORD)


@pytest.fixture
def start_mintfs(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts a daemon with these connectors: start_mintfs(connector(...), token={"ttl": "5m"})."""

    def stop(daemon: Daemon) -> None:
        status = daemon.stop()
        assert status == 0, f"mintfsd ended with {status}:\n{daemon.log()}"

    with ExitStack() as started:  # stops them all, also when one does not end well

        def start(*connectors: dict[str, Any], name: str = "mintfs", ready: bool = True, **options: Any) -> Daemon:
            assert MINTFSD.exists(), f"{MINTFSD} is not there: run tools/setup, or name the build in MINTFS_BUILD"
            daemon = Daemon(tmp_path / name, *connectors, **options)
            started.callback(stop, daemon)
            return daemon.start() if ready else daemon

        yield start


@pytest.fixture
def mintfs(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    """A daemon whose connector "git" is the private server."""
    return start_mintfs(connector("git", server.url, password))


@pytest.fixture
def kept(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    """The same under mintfs-keeper."""
    return start_mintfs(connector("git", server.url, password), keeper=True)


@pytest.fixture
def new_job(tmp_path: Path) -> Callable[..., Job]:
    """Makes a job with its own home: new_job(lease)."""
    number = iter(range(1, 1000))

    def make(lease: Lease | None = None, uid: int | None = None) -> Job:
        return Job(tmp_path / f"home{next(number)}", lease, uid)

    return make


@pytest.fixture
def job(mintfs: Daemon, new_job: Callable[..., Job]) -> Job:
    """A job with a lease of everything that the connector "git" gives."""
    return new_job(mintfs.open_lease())


@pytest.fixture
def recorded(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    """A daemon whose connector "git" is the recording upstream; all of `acme` is allowed."""
    return start_mintfs(connector("git", upstream.url, password, repositories=["acme/*"]))


@pytest.fixture
def caller(recorded: Daemon, new_job: Callable[..., Job]) -> Job:
    """A job that talks to the recording upstream by hand."""
    return new_job(recorded.open_lease())
