"""A real systemd as the first process of namespaces of its own, with the units that a test gives it and no other.

It sees this machine's files but /run and /var/lib, which are empty there. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from support.mintfs import base_environment
from support.waiting import DEADLINE, eventually

#: Those of version 1 that systemd or our unit asks for; a machine with version 2 has the last alone.
_HIERARCHIES = ("name=systemd", "devices", "")

_FIRST = """
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
umount -R -l /sys/fs/cgroup
{cgroups}
exec env -i PATH="$PATH" container=mintfs-test SYSTEMD_UNIT_PATH={units} \
  /lib/systemd/systemd --system --unit=default.target --log-target=console --show-status=no --dump-core=no
"""


def _cgroups() -> dict[str, Path]:
    """Where this process is, by hierarchy; "" is version 2."""
    places = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            for name in options.split(",") if kind == "cgroup" else [""]:
                places[name] = Path(fields.split()[4])
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in _HIERARCHIES and name in places:
                found[name] = places[name] / path.lstrip("/")
    return found


def what_is_missing() -> str:
    """Why no systemd can be started here; empty: it can."""
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    read_only = [str(place) for place in _cgroups().values() if not os.access(place, os.W_OK)]
    return f"cannot write to {', '.join(read_only)}" if read_only else ""


class Systemd:
    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.units.mkdir(parents=True)
        self.log = folder / "systemd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._groups = {name: place / folder.parent.name for name, place in _cgroups().items()}
        for name in ("sysinit", "basic", "shutdown", "default"):  # what every unit comes after, without Debian's own
            self.add(f"{name}.target", "[Unit]\nDefaultDependencies=no\n")

    def add(self, name: str, text: str) -> None:
        """A unit, or "NAME.service.d/NAME.conf"; before the start or followed by `daemon-reload`."""
        place = self.units / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)

    def start(self) -> Systemd:
        join = "".join(f"mkdir {group}\necho $$ > {group}/cgroup.procs\n" for group in self._groups.values())
        script = _FIRST.format(cgroups="\n".join(self._mounts()), units=self.units)
        unshare = 'exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup --mount-proc sh -ec "$1"'
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(["sh", "-ec", join + unshare, "sh", script], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, env=base_environment())  # fmt: skip
        self.pid = eventually("there is a first process", self._first)
        # Running or, where a unit failed, degraded; before that it has no socket.
        eventually("systemd is up", lambda: self._state() in ("running", "degraded"))
        return self

    def _mounts(self) -> list[str]:
        if set(self._groups) == {""}:
            return ["mount -t cgroup2 cgroup2 /sys/fs/cgroup"]
        lines = ["mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup"]
        for name in self._groups:
            place = f"/sys/fs/cgroup/{name.removeprefix('name=') or 'unified'}"
            kind = f"-t cgroup -o {'none,' if '=' in name else ''}{name}" if name else "-t cgroup2"
            lines.append(f"mkdir {place}\nmount {kind} cgroup {place}")
        return lines

    def _first(self) -> int | Literal[False]:
        """The one child, once it is systemd: before that there are those of the script."""
        assert self._process and self._process.poll() is None, self.log.read_text()
        for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return False

    def _state(self) -> str:
        assert self._process and self._process.poll() is None, self.log.read_text()
        done = subprocess.run(self.inside("systemctl", "is-system-running"), capture_output=True, text=True)
        return done.stdout.strip()

    def inside(self, *command: str | Path) -> list[str]:
        """The command, to be run in the namespaces."""
        namespaces = ["--pid", "--mount", "--uts", "--ipc", "--cgroup"]
        return ["nsenter", "--target", str(self.pid), *namespaces, *map(str, command)]

    def run(self, *command: str | Path, check: bool = True) -> str:
        """Runs it there, and returns what it printed."""
        done = subprocess.run(self.inside(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=2 * DEADLINE, env=base_environment())  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", unit, "--value", "--property", name).strip()

    def mount_points(self) -> Sequence[str]:
        return [line.split()[4] for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]

    def stop(self) -> None:
        """All that runs there ends with its first process."""
        if self._process:
            self._process.kill()  # its child goes with it (--kill-child)
            self._process.wait(DEADLINE)
        for group in self._groups.values():
            for folder, _, _ in os.walk(group, topdown=False):
                eventually(f"{folder} is empty", lambda: _removed(Path(folder)))


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # its last process is still going
        return False
    return True
