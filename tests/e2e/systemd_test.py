"""The unit of deploy/systemd under a real systemd: its descriptor store keeps the mount and the sockets."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.load import Reader
from support.mintfs import MINTFS, MINTFSD, REPOSITORY, Daemon, Lease, assert_no_sanitizer_report, connector, token_in
from support.systemd import Systemd, what_is_missing
from support.waiting import eventually

UNIT = "mintfs.service"
MOUNT = "/run/mintfs/fs"
KILLS, RELOADS = 5, 3

pytestmark = pytest.mark.root

# What `systemctl edit` would write: other places, and what a sanitizer needs, whose leak check is a tracer.
EDIT = """
[Service]
ExecStart=
ExecStart={mintfsd} --config {config}
ExecReload=
ExecReload={mintfs} upgrade
StandardOutput=append:{log}
StandardError=append:{log}
Environment="ASAN_OPTIONS={asan}" "UBSAN_OPTIONS={ubsan}"
"""


@dataclass
class Service:
    systemd: Systemd
    daemon: Daemon  # its configuration and log

    def open_lease(self) -> Lease:
        answer = json.loads(self.systemd.run(MINTFS, "lease", "open", "-c", "git", "--format", "json"))
        return Lease(answer["id"], Path(answer["path"]))

    def read(self, lease: Lease) -> str:
        return self.systemd.run("cat", lease.gitconfig)

    @property
    def main_pid(self) -> int:
        return int(self.systemd.property(UNIT, "MainPID"))

    def wait_for_successor_of(self, pid: int) -> None:
        """Returns when systemd calls another process the main one, and that is the one that serves."""
        eventually("another mintfsd serves", lambda: self.main_pid not in (0, pid) and self.is_active())
        status = json.loads(self.systemd.run(MINTFS, "status", "--format", "json"))
        assert status["pid"] == self.main_pid

    def is_active(self) -> bool:
        return self.systemd.property(UNIT, "ActiveState") == "active"

    def kill(self) -> None:
        pid = self.main_pid
        self.systemd.run("kill", f"-{signal.SIGKILL.value}", str(pid))
        self.wait_for_successor_of(pid)

    def reload(self) -> None:
        pid = self.main_pid
        self.systemd.run("systemctl", "reload", UNIT)
        self.wait_for_successor_of(pid)


@pytest.fixture
def service(tmp_path: Path, server: GitServer, password: Path) -> Iterator[Service]:
    if missing := what_is_missing():
        pytest.skip(missing)
    daemon = Daemon(tmp_path / "mintfs", connector("git", server.url, password),
                    daemon={"runtime_dir": "/run/mintfs", "state_dir": "/var/lib/mintfs"})  # fmt: skip
    systemd = Systemd(tmp_path / "systemd")
    systemd.add(UNIT, (REPOSITORY / "deploy/systemd" / UNIT).read_text())
    systemd.add(f"{UNIT}.d/edit.conf", EDIT.format(
        mintfsd=MINTFSD, mintfs=MINTFS, config=daemon.config, log=daemon.log_file,
        asan=":".join([os.environ.get("ASAN_OPTIONS", ""), "detect_leaks=0"]),
        ubsan=os.environ.get("UBSAN_OPTIONS", "")))  # fmt: skip
    try:
        systemd.start()
        systemd.run("systemctl", "start", UNIT)
        yield Service(systemd, daemon)
    finally:
        systemd.stop()
    assert_no_sanitizer_report(daemon.log(), "mintfsd's log")


def test_nothing_fails_over_kills_reloads_and_a_restart(service: Service) -> None:
    lease = service.open_lease()
    first = service.read(lease)
    readers = [Reader([lease], inside=service.systemd.inside()) for _ in range(2)]
    try:
        for act in [service.kill, service.reload] * RELOADS + [service.kill] * (KILLS - RELOADS):
            act()
        before = service.main_pid
        service.systemd.run("systemctl", "restart", UNIT)
        service.wait_for_successor_of(before)
    finally:
        read = [reader.end() for reader in readers]
    assert [each["first"] for each in read if each["failed"]] == []
    assert all(each["done"] > 0 for each in read)
    assert token_in(service.read(lease)) != token_in(first)
    assert service.systemd.mount_points().count(MOUNT) == 1, "the mount is the first one, or was replaced whole"


def test_the_store_holds_what_outlives_the_daemon(service: Service) -> None:
    """The mount's connection, its memory, the sockets of control, admin and proxy."""
    held = int(service.systemd.property(UNIT, "NFileDescriptorStore"))
    assert held == 5
    service.kill()
    service.reload()
    assert int(service.systemd.property(UNIT, "NFileDescriptorStore")) == held


def test_a_stop_leaves_nothing_mounted_and_a_start_serves_the_lease_again(service: Service) -> None:
    lease = service.open_lease()
    service.systemd.run("systemctl", "stop", UNIT)
    assert MOUNT not in service.systemd.mount_points()
    assert service.systemd.property(UNIT, "Result") == "success"
    service.systemd.run("systemctl", "start", UNIT)
    assert token_in(service.read(lease))
