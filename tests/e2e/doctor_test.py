"""`mintfs doctor` finds what a newcomer gets wrong and says what to type."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.mintfs import MINTFS, STRANGER, Daemon, as_user, connector, secret_file


def _doctor(daemon: Daemon, *wrapper: str) -> tuple[int, str]:
    done = subprocess.run([*wrapper, str(MINTFS), "doctor", "--config", str(daemon.config)], capture_output=True, text=True,
                          env=daemon.environment())  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _finding(daemon: Daemon, subject: str, *wrapper: str, **environment: str) -> dict[str, str]:
    """What doctor found about `subject`."""
    done = subprocess.run([*wrapper, str(MINTFS), "doctor", "--config", str(daemon.config), "--format", "json"],
                          capture_output=True, text=True, env={**daemon.environment(), **environment})  # fmt: skip
    findings: dict[str, dict[str, str]] = {check["subject"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode == 1) == any(check["state"] == "fail" for check in findings.values())
    return findings[subject]


@pytest.fixture
def stopped(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", server.url, password), ready=False)


def test_a_healthy_machine_is_said_to_be_one(mintfs: Daemon) -> None:
    status, said = _doctor(mintfs)
    assert status == 0, said


@pytest.mark.root
def test_a_missing_fuse_device_is_found(mintfs: Daemon, tmp_path: Path) -> None:
    empty = tmp_path / "dev"
    empty.mkdir()
    hidden = ["unshare", "-m", "sh", "-ec", f'mount --bind {empty} /dev && exec "$@"', "sh"]
    status, said = _doctor(mintfs, *hidden)
    assert status == 1 and "/dev/fuse" in said and "modprobe fuse" in said


@pytest.mark.root
def test_who_is_served_by_roots_mintfsd_need_not_be_able_to_mount(mintfs: Daemon, tmp_path: Path) -> None:
    mintfs.config.chmod(0o644)
    closed = tmp_path / "fuse"
    closed.touch(mode=0o600)
    hidden = ["unshare", "-m", "sh", "-ec", f'mount --bind {closed} /dev/fuse && exec "$@"', "sh", *as_user(STRANGER)]
    status, said = _doctor(mintfs, *hidden)
    assert status == 0 and "mintfsd: runs" in said, said
    assert not any(word in said for word in ("/dev/fuse", "fusermount3", "user_allow_other"))


@pytest.mark.root
def test_a_fuse_device_that_is_closed_to_the_user_is_found(stopped: Daemon, tmp_path: Path) -> None:
    closed = tmp_path / "fuse"
    closed.touch(mode=0o600)
    stopped.config.chmod(0o644)
    hidden = ["unshare", "-m", "sh", "-ec", f'mount --bind {closed} /dev/fuse && exec "$@"', "sh", *as_user(STRANGER)]
    found = _finding(stopped, "/dev/fuse", *hidden)
    assert (found["state"], found["remedy"]) == ("fail", "sudo chmod 666 /dev/fuse"), found


@pytest.mark.root
def test_a_missing_fusermount3_is_found(stopped: Daemon, tmp_path: Path) -> None:
    mintfs = stopped
    mintfs.config.chmod(0o644)
    path = tmp_path / "path"
    path.mkdir()
    found = _finding(mintfs, "fusermount3", *as_user(STRANGER))
    assert found["state"] == "ok", found
    (path / "git").symlink_to(shutil.which("git") or "/usr/bin/git")
    hidden = [*as_user(STRANGER), "env", f"PATH={path}"]
    found = _finding(mintfs, "fusermount3", *hidden)
    assert (found["state"], found["remedy"]) == ("fail", "sudo apt install fuse3") and "is missing" in found["sentence"]


def test_a_mintfsd_that_does_not_answer_is_found(mintfs: Daemon) -> None:
    assert mintfs.process
    mintfs.process.send_signal(signal.SIGSTOP)
    try:
        asked = mintfs.cli("status", check=False)
        status, said = _doctor(mintfs)
    finally:
        mintfs.process.send_signal(signal.SIGCONT)
    assert asked.returncode == 1 and f"mintfsd listens at {mintfs.control}, but has not answered" in asked.stderr
    assert status == 1 and asked.stderr.removeprefix("mintfs: ").strip() in said and "systemctl restart mintfs" in said
    assert f"{mintfs.mount} does not answer" in said and "is taken" not in said, "it holds the port itself"


def test_a_taken_port_is_found(stopped: Daemon) -> None:
    with socket.create_server(("127.0.0.1", stopped.port)):
        status, said = _doctor(stopped)
    assert status == 1 and f"127.0.0.1:{stopped.port} is taken by another program" in said
    assert _finding(stopped, "port")["state"] == "ok", "it is free again"


def test_a_readable_secret_is_found(stopped: Daemon, password: Path) -> None:
    password.chmod(0o644)
    status, said = _doctor(stopped)
    assert status == 1 and str(password) in said and "chmod" in said


def test_a_connector_of_repositories_that_only_a_wildcard_begins_is_well(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, repositories=["*/app"]))
    status, said = _doctor(mintfs)
    assert status == 0 and "ok    connector default/git" in said, said


def test_a_missing_secret_is_found(stopped: Daemon, password: Path) -> None:
    password.unlink()
    status, said = _doctor(stopped)
    assert status == 1 and f"cannot read the secret file {password}: No such file" in said


def test_an_upstream_that_is_down_is_found(mintfs: Daemon, server: GitServer) -> None:
    server.stop()
    status, said = _doctor(mintfs)
    assert status == 1 and "git" in said and ("reach" in said or "connect" in said)


@pytest.mark.parametrize(("environment", "state"), [({}, "fail"), ({"https_proxy": "http://127.0.0.1:1"}, "warn")])
def test_a_server_that_only_the_egress_proxy_reaches_is_no_failure_before_the_start(
    stopped: Daemon, server: GitServer, environment: dict[str, str], state: str
) -> None:
    server.stop()
    found = _finding(stopped, "connector default/git", **environment)
    assert found["state"] == state and server.url in found["sentence"], found


def test_a_password_that_the_upstream_refuses_is_found(
    server: GitServer, tmp_path: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, secret_file(tmp_path / "wrong", "CANARY-wrong")))
    status, said = _doctor(mintfs)
    assert status == 1 and "password" in said.lower()
    assert "CANARY-wrong" not in said


def test_a_mistake_in_the_configuration_is_found(stopped: Daemon) -> None:
    stopped.config.write_text("[nonsense]\n")
    status, said = _doctor(stopped)
    assert status == 1 and f"{stopped.config}:1:" in said


def test_a_program_may_read_the_findings(mintfs: Daemon) -> None:
    done = mintfs.cli("doctor", "--config", mintfs.config, "--format", "json", check=False)
    assert json.loads(done.stdout)


def _with_fuse_conf(mintfs: Daemon, folder: Path, content: str) -> dict[str, str]:
    conf = folder / "fuse.conf"
    conf.write_text(content)
    mintfs.config.chmod(0o644)
    hidden = ["unshare", "-m", "sh", "-ec", f'mount --bind {conf} /etc/fuse.conf && exec "$@"', "sh"]
    return _finding(mintfs, "user_allow_other", *hidden, *as_user(STRANGER))


@pytest.mark.root
@pytest.mark.parametrize("content", ["", "# user_allow_other\n", "user_allow_others\n", "user_allow_other = yes\n"])
def test_a_missing_user_allow_other_is_found(stopped: Daemon, tmp_path: Path, content: str) -> None:
    found = _with_fuse_conf(stopped, tmp_path, content)
    assert found["state"] == "warn" and found["sentence"].startswith("is not set")
    assert "echo user_allow_other | sudo tee -a /etc/fuse.conf" in found["remedy"]


@pytest.mark.root
@pytest.mark.parametrize("content", ["user_allow_other\n", "mount_max = 9\n \tuser_allow_other # for CI\n"])
def test_a_user_allow_other_is_found_as_fusermount_finds_it(stopped: Daemon, tmp_path: Path, content: str) -> None:
    found = _with_fuse_conf(stopped, tmp_path, content)
    assert (found["state"], found["remedy"]) == ("ok", "") and found["sentence"].startswith("is set")
