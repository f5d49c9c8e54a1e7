"""The daemon's life: a good start or one clear sentence, reloads whole or not at all, an orderly end."""

from __future__ import annotations

import base64
import os
import pwd
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import disk
from support.git_server import PASSWORD, USER, Gate, GitServer
from support.job import Job
from support.mintfs import MINTFSD, STRANGER, Daemon, as_user, base_environment, connector, secret_file
from support.raw_http import connect, exchange, receive, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE, eventually

ADDRESS = "https://git.example"
INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


@pytest.fixture
def idle(password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", ADDRESS, password))


@pytest.fixture
def stopped(password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    """Configured well and not started, for tests that spoil something first."""
    return start_mintfs(connector("git", ADDRESS, password), ready=False)


def _sentence(said: str, *words: str | Path, step: str) -> None:
    """The last line names the thing, and the next step by what the pattern `step` finds; no trace of a crash."""
    lines = said.strip().splitlines()
    assert lines and len(lines) <= 3, said
    for word in words:
        assert str(word) in lines[-1], f"{word!r} is missing in: {said}"
    assert re.search(step, lines[-1]), f"nothing says what to do in: {said}"
    for noise in ("terminate called", "core dumped", "what():", "std::"):
        assert noise not in said


# --- configuration -----------------------------------------------------------------------------------

GOOD = """\
[[connector]]
name = "git"
class = "git"
address = "https://git.example"
auth = { type = "basic", username = "bot", password_file = "/nowhere" }
"""
MISTAKES: dict[str, tuple[str, int, str]] = {
    "an unknown key": (GOOD + "nonsense = 1\n", 6, "nonsense"),
    "an unknown section": (GOOD + "[nonsense]\n", 6, "nonsense"),
    "a key in the wrong section": ("ttl = '30m'\n" + GOOD, 1, "ttl"),
    "an unknown key of auth": (GOOD.replace("username", "user"), 5, "user"),
    "a password in place of its file": (GOOD.replace('password_file = "/nowhere"', 'password = "hunter2"'), 5, "password"),
    "a number in place of a text": (GOOD.replace('"git"\nclass', "7\nclass"), 2, "name"),
    "a malformed duration": ("[token]\nttl = 'soon'\n" + GOOD, 2, "ttl"),
    "an address with a password": (GOOD.replace("https://", "https://me:hunter2@"), 4, "address"),
    "an address that is none": (GOOD.replace("https://git.example", "git.example"), 4, "address"),
    "an address with a line feed": (GOOD.replace("git.example", "git.example\\nx"), 4, "address"),
    "a name with a slash too much": (GOOD.replace('name = "git"', 'name = "a/b/c"'), 2, "name"),
    "a name that leads elsewhere": (GOOD.replace('name = "git"', 'name = "../x"'), 2, "name"),
    "an unknown class": (GOOD.replace('class = "git"', 'class = "ftp"'), 3, "class"),
    "an unknown operation": (GOOD + "operations = ['fetch', 'destroy']\n", 6, "operations"),
    "a listen address that is none": ("[proxy]\nlisten = 'nonsense'\n" + GOOD, 2, "listen"),
    "broken syntax": ("[daemon\n" + GOOD, 1, ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_configuration_is_shown_where_it_is(tmp_path: Path, stopped: Daemon, mistake: str) -> None:
    text, line, key = MISTAKES[mistake]
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    checked = stopped.cli("config", "check", file, check=False)
    assert checked.returncode == 1
    assert f"{file}:{line}:" in checked.stderr and key in checked.stderr
    column = checked.stderr.split(f"{file}:{line}:")[1].split(":")[0]
    assert column.isdigit() and int(column) >= 1
    assert "hunter2" not in checked.stderr, "what was written is not repeated where it may be a password"

    stopped.config.write_text(text)
    step = r"must be|known here: |is missing|is neither .* nor|expected"
    _sentence(stopped.refuses_to_start(), f"{stopped.config}:{line}:", key, step=step)


def test_a_good_configuration_is_said_to_be_good(stopped: Daemon) -> None:
    assert stopped.cli("config", "check", stopped.config).returncode == 0


def test_a_configuration_that_is_not_there_is_said(stopped: Daemon) -> None:
    stopped.config.unlink()
    _sentence(stopped.refuses_to_start(), stopped.config, step=r"write it: mintfs\.toml\(5\)")
    checked = stopped.cli("config", "check", stopped.config, check=False)
    assert checked.returncode == 1
    _sentence(checked.stderr, stopped.config, step="name the configuration that is there")


@pytest.mark.parametrize("program", [MINTFSD, MINTFSD.parent / "mintfs-csi"], ids=lambda program: program.name)
@pytest.mark.parametrize("args", [["--nonsense"], ["--config"], ["stray"]])
def test_a_wrong_use_of_the_daemon_ends_with_two(program: Path, args: list[str]) -> None:
    done = subprocess.run([program, *args], capture_output=True, text=True, env=base_environment())
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(rf"{program.name}: [^\n]+; see '{program.name} --help'\n", done.stderr), done.stderr


# --- bad surroundings --------------------------------------------------------------------------------


def test_a_missing_secret_is_said(stopped: Daemon, password: Path) -> None:
    password.unlink()
    _sentence(stopped.refuses_to_start(), password, step="make it and write the secret into it")


def test_an_empty_secret_is_said(stopped: Daemon, password: Path) -> None:
    secret_file(password, "")
    _sentence(stopped.refuses_to_start(), password, step="write the secret into it")


@pytest.mark.parametrize(
    "spoiled, step",
    [
        ("two lines", "write the secret alone into it"),
        ("too large", "write the secret alone into it"),
        ("a folder", "name a file that holds the secret"),
        ("a loop", "the daemon's user must be able to read it"),
    ],
)
def test_a_secret_of_no_use_is_said(stopped: Daemon, password: Path, spoiled: str, step: str) -> None:
    password.unlink()
    if spoiled == "two lines":
        secret_file(password, "one\ntwo")
    elif spoiled == "too large":
        secret_file(password, "x" * (64 << 10))
    elif spoiled == "a folder":
        password.mkdir()
    else:
        password.symlink_to(password)
    _sentence(stopped.refuses_to_start(), password, step=step)
    checked = stopped.cli("config", "check", stopped.config, check=False)
    assert checked.returncode == 1
    _sentence(checked.stderr, password, step=step)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_authorities_that_cannot_be_read_are_said(
    tmp_path: Path, password: Path, start_mintfs: Callable[..., Daemon], content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    mintfs = start_mintfs(connector("git", ADDRESS, password, ca_file=str(file)), ready=False)
    _sentence(mintfs.refuses_to_start(), file, step="it must be a PEM file that the daemon's user can read")
    checked = mintfs.cli("config", "check", mintfs.config, check=False)
    assert checked.returncode == 1
    _sentence(checked.stderr, file, step="it must be a PEM file that the daemon's user can read")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o606, 0o620, 0o660])
def test_a_secret_that_is_open_to_others_is_refused(stopped: Daemon, password: Path, mode: int) -> None:
    password.chmod(mode)
    _sentence(stopped.refuses_to_start(), password, step=f"type: chmod 600 {password}")


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o640])
def test_a_secret_that_its_group_can_read_is_taken(stopped: Daemon, password: Path, mode: int) -> None:
    password.chmod(mode)
    assert stopped.start().open_lease().id


def test_a_taken_port_is_said(stopped: Daemon) -> None:
    with socket.create_server(("127.0.0.1", stopped.port)):
        _sentence(stopped.refuses_to_start(), str(stopped.port), step=r"stop what uses the port .* or choose another proxy\.listen")
    assert not os.path.ismount(stopped.mount)


def test_an_address_that_is_not_here_is_said(password: Path, start_mintfs: Callable[..., Daemon]) -> None:
    proxy = {"listen": "192.0.2.1:8418", "url": "http://192.0.2.1:8418"}
    mintfs = start_mintfs(connector("git", ADDRESS, password), ready=False, proxy=proxy)
    _sentence(mintfs.refuses_to_start(), "192.0.2.1:8418", step="'ip address' shows .* choose another proxy.listen")


@pytest.mark.root
def test_a_port_of_root_is_said_to_a_user(tmp_path: Path, start_mintfs: Callable[..., Daemon]) -> None:
    home, file = tmp_path / "mintfs", secret_file(tmp_path / "own-password", PASSWORD)
    home.mkdir()
    for path in (home, file):
        os.chown(path, STRANGER, STRANGER)
    # A network of its own has the kernel's default of which ports are root's.
    mintfs = start_mintfs(connector("git", ADDRESS, file), ready=False, uid=STRANGER, wrapper=["unshare", "-n"],
                          proxy={"listen": "127.0.0.1:81"})  # fmt: skip
    _sentence(mintfs.refuses_to_start(), "127.0.0.1:81", step="need root or CAP_NET_BIND_SERVICE.* choose another proxy.listen")


def test_a_second_daemon_on_the_same_directory_refuses_and_the_first_serves_on(
    idle: Daemon, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    lease = idle.open_lease()
    second = start_mintfs(connector("git", ADDRESS, password), name="second", ready=False,
                          daemon={"runtime_dir": idle.runtime})  # fmt: skip
    _sentence(second.refuses_to_start(), idle.runtime, step=r"stop it or choose another daemon\.runtime_dir")
    assert "Authorization" in lease.gitconfig.read_text()
    assert idle.leases() == [lease.id]


def test_a_second_daemon_on_the_same_state_refuses(
    idle: Daemon, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    second = start_mintfs(connector("git", ADDRESS, password), name="second", ready=False,
                          daemon={"state_dir": idle.state})  # fmt: skip
    _sentence(second.refuses_to_start(), idle.state, step=r"stop it or choose another daemon\.state_dir")
    assert idle.open_lease().gitconfig.exists()


def test_a_master_key_that_others_can_read_is_refused(idle: Daemon) -> None:
    idle.stop()
    (key,) = [file for file in idle.state.rglob("*") if file.is_file() and "key" in file.name.lower()]
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    _sentence(idle.refuses_to_start(), key, step="type: chmod 600")


def test_a_damaged_master_key_is_said_and_kept(idle: Daemon) -> None:
    idle.stop()
    (key,) = [file for file in idle.state.rglob("*") if file.is_file() and "key" in file.name.lower()]
    key.write_bytes(b"short")
    _sentence(idle.refuses_to_start(), key, step="restore the file, or remove it")
    assert key.read_bytes() == b"short", "a key is never made anew over an old one"


def test_a_stale_mount_of_a_killed_daemon_is_cleaned_at_the_next_start(
    idle: Daemon, new_job: Callable[..., Job]
) -> None:
    lease = idle.open_lease()
    idle.kill()
    idle.start()
    assert "Authorization" in new_job(lease).gitconfig(), "the lease outlives the daemon"
    with open("/proc/self/mountinfo") as table:
        assert sum(1 for line in table if line.split()[4] == str(idle.mount)) == 1


def test_killing_twice_in_a_row_loses_nothing(idle: Daemon) -> None:
    lease = idle.open_lease()
    for _ in range(2):
        idle.kill()
        idle.start()
    assert idle.leases() == [lease.id]
    assert "Authorization" in lease.gitconfig.read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk.small_disk(tmp_path / "disk", 64) as folder:
        yield folder


@pytest.mark.root
def test_a_full_disk_at_the_start_is_one_clear_sentence(
    small_disk: Path, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    daemon = start_mintfs(connector("git", ADDRESS, password), daemon={"state_dir": small_disk / "state"}, ready=False)
    (small_disk / "state").mkdir(mode=0o700)
    filler = disk.fill(small_disk)
    _sentence(daemon.refuses_to_start(), small_disk, step="make room there or choose another daemon.state_dir")
    filler.unlink()
    assert daemon.start().open_lease().gitconfig.exists(), "nothing half-made stands in the way"


@pytest.mark.root
@pytest.mark.parametrize("room", [0, 4096, 8192])
def test_a_full_runtime_directory_at_the_start_is_one_clear_sentence(
    small_disk: Path, password: Path, start_mintfs: Callable[..., Daemon], room: int
) -> None:
    """At whatever the last bytes are missing for."""
    daemon = start_mintfs(connector("git", ADDRESS, password), runtime=small_disk / "run", ready=False)
    (small_disk / "run").mkdir(mode=0o711)
    filler = disk.fill(small_disk)
    os.truncate(filler, filler.stat().st_size - room)
    if room:
        assert daemon.start().stop() == 0, "what a start needs is the page of its lock"
    else:
        _sentence(daemon.refuses_to_start(), small_disk, step="make room there or choose another daemon.runtime_dir")
    filler.unlink()
    assert daemon.start().open_lease().gitconfig.exists(), "nothing half-made stands in the way"


@pytest.mark.root
@pytest.mark.parametrize("missing", ["lock", "leases", "control.sock", "admin.sock", "fs"])
def test_a_runtime_directory_without_inodes_at_the_start_is_one_clear_sentence(
    small_disk: Path, password: Path, start_mintfs: Callable[..., Daemon], missing: str
) -> None:
    """Each of what is made there, in this order, is the one for which there is no room."""
    daemon = start_mintfs(connector("git", ADDRESS, password), runtime=small_disk / "run", ready=False)
    made = ["", "run", "lock", "leases", "control.sock", "admin.sock", "fs"]  # "" is the disk itself
    subprocess.run(["mount", "-o", f"remount,nr_inodes={made.index(missing)}", small_disk], check=True)
    (small_disk / "run").mkdir(mode=0o711)
    named = small_disk / "run" / (missing if missing != "lock" else "")
    step = r"(make room there or choose another|correct) (daemon\.runtime_dir|admin\.listen)"
    _sentence(daemon.refuses_to_start(), named, "No space left", step=step)
    subprocess.run(["mount", "-o", "remount,nr_inodes=100", small_disk], check=True)
    assert daemon.start().open_lease().gitconfig.exists(), "nothing half-made stands in the way"


@pytest.mark.root
def test_a_read_only_runtime_directory_at_the_start_is_one_clear_sentence(
    small_disk: Path, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    daemon = start_mintfs(connector("git", ADDRESS, password), runtime=small_disk / "run", ready=False)
    (small_disk / "run").mkdir(mode=0o711)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    _sentence(daemon.refuses_to_start(), small_disk, "Read-only", step="correct daemon.runtime_dir")


@pytest.mark.root
def test_a_full_disk_refuses_a_lease_and_keeps_the_others(
    small_disk: Path, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    daemon = start_mintfs(connector("git", ADDRESS, password), runtime=small_disk / "run")
    lease = daemon.open_lease()
    filler = disk.fill(small_disk)
    refused = daemon.cli("lease", "open", "-c", "git", check=False)
    assert refused.returncode == 1 and refused.stderr
    assert daemon.leases() == [lease.id], "there on disk and in memory, or not at all"
    assert "Authorization" in lease.gitconfig.read_text()
    filler.unlink()
    assert daemon.open_lease().gitconfig.exists()


# --- reload ------------------------------------------------------------------------------------------


def test_a_reload_brings_new_connectors_and_keeps_the_leases(idle: Daemon, password: Path) -> None:
    lease = idle.open_lease()
    idle.configure(connector("git", ADDRESS, password), connector("more", "https://more.example", password))
    idle.signal(signal.SIGHUP)
    eventually("the new connector is there", lambda: "more.example" in idle.cli("connector", "list").stdout)
    assert "Authorization" in lease.gitconfig.read_text()
    assert idle.open_lease(connectors=["more"]).id


@pytest.mark.parametrize("mistake", ["syntax", "unknown key", "missing secret", "readable secret"])
def test_a_reload_with_a_mistake_changes_nothing(idle: Daemon, password: Path, tmp_path: Path, mistake: str) -> None:
    lease = idle.open_lease()
    good = connector("more", "https://more.example", password)
    if mistake == "syntax":
        idle.configure(good)
        idle.config.write_text(idle.config.read_text() + "[broken\n")
        named = str(idle.config)
    elif mistake == "unknown key":
        idle.configure(good, connector("git", ADDRESS, password, nonsense=1))
        named = "nonsense"
    else:
        secret = tmp_path / "secret"
        if mistake == "readable secret":
            secret_file(secret, "x").chmod(0o644)
        idle.configure(good, connector("git", ADDRESS, secret))
        named = str(secret)
    idle.signal(signal.SIGHUP)
    eventually("the mistake is said in the log", lambda: named in idle.log())
    assert "more.example" not in idle.cli("connector", "list").stdout
    assert "Authorization" in lease.gitconfig.read_text()
    assert idle.open_lease().id


def test_a_connector_that_a_reload_took_away_serves_no_more(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), connector("other", upstream.url, password))
    kept = new_job(mintfs.open_lease()).authorization()
    mintfs.configure(connector("other", upstream.url, password))
    mintfs.signal(signal.SIGHUP)
    ask = request("GET", mintfs.path(INFO_REFS), kept)
    refused = eventually("the connector is gone", lambda: (a := exchange(mintfs.port, ask)).status != 200 and a)
    assert refused.status in (403, 404)


def test_a_reload_can_only_narrow_an_open_lease(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, repositories=["acme/*"]))
    kept = new_job(mintfs.open_lease()).authorization()
    mintfs.configure(connector("git", upstream.url, password, repositories=["acme/*"], operations=["push"]))
    mintfs.signal(signal.SIGHUP)
    ask = request("GET", mintfs.path(INFO_REFS), kept)
    eventually("fetch is taken away", lambda: exchange(mintfs.port, ask).status == 403)


def test_a_connector_that_moves_takes_its_new_secret_along_and_leaves_the_old_one_behind(
    start_upstream: Callable[..., Recorder], tmp_path: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> None:  # fmt: skip
    """While requests are under way: at no moment does one server get what is the other's."""
    servers = [start_upstream(), start_upstream()]
    words = ["first-password", "second-password"]
    places = [connector("git", server.url, secret_file(tmp_path / word, word)) for server, word in zip(servers, words)]
    mintfs = start_mintfs(places[0])
    job, stop = new_job(mintfs.open_lease()), threading.Event()
    ask = request("GET", mintfs.path(INFO_REFS), job.authorization())
    reasons = set()

    def hammer() -> None:
        while not stop.is_set():
            answer = exchange(mintfs.port, ask)
            if answer.status != 200:
                reasons.add(answer.reason_word)

    callers = [threading.Thread(target=hammer) for _ in range(3)]
    for each in callers:
        each.start()
    try:
        for turn in range(1, 7):
            here = servers[turn % 2]
            before = len(here.requests)
            mintfs.configure(places[turn % 2])
            mintfs.signal(signal.SIGHUP)
            eventually("the connector has moved", lambda: len(here.requests) > before + 5)
    finally:
        stop.set()
        for each in callers:
            each.join()
    for server, word in zip(servers, words):
        expected = "Basic " + base64.b64encode(f"{USER}:{word}".encode()).decode()
        assert {value for seen in server.requests for value in seen.all("Authorization")} == {expected}
    assert reasons <= {"connector-unknown"}, "between two configurations a request may find neither"


def test_a_request_that_is_tried_again_after_its_connector_moved_takes_no_secret_along(
    upstream: Recorder, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    """It was admitted to the old server, whose kept connection breaks once the new secret is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as old:
        old.settimeout(DEADLINE)
        address = f"http://127.0.0.1:{old.getsockname()[1]}"
        mintfs = start_mintfs(connector("git", address, secret_file(tmp_path / "old", "old-password")))
        ask = request("GET", mintfs.path(INFO_REFS), new_job(mintfs.open_lease()).authorization())
        with connect(mintfs.port) as caller:
            caller.sendall(ask)
            server, _ = old.accept()
            server.settimeout(DEADLINE)
            assert server.recv(1 << 16).startswith(b"GET ")
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert receive(caller).status == 200
            caller.sendall(ask)
            assert server.recv(1 << 16).startswith(b"GET ")
            mintfs.configure(connector("git", upstream.url, secret_file(tmp_path / "new", "new-password")))
            mintfs.signal(signal.SIGHUP)
            eventually("the connector has moved", lambda: "reloaded" in mintfs.log())
            server.close()
            answer = receive(caller)
            assert (answer.status, answer.reason_word) == (404, "connector-unknown")
        old.setblocking(False)
        with pytest.raises(BlockingIOError):
            old.accept()
    assert upstream.requests == []


def test_a_rotated_audit_log_is_opened_again(idle: Daemon) -> None:
    before, rotated = idle.open_lease(), idle.state / "audit.log.1"
    eventually("the line is written", lambda: len(idle.audit("open")) == 1)
    (idle.state / "audit.log").rename(rotated)
    moved = idle.open_lease()
    eventually("it goes on in the renamed file", lambda: moved.id in rotated.read_text())
    idle.signal(signal.SIGHUP)
    eventually("a new one is there", (idle.state / "audit.log").exists)
    after = idle.open_lease()
    eventually("the line is written", lambda: [line["lease"] for line in idle.audit("open")] == [after.id])
    assert before.id in rotated.read_text() and after.id not in rotated.read_text()
    assert (idle.state / "audit.log").stat().st_mode & 0o777 == 0o600


# --- the end -----------------------------------------------------------------------------------------


def test_an_idle_daemon_ends_with_zero_and_leaves_no_mount_and_no_socket(idle: Daemon) -> None:
    idle.open_lease()
    assert idle.stop() == 0
    assert not os.path.ismount(idle.mount) and not idle.control.exists()


def test_a_daemon_ends_although_files_are_open(idle: Daemon) -> None:
    with idle.open_lease().gitconfig.open() as handle:
        assert idle.stop() == 0
        with pytest.raises(OSError):
            handle.read()


def test_a_clone_under_way_is_finished_before_the_end(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> None:  # fmt: skip
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    mintfs = start_mintfs(connector("git", server.url, password))
    job = new_job(mintfs.open_lease())
    clone = job.start("git", "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    mintfs.signal(signal.SIGTERM)

    def refuses_newcomers() -> bool:
        try:
            connect(mintfs.port).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually("the daemon takes no new connection", refuses_newcomers)
    gate.open()
    said, _ = clone.communicate(timeout=DEADLINE)
    assert clone.returncode == 0, said
    assert mintfs.stop() == 0


def test_a_transfer_that_does_not_end_is_cut_after_the_drain_timeout(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    upstream.when("GET", "/", Reply(silent=True))
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"drain_timeout": "1s"})
    with connect(mintfs.port) as connection:
        connection.sendall(request("GET", mintfs.path(INFO_REFS), new_job(mintfs.open_lease()).authorization()))
        assert upstream.asked.acquire(timeout=DEADLINE)
        assert mintfs.stop() == 0


@pytest.mark.root
def test_the_daemon_leaves_no_core_however_much_it_may(password: Path, start_mintfs: Callable[..., Daemon]) -> None:
    mintfs = start_mintfs(connector("git", ADDRESS, password), wrapper=["prlimit", "--core=unlimited"])
    assert mintfs.process
    limits = Path(f"/proc/{mintfs.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()
    assert core[4:6] == ["0", "0"], "soft and hard"


def test_the_state_is_private(idle: Daemon) -> None:
    idle.open_lease()
    for path in [idle.state, *idle.state.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"


# --- without root ------------------------------------------------------------------------------------

_OPEN_FUSE = """
mount -t tmpfs -o mode=755 tmpfs "$1"
mknod -m 666 "$1/fuse" c 10 229
mount --bind "$1/fuse" /dev/fuse
shift
exec "$@"
"""


@pytest.mark.root
def test_the_daemon_works_without_root(
    server: GitServer, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    """With /dev/fuse open to all, as udev makes it: here in a mount namespace of the daemon's own.

    The mount is visible in that namespace alone, so the job runs there too.
    """
    uid = pwd.getpwnam("nobody").pw_uid  # fusermount3 asks for the user's name
    home = tmp_path / "mintfs"
    home.mkdir()
    os.chown(home, uid, uid)
    device = tmp_path / "device"
    device.mkdir()
    file = secret_file(tmp_path / "own-password", PASSWORD)
    os.chown(file, uid, uid)
    wrapper = ["unshare", "-m", "sh", "-ec", _OPEN_FUSE, "sh", device]
    mintfs = start_mintfs(connector("git", server.url, file), uid=uid, wrapper=wrapper)
    assert mintfs.process
    # proc(5): what is in /proc of a process that may be neither dumped nor traced belongs to root.
    own = Path(f"/proc/{mintfs.process.pid}")
    assert f"Uid:\t{uid}\t" in (own / "status").read_text() and (own / "environ").stat().st_uid == 0
    inside = ["nsenter", "-t", str(mintfs.process.pid), "-m"]
    job = new_job(mintfs.open_lease(), uid=uid)
    done = subprocess.run([*inside, *as_user(uid), "git", "clone", "--quiet", f"{server.url}/acme/app.git", job.home / "app"],
                          env=job.env, cwd="/", capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (job.home / "app/hello.txt").exists()
    assert mintfs.stop() == 0
