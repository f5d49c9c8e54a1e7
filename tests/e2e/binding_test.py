"""Leases bound to a cgroup or to a process: who else runs under the same user gets nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from support.cgroup import Group, unified
from support.git_server import GitServer
from support.job import Job
from support.mintfs import MINTFS, STRANGER, Daemon, Lease, connector, token_in
from support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.root


@pytest.fixture
def new_group(tmp_path: Path) -> Iterator[Callable[[str], Group]]:
    root, made = unified(), []

    def make(name: str) -> Group:
        made.append(Group(root / f"{tmp_path.name}-{name}", root))
        return made[-1]

    yield make
    for group in made:
        group.remove()


@pytest.fixture
def group(new_group: Callable[[str], Group]) -> Group:
    return new_group("job")


def _open_in(group: Group, mintfs: Daemon, *options: str, connectors: Sequence[str] = ("git",)) -> Lease:
    done = group.run(MINTFS, "lease", "open", "-c", *connectors, *options, env=mintfs.environment())
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    return Lease(path.name, path)


def _assert_only_inside(lease: Lease, inside: Sequence[Group], outside: Sequence[Group]) -> None:
    for group in inside:
        done = group.run("cat", lease.gitconfig)
        assert done.returncode == 0 and "Authorization" in done.stdout, (group.path, done.stderr)
    for group in outside:
        done = group.run("cat", lease.gitconfig)
        assert done.returncode == 1 and "Permission denied" in done.stderr, (group.path, done)
    with pytest.raises(PermissionError):
        lease.gitconfig.read_text()  # we are in the root group


def test_only_processes_of_the_group_and_below_read_the_view(
    kept: Daemon, group: Group, new_group: Callable[[str], Group]
) -> None:
    child, grandchild = group.child("step"), Group(group.folder / "step/inner", unified())
    other, prefix = new_group("other"), new_group("job2")  # whose path begins like the group's
    lease = _open_in(group, kept, "--cgroup", "self")
    inside, outside = [group, child, grandchild], [other, prefix]
    _assert_only_inside(lease, inside, outside)
    kept.wait_for_successor_of(kept.kill_served())
    _assert_only_inside(lease, inside, outside)
    kept.cli("upgrade")
    _assert_only_inside(lease, inside, outside)
    kept.stop()
    kept.start()
    _assert_only_inside(lease, inside, outside)
    assert kept.control_api("GET", f"/v1/leases/{lease.id}")[1]["cgroup"] == group.path


def test_a_group_can_be_named_by_its_path(mintfs: Daemon, group: Group, new_group: Callable[[str], Group]) -> None:
    lease = mintfs.open_lease("--cgroup", group.path)
    _assert_only_inside(lease, [group, group.child("step")], [new_group("other")])


def test_a_group_that_is_made_later_can_be_named_before(mintfs: Daemon, tmp_path: Path) -> None:
    root = unified()
    lease = mintfs.open_lease("--cgroup", f"/{tmp_path.name}-later")
    group = Group(root / f"{tmp_path.name}-later", root)
    try:
        _assert_only_inside(lease, [group], [])
    finally:
        group.remove()


def test_a_group_in_place_of_one_that_was_removed_is_admitted_by_its_path_only(mintfs: Daemon, group: Group) -> None:
    lease = _open_in(group, mintfs, "--cgroup", "self")
    group.folder.rmdir()
    with pytest.raises(PermissionError):
        lease.gitconfig.read_text()
    group.folder.mkdir()
    _assert_only_inside(lease, [group], [])


def test_a_bound_clone_works_inside_and_fails_outside(
    mintfs: Daemon, group: Group, server: GitServer, new_job: Callable[..., Job]
) -> None:
    job = new_job(_open_in(group, mintfs, "--cgroup", "self"))
    done = group.run("git", "clone", "--quiet", f"{server.url}/acme/app.git", job.home / "inside", env=job.env)
    assert done.returncode == 0, done.stderr
    outside = job.git("clone", "--quiet", f"{server.url}/acme/app.git", job.home / "outside", check=False)
    assert outside.returncode != 0


def test_a_handle_that_was_opened_inside_is_read_by_who_holds_it(mintfs: Daemon, group: Group) -> None:
    """As with every file: open(2) is where rights are checked, and a handle can be given away."""
    lease = _open_in(group, mintfs, "--cgroup", "self")
    read = 'exec 3<"$1"; echo $$ >"$2/cgroup.procs"; cat <&3; cat "$1"'
    done = group.run("sh", "-c", read, "sh", lease.gitconfig, unified())
    assert done.stdout.count("extraHeader = Authorization") == 1 and "Permission denied" in done.stderr


def _take_number(pid: int, group: Group) -> subprocess.Popen[bytes] | None:
    """A process of the group with this number; nothing where another was quicker."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    process = subprocess.Popen(group.command("sleep", "600"))
    if process.pid == pid:
        eventually("it is in the group", lambda: f"{group.path}\n" in Path(f"/proc/{pid}/cgroup").read_text())
        return process
    process.kill()
    process.wait()
    return None


