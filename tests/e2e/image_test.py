"""deploy/container: the image has all that the programs need, and serves a view to the machine that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import podman
from support.git_server import GitServer
from support.job import Job
from support.mintfs import BUILD, REPOSITORY, Daemon, Lease, connector, token_in
from support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Made of the programs of this build and of the tests' own Debian."""
    if missing := podman.what_is_missing():
        pytest.skip(missing)
    name = f"localhost/mintfs-test-{os.getpid()}"
    made = [f"{name}-base", f"{name}-builder", name]
    staged = tmp_path_factory.mktemp("staged")
    try:
        subprocess.run([REPOSITORY / "deploy/container/stage", staged / "out", BUILD], check=True)
        for tag, *more in ((made[0],), (made[1], "-C", staged, "out")):
            archive = subprocess.Popen(["tar", "-c", "-C", podman.ROOTFS, ".", *more], stdout=subprocess.PIPE)
            podman.manage("import", "-", tag, stdin=archive.stdout)
            assert archive.wait(DEADLINE) == 0
        podman.manage("build", "--network", "host", *podman.LIMITS, "--build-arg", f"BASE={made[0]}", "--build-arg",
                      f"BUILDER={made[1]}", "--file", REPOSITORY / "deploy/container/Containerfile", "--tag", name,
                      REPOSITORY)  # fmt: skip
        yield name
    finally:
        podman.manage("rmi", "--force", "--ignore", *reversed(made))


def _in(image: str, *command: str) -> str:
    done = subprocess.run([*podman.start("--network", "none", "--entrypoint", command[0])[:-1], image, *command[1:]],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * DEADLINE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_program_finds_its_libraries_and_none_is_root(image: str) -> None:
    script = 'set -e; id -u; for each in mintfsd mintfs mintfs-keeper git-credential-mintfs; do "$each" --help; done'
    said = _in(image, "sh", "-c", script)
    assert said.startswith("65532\n") and "usage: mintfs-keeper" in said


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder whose mounts go both ways (mount_namespaces(7)), as /run is on a machine with systemd."""
    folder = tmp_path / "contained"
    folder.mkdir()
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)
    return folder


def test_a_daemon_in_the_image_serves_a_view_to_the_machine(
    image: str, shared: Path, server: GitServer, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job]
) -> None:  # fmt: skip
    run = podman.start("--network", "host", "--user", "0", "--device", "/dev/fuse", "--cap-add", "SYS_ADMIN",
                       "--volume", f"{shared}:{shared}:rshared", "--volume", f"{password}:{password}:ro",
                       "--sdnotify", "ignore", "--entrypoint", "mintfs-keeper")[:-1]  # fmt: skip
    mintfs = start_mintfs(connector("git", server.url, password), name=shared.name, ready=False,
                          wrapper=[*run, image, "--socket", str(shared / "keeper.sock"), "--"], program=Path("mintfsd"))
    mintfs.spawn()
    eventually("it serves", lambda: mintfs.control.exists() and mintfs.control_api("GET", "/v1/status")[1])
    lease = mintfs.open_lease()
    new_job(lease).clone(f"{server.url}/acme/app.git")
    with lease.gitconfig.open("rb", buffering=0) as handle:
        whole = os.pread(handle.fileno(), 1 << 16, 0)
        os.kill(_mintfsd(mintfs), signal.SIGKILL)
        assert os.pread(handle.fileno(), 1 << 16, 0) == whole, "its keeper is the first process there"
    assert token_in(lease.gitconfig.read_text()) != token_in(whole.decode())


def _mintfsd(mintfs: Daemon) -> int:
    """Its number here; it knows itself by another one."""
    (found,) = [pid for pid in mintfs.processes() if Path(f"/proc/{pid}/comm").read_text() == "mintfsd\n"]
    return found
