"""Control groups of version 2 in which tests start processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from support.mintfs import as_user
from support.waiting import DEADLINE, eventually


def unified() -> Path:
    """Where cgroup version 2 is mounted."""
    with open("/proc/self/mountinfo") as table:
        for line in table:
            if line.split(" - ")[1].split()[0] == "cgroup2":
                return Path(line.split()[4])
    pytest.skip("no cgroup version 2 is mounted")


class Group:
    """A control group; what is started in it is there before its first instruction."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.path = folder, f"/{folder.relative_to(root)}"
        self._root = root
        folder.mkdir()

    def child(self, name: str) -> Group:
        return Group(self.folder / name, self._root)

    def command(self, *command: str | Path, uid: int | None = None) -> list[str]:
        enter = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
        user = as_user(os.getuid() if uid is None else uid)
        return ["sh", "-ec", enter, "sh", str(self.folder), *user, *map(str, command)]

    def run(self, *command: str | Path, uid: int | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*command, uid=uid), capture_output=True, text=True, timeout=DEADLINE,
                              cwd="/", **options)  # type: ignore[call-overload,no-any-return]  # fmt: skip

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")  # ends what a failed test has left in it

        def gone() -> bool:
            with contextlib.suppress(OSError):
                for folder, _, _ in os.walk(self.folder, topdown=False):
                    os.rmdir(folder)
            return not self.folder.exists()

        eventually("the group is empty", gone)