def _stands_still(pid: int) -> bool:
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def _vouches_for_processes() -> bool:
    """Whether the kernel tells by a pidfd who connected (SO_PEERPIDFD, Linux 6.5)."""
    ends = socket.socketpair(socket.AF_UNIX)
    try:
        os.close(ends[0].getsockopt(socket.SOL_SOCKET, 77))
        return True
    except OSError:
        return False
    finally:
        for end in ends:
            end.close()


@pytest.mark.parametrize("taken", ["before", "after"])
def test_a_number_that_is_another_processs_by_now_admits_nobody_to_what_is_stored(
    mintfs: Daemon, group: Group, taken: str
) -> None:
    """Who connected has ended and left the connection to its parent, and a process of the group has got its number
    after mintfsd has taken the connection, or before."""
    if not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK):
        pytest.skip("the next process's number cannot be chosen")
    if taken == "after" and not _vouches_for_processes():
        pytest.skip("this kernel cannot tell who it was")
    lease = _open_in(group, mintfs, "--cgroup", "self")
    target, asked = f"/v1/leases/{lease.id}/credentials/get", json.dumps({"protocol": "http", "host": mintfs.url.removeprefix("http://")})
    inside = group.run("curl", "-s", "--unix-socket", mintfs.control, "--json", asked, f"http://mintfs{target}")
    assert "password" in inside.stdout, inside
    for _ in range(100):
        with socket.socket(socket.AF_UNIX) as connection:
            if taken == "after":
                mintfs.signal(signal.SIGSTOP)
                eventually("it stands still", lambda: mintfs.process and _stands_still(mintfs.process.pid))
            child = os.fork()
            if child == 0:
                connection.connect(str(mintfs.control))
                os._exit(0)
            os.waitpid(child, 0)
            if taken == "before":
                assert mintfs.control_api("GET", "/v1/status")[0] == 200, "whoever connects later was taken, so the former was"
            process = _take_number(child, group)
            mintfs.signal(signal.SIGCONT)
            if process is None:
                continue
            try:
                connection.settimeout(DEADLINE)
                connection.sendall(f"POST {target} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(asked)}\r\n\r\n{asked}".encode())
                answer = connection.recv(65536)
            finally:
                process.kill()
                process.wait()
            assert answer.startswith(b"HTTP/1.1 403 ") and b"password" not in answer
            return
    pytest.fail("the number was never free")


def test_the_uid_is_checked_as_well(mintfs: Daemon, group: Group) -> None:
    lease = _open_in(group, mintfs, "--cgroup", "self")
    assert group.run("cat", lease.gitconfig, uid=STRANGER).returncode == 1


