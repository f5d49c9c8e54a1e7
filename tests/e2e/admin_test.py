"""The admin listener: what it says of the daemon is so, and who asks it delays nobody."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from support.git_server import Gate, GitServer
from support.job import Job, basic
from support.metrics import labels_of, parse, value
from support.mintfs import STRANGER, Daemon, connector
from support.ports import free_port
from support.raw_http import exchange, receive, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
MINTED, REDEEMED, LEASES = "mintfs_tokens_minted_total", "mintfs_tokens_redeemed_total", "mintfs_leases_open"
REQUESTS, REFUSALS, ERRORS = "mintfs_requests_total", "mintfs_refusals_total", "mintfs_upstream_errors_total"
OPENS, OPEN_REFUSALS = "mintfs_view_opens_total", "mintfs_view_open_refusals_total"


def _connect(mintfs: Daemon) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(str(mintfs.admin))
    return connection


def _ask_in_turn(mintfs: Daemon, path: str) -> tuple[int, str]:
    """Waits where the queue is full, which curl does not."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(mintfs.admin))
        connection.settimeout(DEADLINE)
        connection.sendall(request("GET", path, "Connection: close"))
        answer = receive(connection)
        return answer.status, answer.body.decode()


def _started(mintfs: Daemon) -> float:
    return value(parse(_ask_in_turn(mintfs, "/metrics")[1]), "process_start_time_seconds")


def _file(mintfs: Daemon) -> tuple[int, int]:
    """Which file the socket is: the number of one that is gone is given to the next."""
    status = mintfs.admin.stat()
    return status.st_ino, status.st_mtime_ns


def _forged(token: str) -> str:
    return "Authorization: Bearer " + token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")


# --- what it says --------------------------------------------------------------------------------------


def test_the_counters_say_exactly_what_a_clone_and_a_push_and_a_forged_token_did(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    size = 512 << 10  # git asks once more before it sends a mebibyte
    server.create("acme/large", {"blob": os.urandom(size)})
    mintfs = start_mintfs(connector("git", server.url, password))
    lease = mintfs.open_lease()
    job = new_job(lease)
    work = job.clone(f"{server.url}/acme/large.git")
    job.commit(work, "more", os.urandom(size))
    job.git("push", "--quiet", cwd=work)
    forged = _forged(job.token())
    assert exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), forged)).reason_word == "token-signature"
    with pytest.raises(OSError):
        lease.gitconfig.open("r+")
    assert mintfs.cli("lease", "open", "-c", "none", check=False).returncode == 1

    asked = [(access.path.rsplit("/", 1)[-1], access.query) for access in server.accesses()]
    pushes = sum("git-receive-pack" in access for pair in asked for access in pair)
    fetches = len(asked) - pushes
    assert pushes == 2 and fetches == 3, "the advertisement and the pack; before a fetch the list of refs as well"

    def counted() -> dict[str, float] | bool:
        samples = mintfs.metrics()
        found = {operation: value(samples, REQUESTS, connector="default/git", operation=operation)
                 for operation in ("fetch", "push", "lfs", "page")}  # fmt: skip
        return samples if found == {"fetch": fetches, "push": pushes, "lfs": 0, "page": 0} else False  # type: ignore[return-value]

    samples = eventually("both are counted", counted)
    assert isinstance(samples, dict)
    assert value(samples, REDEEMED) == fetches + pushes
    assert value(samples, MINTED) == value(samples, OPENS) > 0
    assert value(samples, LEASES) == 1
    refusals = {dict(labels)["reason"]: count for (name, labels), count in samples.items() if name == REFUSALS and count}
    assert refusals == {"token-signature": 1, "connector-unknown": 1}
    assert value(samples, ERRORS, connector="default/git", reason="upstream-refused") == 0
    for operation, count in (("fetch", fetches), ("push", pushes)):
        labels = {"connector": "default/git", "operation": operation}
        assert value(samples, "mintfs_request_duration_seconds_count", **labels) == count
        assert value(samples, "mintfs_request_duration_seconds_sum", **labels) > 0
    down = value(samples, "mintfs_sent_bytes_total", connector="default/git", operation="fetch")
    up = value(samples, "mintfs_received_bytes_total", connector="default/git", operation="push")
    assert size < down < size + (64 << 10) and size < up < size + (64 << 10)
    assert value(samples, "mintfs_audit_lines_lost_total") == 0


