"""What `mintfs run --podman` and `lease open --format podman` give a container, started by a real Podman."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import podman
from support.git_server import GitServer
from support.mintfs import MINTFS, STRANGER, Daemon, as_user, connector
from support.waiting import DEADLINE

pytestmark = pytest.mark.root

_PERSON, _SUBORDINATE = 231_500, 232_000  # a user, and the first of those that are theirs in containers


@pytest.fixture(scope="module")
def podman_run() -> list[str]:
    """`podman run` with what it needs on this machine, and on the machine's network."""
    if missing := podman.what_is_missing():
        pytest.skip(missing)
    return podman.start("--network", "host", "--env", "HOME=/tmp", "--env", "GIT_TERMINAL_PROMPT=0", "--workdir", "/tmp")


def _run(mintfs: Daemon, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=4 * DEADLINE, env=mintfs.environment())  # fmt: skip


def _printed(mintfs: Daemon, podman_run: list[str], *options: str) -> list[str]:
    """`podman run` with what `lease open` printed, read by a shell, and the image's command still to come."""
    line = mintfs.cli("lease", "open", "-c", "git", *options, "--format", "podman").stdout
    words = subprocess.run(["sh", "-c", f"for word in {line.strip()}; do echo \"$word\"; done"], check=True,
                           capture_output=True, text=True).stdout.splitlines()  # fmt: skip
    at = podman_run.index("run") + 1
    return [*podman_run[:at], *words, *podman_run[at:], str(podman.ROOTFS)]


def _clone(server: GitServer) -> str:
    return f"git clone --quiet {server.url}/acme/app.git app && cat app/hello.txt"


@pytest.mark.parametrize("via", ["env", "system", "global", "xdg"])
def test_run_serves_a_container_and_nothing_is_left(
    mintfs: Daemon, server: GitServer, podman_run: list[str], via: str
) -> None:
    other = mintfs.open_lease()
    script = f'{_clone(server)}; if touch "{mintfs.mount}/$MINTFS_LEASE/x"; then exit 9; fi; ls -A {mintfs.mount}'
    done = _run(mintfs, MINTFS, "run", "-c", "git", "--via", via, "--podman", "--", *podman_run, podman.ROOTFS,
                "sh", "-ec", script)  # fmt: skip
    own = mintfs.wait_for_audit("open", 2)[-1]["lease"]
    assert done.stdout == f"hello\n{own}\n", done.stderr
    assert mintfs.leases() == [other.id]


def test_run_passes_the_status_of_a_container_on(mintfs: Daemon, podman_run: list[str]) -> None:
    done = _run(mintfs, MINTFS, "run", "-c", "git", "--podman", "--", *podman_run, podman.ROOTFS, "sh", "-c", "exit 7")
    assert done.returncode == 7 and mintfs.leases() == []


def test_what_is_printed_serves_the_user_of_the_lease(
    mintfs: Daemon, server: GitServer, podman_run: list[str]
) -> None:
    served = _printed(mintfs, podman_run, "--uid", str(STRANGER))
    assert any(word.startswith(f"--user={STRANGER}:") for word in served)
    done = _run(mintfs, *served, "sh", "-ec", f"id -u && {_clone(server)}")
    assert done.stdout == f"{STRANGER}\nhello\n", done.stderr


def test_what_the_command_says_itself_wins(mintfs: Daemon, podman_run: list[str]) -> None:
    served = _printed(mintfs, [*podman_run, "--user=0:0", "--env=MINTFS_LEASE=mine"], "--uid", str(STRANGER))
    done = _run(mintfs, *served, "sh", "-c", f'id -u; echo "$MINTFS_LEASE"; cat {mintfs.mount}/*/.gitconfig')
    assert done.stdout == "0\nmine\n" and done.returncode != 0, "root is not the lease's user"


def test_run_says_so_where_a_container_cannot_reach_the_proxy(mintfs: Daemon, tmp_path: Path) -> None:
    engine = tmp_path / "podman"
    engine.write_text("#!/bin/sh\nexit 0\n")
    engine.chmod(0o755)
    for network, warns in ((["--rm"], True), (["--network=host"], False)):
        done = mintfs.cli("run", "-c", "git", "--podman", "--", engine, "run", *network, "image")
        assert ("--network=host" in done.stderr and mintfs.url in done.stderr) is warns, done.stderr


def _as_person(folder: Path) -> list[str]:
    """Begins a command of somebody who may start containers without being root, as nobody on this machine is."""
    home, runtime = folder / "home", folder / "runtime"
    for each in (home, runtime):
        each.mkdir(mode=0o700)
        os.chown(each, _PERSON, _PERSON)
    lines = {"passwd": f"person:x:{_PERSON}:{_PERSON}::{home}:/bin/sh", "group": f"person:x:{_PERSON}:",
             "subuid": f"person:{_SUBORDINATE}:65536", "subgid": f"person:{_SUBORDINATE}:65536"}  # fmt: skip
    binds = ""
    for name, line in lines.items():
        there, here = Path("/etc") / name, folder / name
        here.write_text(f"{there.read_text()}{line}\n")
        binds += f"mount --bind {here} {there}; "
    # With the first of its processes end all, also the one by which Podman keeps the user's namespace.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*alone, "sh", "-ec", f'{binds} exec "$@"', "sh", *as_user(_PERSON), "env", f"HOME={home}",
            f"XDG_RUNTIME_DIR={runtime}", f"MINTFS_SOCKET={folder}/mintfs/run/control.sock"]  # fmt: skip


@pytest.mark.parametrize("inside", [[], ["--userns=keep-id:uid=1000,gid=1000", "--user=1000"]], ids=["root", "user"])
def test_podman_of_a_user_serves_a_container(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], podman_run: list[str], tmp_path: Path,
    inside: list[str],
) -> None:  # fmt: skip
    mintfs = start_mintfs(connector("git", server.url, password, allow={"users": [str(_PERSON)]}))
    at = podman_run.index("run")
    start = [*podman_run[:at], "--storage-driver=vfs", *podman_run[at:-1], *inside, podman_run[-1]]
    # What is mounted where the root file system has nothing could not be made there by who does not own it.
    done = _run(mintfs, *_as_person(tmp_path), MINTFS, "run", "-c", "git", "--seen-at", "/mnt", "--podman", "--", *start,
                podman.ROOTFS, "sh", "-ec", f"id -u; {_clone(server)}; stat -c %u /mnt")  # fmt: skip
    who = "1000" if inside else "0"
    assert done.stdout == f"{who}\nhello\n{who}\n", done.stderr
    assert mintfs.leases() == []


@pytest.mark.parametrize("command", [["true"], ["podman", "ps"], ["docker", "run", "x"]])
def test_a_command_that_starts_no_container_is_refused(mintfs: Daemon, command: list[str]) -> None:
    done = mintfs.cli("run", "-c", "git", "--podman", "--", *command, check=False)
    assert done.returncode == 2 and "podman run" in done.stderr
    assert mintfs.audit("open") == []