@pytest.fixture
def binding(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    allowed = connector("git", server.url, password, allow={"users": [str(STRANGER)]})
    return start_mintfs(allowed, lease={"bind": "cgroup"})


def test_a_daemon_can_bind_every_lease(
    binding: Daemon, group: Group, new_group: Callable[[str], Group]
) -> None:
    other = new_group("other")
    lease = _open_in(group, binding)
    _assert_only_inside(lease, [group, group.child("step")], [other])
    _assert_only_inside(_open_in(other, binding), [other], [group])


_TO_THE_ROOT = """
for group in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
    [ ! -e "$group" ] || echo $$ >"$group"
done
! grep -v ':/$' /proc/self/cgroup && exec "$@"
"""


def test_a_daemon_that_binds_refuses_who_is_in_the_root_group(binding: Daemon) -> None:
    done = subprocess.run(["sh", "-c", _TO_THE_ROOT, "sh", MINTFS, "lease", "open", "-c", "git"], capture_output=True,
                          text=True, timeout=DEADLINE, env=binding.environment())  # fmt: skip
    assert done.returncode == 1 and "root cgroup" in done.stderr, done
    assert binding.leases() == []


@pytest.mark.parametrize("named", ["", "/", "nonsense", "/a/../b", "/a//b", "/a/", "/.", "a:b:/c", "/" + "x" * 2000, "/a b"])
def test_a_group_that_is_none_is_refused(mintfs: Daemon, named: str) -> None:
    status, problem = mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"], "cgroup": named})
    assert status == 400, problem
    if named:
        done = mintfs.cli("lease", "open", "-c", "git", "--cgroup", named, check=False)
        assert done.returncode in (1, 2) and done.stderr
    assert mintfs.leases() == []


# --- processes ---------------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_lease_ends_with_its_process(mintfs: Daemon, sleeper: subprocess.Popen[bytes]) -> None:
    bound, other = mintfs.open_lease("--pid", str(sleeper.pid)), mintfs.open_lease()
    assert "Authorization" in bound.gitconfig.read_text()
    _end(sleeper)
    eventually("it is closed", lambda: mintfs.leases() == [other.id])
    with pytest.raises(OSError):
        bound.gitconfig.read_text()
    assert [line["reason"] for line in mintfs.wait_for_audit("close", 1)] == ["process-ended"]


@pytest.mark.parametrize("change", ["kill", "upgrade"])
def test_a_lease_ends_with_its_process_under_another_daemon_too(
    kept: Daemon, sleeper: subprocess.Popen[bytes], change: str
) -> None:
    bound = kept.open_lease("--pid", str(sleeper.pid))
    if change == "kill":
        kept.wait_for_successor_of(kept.kill_served())
    else:
        kept.cli("upgrade")
    assert kept.leases() == [bound.id] and "Authorization" in bound.gitconfig.read_text()
    _end(sleeper)
    eventually("it is closed", lambda: kept.leases() == [])


def test_a_lease_whose_process_ended_while_nobody_served_is_closed(
    mintfs: Daemon, sleeper: subprocess.Popen[bytes]
) -> None:
    bound, other = mintfs.open_lease("--pid", str(sleeper.pid)), mintfs.open_lease()
    mintfs.kill()
    _end(sleeper)
    mintfs.start()
    eventually("it is closed", lambda: mintfs.leases() == [other.id])
    assert not (mintfs.runtime / "leases" / f"{bound.id}.json").exists()


def test_a_lease_whose_process_ends_during_an_upgrade_that_fails_is_closed(
    mintfs: Daemon, sleeper: subprocess.Popen[bytes]
) -> None:
    mintfs.open_lease("--pid", str(sleeper.pid))
    mintfs.config.write_text("nonsense\n")
    assert mintfs.cli("upgrade", check=False).returncode == 1
    _end(sleeper)
    eventually("it is closed", lambda: mintfs.leases() == [])


def _status_from(mintfs: Daemon, lease: Lease, source: str) -> str:
    """Status and reason of a request with a fresh token that comes from this address."""
    url = f"{mintfs.url}{mintfs.path('acme/app.git/info/refs?service=git-upload-pack')}"
    done = subprocess.run(["curl", "--silent", "--interface", source, "-w", "\n%{http_code}", "-H",
                           f"Authorization: Bearer {token_in(lease.gitconfig.read_text())}", url],
                          capture_output=True, timeout=DEADLINE, check=True)  # fmt: skip
    body, _, status = done.stdout.rpartition(b"\n")
    return status.decode() if status == b"200" else f"{status.decode()} {body.decode().split(': ')[1]}"


def test_a_token_works_from_the_lease_s_addresses_only(mintfs: Daemon) -> None:
    lease = mintfs.open_lease("--origin", "127.0.0.2", "--origin", "127.1.0.0/16")
    assert _status_from(mintfs, lease, "127.0.0.2") == "200"
    assert _status_from(mintfs, lease, "127.1.7.7") == "200"
    assert _status_from(mintfs, lease, "127.0.0.1") == "403 token-origin"
    assert _status_from(mintfs, mintfs.open_lease("--origin", "unix"), "127.0.0.1") == "403 token-origin"
    shown = mintfs.control_api("GET", f"/v1/leases/{lease.id}")[1]
    assert shown["origins"] == ["127.0.0.2", "127.1.0.0/16"]
    assert "127.0.0.2, 127.1.0.0/16" in mintfs.cli("lease", "show", lease.id).stdout


@pytest.mark.parametrize("named", ["localhost", "127.0.0.1/8", "10.0.0.0/33", ""])
def test_an_origin_that_is_none_is_refused(mintfs: Daemon, named: str) -> None:
    done = mintfs.cli("lease", "open", "-c", "git", "--origin", named, check=False)
    assert done.returncode == 1 and "is an origin" in done.stderr
    status, problem = mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"], "origins": [named]})
    assert (status, problem["reason"]) == (400, "lease-malformed")


def test_a_job_killed_with_its_runner_leaves_no_lease(mintfs: Daemon) -> None:
    run = subprocess.Popen([MINTFS, "run", "-c", "git", "--", "sleep", "300"], env=mintfs.environment(), start_new_session=True)
    try:
        eventually("it has a lease", lambda: len(mintfs.leases()) == 1)
    finally:
        os.killpg(run.pid, 9)
        run.wait()
    eventually("it is closed", lambda: mintfs.leases() == [])