def test_a_failing_upstream_is_counted_by_its_reason_and_told_by_readyz(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), connector("team/other", upstream.url, password))
    job = new_job(mintfs.open_lease())
    assert mintfs.ask_admin("/readyz?connector=git") == (200, "serving: ok\nmint: ok\nview: ok\nconnector default/git: ok\n")
    upstream.when("GET", "/", Reply(401))
    answer = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
    assert answer.reason_word == "upstream-refused"
    eventually("it is counted", lambda: value(mintfs.metrics(), ERRORS, connector="default/git", reason="upstream-refused") == 1)
    status, said = mintfs.ask_admin("/readyz")
    assert status == 200 and "connector default/git: upstream-refused, " in said, "the others are served"
    assert "team/other" not in said
    status, said = mintfs.ask_admin("/readyz?connector=git")
    assert status == 503 and "connector default/git: failed: upstream-refused, " in said
    assert mintfs.ask_admin("/readyz?connector=team/other")[0] == 200
    asked = len(upstream.requests)
    upstream.stop()
    answer = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
    assert answer.reason_word == "upstream-unreachable"
    eventually("it is told", lambda: "upstream-unreachable" in mintfs.ask_admin("/readyz?connector=git")[1])
    assert len(upstream.requests) == asked, "nobody who asked here made mintfsd ask there"


