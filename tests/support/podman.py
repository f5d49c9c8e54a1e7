"""Real containers: Podman with runc, on the root file system that tools/test-rootfs makes."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from support.mintfs import REPOSITORY
from support.waiting import DEADLINE

ROOTFS = REPOSITORY / "build-rootfs"

#: Works with every version of cgroups, and where hard limits cannot be raised.
GLOBAL = ["podman", "--runtime", "runc", "--cgroup-manager=cgroupfs"]
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
_COUNT = itertools.count(1)
#: Of several that run the suite together (pytest-xdist), which one this is.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def what_is_missing() -> str:
    """Why no container can be started here; empty: it can. Makes the root file system, which must succeed."""
    with (REPOSITORY / "meson.build").open() as lock:  # one at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([REPOSITORY / "tools/test-rootfs"], stdin=subprocess.DEVNULL, check=True)
        done = subprocess.run([*GLOBAL, "run", "--rm", "--network", "host", *LIMITS, "--rootfs", str(ROOTFS), "true"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip
    return f"podman starts no container: {done.stderr.strip()[-300:]}" if done.returncode else ""


def manage(*command: str | Path, stdin: IO[bytes] | int | None = subprocess.DEVNULL) -> None:
    """`podman COMMAND` of images, which must succeed; building one takes its time."""
    done = subprocess.run([*GLOBAL, *map(str, command)], stdin=stdin, capture_output=True, text=True, timeout=20 * DEADLINE)
    assert done.returncode == 0, f"podman {command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def start(*options: str) -> list[str]:
    """A command that starts one which is removed at its end; what it runs and in which root file system comes behind."""
    return [*GLOBAL, "run", "--rm", *LIMITS, "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", *options,
            "--rootfs"]  # fmt: skip


class Container:
    """One that lives until it is removed; commands are run in it one by one."""

    def __init__(self, *options: str, user: int | None = None, environment: Sequence[str] = ()) -> None:
        self.name = f"mintfs-test-{os.getpid()}-{next(_COUNT)}"
        self._user = ["--user", str(user)] if user is not None else []
        variables = [word for each in environment for word in ("--env", each)]
        command = [*GLOBAL, "run", "--detach", "--rm", "--name", self.name, *LIMITS, "--read-only",
                   "--read-only-tmpfs=false", "--tmpfs", "/tmp", *options, *variables, "--rootfs", str(ROOTFS),
                   "sleep", "600"]  # fmt: skip
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, done.stderr

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*GLOBAL, "exec", *self._user, self.name, *map(str, command)], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=2 * DEADLINE,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def remove(self) -> None:
        subprocess.run([*GLOBAL, "rm", "--force", "--time", "0", self.name], capture_output=True, timeout=2 * DEADLINE)


class Network:
    """A network namespace with one wire to this machine: `host` is our end's address, `address` the other's."""

    def __init__(self, number: int) -> None:
        number += 10 * _WORKER
        self.name = f"mintfs{os.getpid()}-{number}"
        self.path = Path("/run/netns") / self.name
        self.host, self.address = f"10.231.{number}.1", f"10.231.{number}.2"
        self._wire = f"mf{os.getpid() % 100000}-{number}"

    def make(self) -> Network:
        inside = ["ip", "-n", self.name]
        for command in (
            ["ip", "netns", "add", self.name],
            ["ip", "link", "add", self._wire, "type", "veth", "peer", "name", "eth0", "netns", self.name],
            ["ip", "addr", "add", f"{self.host}/30", "dev", self._wire],
            ["ip", "link", "set", self._wire, "up"],
            [*inside, "addr", "add", f"{self.address}/30", "dev", "eth0"],
            [*inside, "link", "set", "eth0", "up"],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "route", "add", "default", "via", self.host],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE)
        return self

    def remove(self) -> None:
        """The wire goes with either end."""
        subprocess.run(["ip", "link", "del", self._wire], capture_output=True, timeout=DEADLINE)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=DEADLINE)


@contextlib.contextmanager
def network(number: int) -> Iterator[Network]:
    made = Network(number)
    try:
        yield made.make()
    finally:
        made.remove()