def test_an_answer_that_breaks_off_is_the_upstreams_failure(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    upstream.when("GET", "/", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        exchange(recorded.port, request("GET", recorded.path(INFO_REFS), caller.authorization()))
    eventually("it is counted", lambda: value(recorded.metrics(), ERRORS, connector="default/git",
                                              reason="upstream-malformed") == 1)  # fmt: skip


def test_a_long_transfer_is_seen_before_its_end(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> None:  # fmt: skip
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    mintfs = start_mintfs(connector("git", server.url, password))
    job = new_job(mintfs.open_lease())
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    eventually("bytes are counted", lambda: value(mintfs.metrics(), "mintfs_sent_bytes_total", connector="default/git",
                                                  operation="fetch") > 32 << 10)  # fmt: skip
    assert value(mintfs.metrics(), "mintfs_client_connections") == 1
    gate.open()
    assert clone.wait(DEADLINE) == 0


def test_opens_in_the_view_are_counted_by_what_was_answered(mintfs: Daemon) -> None:
    lease = mintfs.open_lease()
    for _ in range(3):
        lease.gitconfig.read_bytes()
    samples = mintfs.metrics()
    assert value(samples, OPENS) == value(samples, MINTED) == value(samples, "mintfs_view_open_duration_seconds_count") == 3
    held = [lease.gitconfig.open("rb") for _ in range(256)]
    with pytest.raises(OSError):
        lease.gitconfig.open("rb")
    for handle in held:
        handle.close()
    assert value(mintfs.metrics(), OPEN_REFUSALS, reason="too-many") == 1


def test_the_process_is_told_as_every_client_of_prometheus_does(mintfs: Daemon) -> None:
    samples = mintfs.metrics()
    pid = mintfs.pid
    assert abs(value(samples, "process_open_fds") - len(os.listdir(f"/proc/{pid}/fd"))) < 10
    assert 1 << 20 < value(samples, "process_resident_memory_bytes") < 16 << 30
    assert value(samples, "process_max_fds") > 0 and value(samples, "process_cpu_seconds_total") > 0
    started = float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    booted = float(re.search(r"btime (\d+)", Path("/proc/stat").read_text()).group(1))  # type: ignore[union-attr]
    assert abs(value(samples, "process_start_time_seconds") - booted - started) < 60
    assert value(samples, "mintfs_build_info", version=mintfs.control_api("GET", "/v1/status")[1]["version"]) == 1


def test_nothing_that_a_client_makes_up_becomes_a_label(mintfs: Daemon, new_job: Callable[..., Job]) -> None:
    lease = mintfs.open_lease("--label", "build=canary-label")
    job = new_job(lease)
    exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
    eventually("it is counted", lambda: value(mintfs.metrics(), REQUESTS, connector="default/git", operation="fetch") == 1)
    before = mintfs.ask_admin("/metrics")[1]
    for number in range(40):
        authorization = job.authorization() if number % 2 else basic(f"made-up-{number}")
        for name, namespace in (("git", "default"), (f"made-up-{number}", "default"), ("git", f"made-up-{number}")):
            path = mintfs.path(f"made-up/{number}.git/info/refs?service=git-upload-pack", name, namespace)
            exchange(mintfs.port, request("GET", path, authorization))
    after = mintfs.ask_admin("/metrics")[1]
    assert after.count("\n") == before.count("\n"), "not one line more"
    samples = parse(after)
    assert labels_of(samples, "connector") == {"default/git"} and labels_of(samples, "operation") == {"fetch"}
    for word in ("made-up", "acme", lease.id, "canary", f"uid:{os.getuid()}", job.token()):
        assert word not in after


# --- whether it is well ----------------------------------------------------------------------------------


def test_a_daemon_that_serves_is_well_and_ready(mintfs: Daemon) -> None:
    assert mintfs.ask_admin("/healthz") == (200, "ok\n")
    assert mintfs.ask_admin("/readyz") == (200, "serving: ok\nmint: ok\nview: ok\n")
    assert mintfs.audit() == [], "a probe is no act"
    for path, options, status in (("/", (), 404), ("/healthz", ("-X", "POST"), 405), ("/readyz?connector=none", (), 404),
                                  ("/readyz?all", (), 400), ("/healthz", ("--head",), 200)):  # fmt: skip
        assert mintfs.ask_admin(path, *options)[0] == status, path


@pytest.fixture
def held_clone(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> Iterator[tuple[Daemon, subprocess.Popen[str]]]:  # fmt: skip
    """A daemon whose end waits for a clone that is under way."""
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    mintfs = start_mintfs(connector("git", server.url, password), proxy={"drain_timeout": "10m"})
    job = new_job(mintfs.open_lease())
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    yield mintfs, clone
    gate.open()
    clone.communicate(timeout=DEADLINE)


def test_a_daemon_that_is_about_to_end_is_well_and_not_ready(
    held_clone: tuple[Daemon, subprocess.Popen[str]], gate: Gate
) -> None:
    mintfs, _ = held_clone
    assert mintfs.process
    mintfs.process.terminate()
    status, said = eventually("it is not ready", lambda: (a := mintfs.ask_admin("/readyz"))[0] == 503 and a)
    assert said.startswith("serving: failed: mintfsd is about to end\nmint: ok\nview: ok\n")
    assert mintfs.ask_admin("/healthz")[0] == 200
    gate.open()
    assert mintfs.stop() == 0
    assert not mintfs.admin.exists()


@pytest.mark.root
def test_a_daemon_without_its_view_is_not_ready(
    held_clone: tuple[Daemon, subprocess.Popen[str]], gate: Gate
) -> None:
    """It mounts the view again; here it cannot, since there is a file in the way, and ends after its transfers."""
    mintfs, _ = held_clone
    assert mintfs.process
    with _connect(mintfs) as connection:
        connection.sendall(request("GET", "/readyz"))
        assert receive(connection).status == 200
        elsewhere = mintfs.runtime.rename(mintfs.runtime.with_name("elsewhere"))
        mintfs.runtime.touch()
        subprocess.run(["umount", "-l", elsewhere / mintfs.mount.name], check=True)

        def not_ready() -> str | bool:
            connection.sendall(request("GET", "/readyz"))
            answer = receive(connection)
            return answer.status == 503 and answer.body.decode()

        said = eventually("it is not ready", not_ready)
        assert isinstance(said, str) and "view: failed: the view is not mounted\n" in said and "mint: ok\n" in said
    gate.open()
    assert mintfs.process.wait(DEADLINE) == 1
    mintfs.process = None


# --- who may ask, and what it costs ------------------------------------------------------------------------


@pytest.mark.root
def test_other_users_cannot_connect(mintfs: Daemon) -> None:
    assert mintfs.control_api("GET", "/v1/status", uid=STRANGER)[0] == 200, "they get as far as the directory"
    assert mintfs.ask_admin("/metrics", uid=STRANGER) == (0, "")
    assert mintfs.admin.stat().st_mode & 0o7777 == 0o660


def test_slow_clients_delay_nobody(mintfs: Daemon, job: Job, server: GitServer) -> None:
    slow = [_connect(mintfs) for _ in range(24)]
    for number, connection in enumerate(slow):
        # Half ask for a lot and take nothing, half do not come to an end.
        whole = request("GET", "/metrics") * 4
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(whole if number % 2 else whole[:20])
    assert mintfs.ask_admin("/healthz") == (200, "ok\n")
    assert mintfs.control_api("GET", "/v1/status")[0] == 200
    job.clone(f"{server.url}/acme/app.git")

    def is_full() -> tuple[int, str] | Literal[False]:
        slow.extend(_connect(mintfs) for _ in range(8))  # who was slow for 10 s is hung up on
        answer = mintfs.ask_admin("/healthz")
        return answer[0] == 503 and answer

    assert "too-many" in eventually("it is full", is_full)[1]
    job.git("ls-remote", f"{server.url}/acme/app.git")
    for connection in slow:
        connection.close()
    eventually("there is room again", lambda: mintfs.ask_admin("/healthz")[0] == 200)


# --- where it listens --------------------------------------------------------------------------------------


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", path)
    return connection.getresponse().status


def test_it_listens_at_an_address_or_not_at_all_where_that_is_wanted(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    git, port = connector("git", server.url, password), free_port()
    address = start_mintfs(git, name="address", admin={"listen": f"127.0.0.1:{port}"})
    assert _get(port, "/readyz") == 200 and not address.admin.exists()
    assert f"http://127.0.0.1:{port}" in address.cli("status").stdout
    none = start_mintfs(git, name="none", admin={"listen": "none"})
    assert not none.admin.exists() and none.control_api("GET", "/v1/status")[1]["admin"] == "none"
    elsewhere = start_mintfs(git, name="elsewhere", admin={"listen": f"unix:{address.root}/elsewhere.sock"})
    assert (address.root / "elsewhere.sock").is_socket() and not elsewhere.admin.exists()


def test_a_place_that_cannot_be_had_is_one_sentence(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    for number, listen in enumerate((f"127.0.0.1:{server.port}", "unix:/nowhere/admin.sock", f"unix:{password}")):
        mintfs = start_mintfs(connector("git", server.url, password), name=f"m{number}", ready=False, admin={"listen": listen})
        said = mintfs.refuses_to_start()
        assert "admin.listen" in said and len(said.strip().splitlines()) == 1, said
    assert password.is_file()


# --- who comes after ---------------------------------------------------------------------------------------


@pytest.fixture(params=["alone", "kept"])
def running(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], request: pytest.FixtureRequest
) -> Daemon:
    return start_mintfs(connector("git", server.url, password), keeper=request.param == "kept")


def test_the_socket_is_never_missing_while_upgrades_follow_each_other(running: Daemon) -> None:
    stop, failures = threading.Event(), []

    def knock() -> None:
        while not stop.wait(0.001):
            try:
                with socket.socket(socket.AF_UNIX) as connection:  # blocking: where the queue is full it waits
                    connection.connect(str(running.admin))
            except OSError as error:
                failures.append(error)
                return

    file = _file(running)
    started = _started(running)
    thread = threading.Thread(target=knock)
    thread.start()
    try:
        for _ in range(2):
            running.cli("upgrade")
            later = _started(running)
            assert later > started, "the new one answers"
            started = later
    finally:
        stop.set()
        thread.join()
    assert failures == [] and _file(running) == file
    assert _ask_in_turn(running, "/readyz")[0] == 200
    assert running.stop() == 0 and not running.admin.exists()


def test_an_upgrade_that_fails_leaves_the_old_one_answering(running: Daemon) -> None:
    good, started = running.config.read_text(), value(running.metrics(), "process_start_time_seconds")
    running.config.write_text("nonsense\n")
    assert running.cli("upgrade", check=False).returncode == 1
    assert value(running.metrics(), "process_start_time_seconds") == started
    running.config.write_text(good)
    running.cli("upgrade")
    assert running.ask_admin("/readyz")[0] == 200


def test_an_upgrade_moves_it(running: Daemon, server: GitServer, password: Path) -> None:
    port = free_port()
    for admin in ({"listen": f"127.0.0.1:{port}"}, {"listen": "none"}, {"listen": f"unix:{running.admin}"}):
        running.configure(connector("git", server.url, password), admin=admin)
        running.cli("upgrade")
        where = running.control_api("GET", "/v1/status")[1]["admin"]
        assert where == admin["listen"].replace("127.0.0.1:", "http://127.0.0.1:")
        if "127.0.0.1:" in where:
            assert _get(port, "/healthz") == 200
    assert running.ask_admin("/healthz")[0] == 200


def test_the_file_of_its_former_place_goes_when_it_has_moved(running: Daemon, server: GitServer, password: Path) -> None:
    git, good = connector("git", server.url, password), running.config.read_text()
    elsewhere = running.root / "elsewhere.sock"
    running.configure(git, admin={"listen": f"unix:{elsewhere}"}, proxy={"listen": "127.0.0.1:1", "threads": 65})
    assert running.cli("upgrade", check=False).returncode == 1
    assert running.ask_admin("/healthz")[0] == 200, "the next one failed, so it is there still"
    running.configure(git, admin={"listen": f"unix:{elsewhere}"})
    running.cli("upgrade")
    eventually("the old file is gone", lambda: not running.admin.exists())
    assert elsewhere.is_socket()
    running.config.write_text(good)
    running.cli("upgrade")
    eventually("the other one is gone", lambda: not elsewhere.exists())
    assert running.ask_admin("/healthz")[0] == 200


def test_the_file_of_its_former_place_goes_with_a_restart_under_a_keeper(
    kept: Daemon, server: GitServer, password: Path
) -> None:
    kept.configure(connector("git", server.url, password), admin={"listen": "none"})
    assert kept.admin.exists()
    old = kept.kill_served()
    kept.wait_for_successor_of(old)
    assert not kept.admin.exists()


def test_the_successor_of_a_killed_one_answers_at_the_same_socket(kept: Daemon) -> None:
    file, old = _file(kept), kept.pid
    kept.kill_served()
    assert kept.ask_admin("/healthz") == (200, "ok\n"), "who asks meanwhile waits"
    assert kept.wait_for_successor_of(old) and _file(kept) == file
