"""Known secrets are planted and then searched for in everything that a job can read and in all logs."""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.git_server import PASSWORD, USER, GitServer
from support.job import Job
from support.mintfs import Daemon, Lease, connector
from support.raw_http import exchange, request

VERBOSE = {"GIT_TRACE": "1", "GIT_CURL_VERBOSE": "1", "GIT_TRACE_PACKET": "1", "GIT_TRACE_SETUP": "1",
           "GIT_TRACE_REDACT": "0"}  # fmt: skip
INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


def _forms(secret: bytes) -> set[bytes]:
    """Every encoding in which the bytes could turn up."""
    plain = base64.b64encode(secret)
    return {secret, secret.hex().encode(), secret.hex().upper().encode(), plain, plain.rstrip(b"="),
            base64.urlsafe_b64encode(secret), base64.urlsafe_b64encode(secret).rstrip(b"="),
            urllib.parse.quote_from_bytes(secret, safe="").encode(), urllib.parse.quote_plus(secret).encode()}  # fmt: skip


def _assert_absent(secrets: set[bytes], where: str, content: bytes) -> None:
    for secret in secrets:
        assert secret not in content, f"{where} holds {secret[:60]!r}"


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (Path(top) / name for top, _, names in os.walk(folder) for name in names)


@pytest.fixture
def mintfs(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", server.url, password, repositories=["acme/*"]), log={"level": "trace"})


def _master_keys(daemon: Daemon) -> set[bytes]:
    """What could be a key in the file that holds them, whatever its format: the raw bytes and decoded words."""
    keys: set[bytes] = set()
    for file in daemon.state.rglob("*"):
        if not file.is_file() or "key" not in file.name.lower():
            continue
        content = file.read_bytes()
        keys.add(content.strip())
        for word in re.findall(rb"[A-Za-z0-9+/_=-]{32,}", content):
            keys.add(word)
            if re.fullmatch(rb"[0-9a-fA-F]{64}", word):
                keys.add(bytes.fromhex(word.decode()))
            padded = word.rstrip(b"=") + b"=" * (-len(word.rstrip(b"=")) % 4)
            keys.add(base64.urlsafe_b64decode(padded.replace(b"+", b"-").replace(b"/", b"_")))
    assert keys, "the master key was found, or this test says nothing"
    return {key for key in keys if len(key) >= 16}


def _busy(daemon: Daemon, server: GitServer, job: Job, lease: Lease) -> str:
    """Uses everything once, goes wrong where it can; returns all that was said, by the control API as well."""
    said, url = "", f"{server.url}/acme/app.git"
    said += job.git("clone", url, job.home / "app", env=VERBOSE).stderr
    job.commit(job.home / "app", "new.txt", "new\n")
    said += job.git("push", cwd=job.home / "app", env=VERBOSE).stderr
    said += job.git("ls-remote", f"{server.url}/acme/none.git", env=VERBOSE, check=False).stderr
    for headers in ([], [job.authorization()], [job.authorization(), "X-Debug: 1"], ["Authorization: Basic eDp5"]):
        for rest in (INFO_REFS, "other/secret.git/info/refs?service=git-upload-pack", "%2e%2e/x", "acme/none.git/info/refs"):
            answer = exchange(daemon.port, request("GET", daemon.path(rest), *headers))
            said += str(answer.headers) + answer.body.decode("latin-1")
    for path in ("/healthz", "/readyz", "/readyz?connector=git", "/metrics", "/none"):
        said += str(daemon.ask_admin(path))
    for path in ("/v1/status", "/v1/connectors", "/v1/leases", f"/v1/leases/{lease.id}", "/v1/leases/none", "/v1/none"):
        said += str(daemon.control_api("GET", path))
    wrong = {"connectors": ["none"], "repositories": ['"'], "labels": {"x": "y"}}
    said += str(daemon.control_api("POST", "/v1/leases", wrong)) + str(daemon.control_api("DELETE", "/v1/leases/none"))
    for args in (["status"], ["doctor", "--config", daemon.config], ["connector", "list"], ["connector", "check", "git"],
                 ["lease", "list"], ["lease", "show", lease.id], ["config", "check", daemon.config]):  # fmt: skip
        for form in ([], ["--format", "json"]):
            done = daemon.cli(*args, *form, check=False)
            said += done.stdout + done.stderr
    return said


def test_no_secret_is_anywhere_that_a_job_can_look_nor_in_any_log(
    mintfs: Daemon, server: GitServer, password: Path, new_job: Callable[..., Job]
) -> None:
    lease = mintfs.open_lease("--label", "build=7")
    job = new_job(lease)
    said = _busy(mintfs, server, job, lease).encode()
    view = lease.gitconfig.read_bytes() + (lease.path / "git/config").read_bytes()
    environment = mintfs.cli("run", "-c", "git", "--", "env").stdout.encode()

    assert mintfs.process
    processes = b""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            for name in ("cmdline", "environ"):
                try:
                    content = (entry / name).read_bytes()
                except OSError:
                    continue
                processes += content if str(mintfs.root).encode() in content else b""
    assert processes, "the daemon itself was among them"

    exchange(mintfs.port, request("GET", mintfs.path("acme/none.git/info/refs?service=git-upload-pack"), job.authorization()))
    server.stop()
    down = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
    mintfs.close_lease(lease)
    keys = _master_keys(mintfs)
    # Leases that are open are on disk too; the view itself is looked at above.
    kept = mintfs.open_lease("--label", "build=8")
    runtime = b"".join(file.read_bytes() for file in _files(mintfs.runtime)
                       if file.is_file() and mintfs.mount not in file.parents)  # fmt: skip
    assert kept.id.encode() in runtime, "the leases were among them"
    assert mintfs.stop() == 0

    secrets = {form for secret in (PASSWORD.encode(), f"{USER}:{PASSWORD}".encode(), *keys) for form in _forms(secret)}
    places = {
        "what the job was told": said,
        "the view": view,
        "the environment of the job": environment,
        "a command line or environment": processes,
        "an answer about an upstream that is down": down.body + str(down.headers).encode(),
        "the runtime directory": runtime,
        "the daemon's log": mintfs.log_file.read_bytes(),
        "the audit log": (mintfs.state / "audit.log").read_bytes(),
    }
    assert places["the daemon's log"] and places["the audit log"] and b"Authorization" in places["the view"]
    for where, content in places.items():
        _assert_absent(secrets, where, content)
    for file in _files(job.home):
        _assert_absent(secrets, str(file), file.read_bytes())
    for file in _files(mintfs.state):
        if "key" not in file.name.lower():
            _assert_absent(secrets, str(file), file.read_bytes())


def test_no_token_is_in_any_log_or_on_any_disk(
    mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]
) -> None:
    lease = mintfs.open_lease()
    job = new_job(lease)
    tokens = [job.token() for _ in range(3)]
    for token in tokens:
        exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), f"Authorization: Bearer {token}"))
    forged = tokens[0][:-4] + "AAAA"
    exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), f"Authorization: Bearer {forged}"))
    exchange(mintfs.port, request("GET", mintfs.path(f"acme/{tokens[0]}/info/refs"), f"X-Stray: {tokens[1]}"))
    said = _busy(mintfs, server, job, lease)
    runtime = b"".join(file.read_bytes() for file in _files(mintfs.runtime)
                       if file.is_file() and mintfs.mount not in file.parents)  # fmt: skip
    assert mintfs.stop() == 0
    signatures = {token.split(".")[2].encode() for token in tokens}
    assert lease.id.encode() in runtime
    _assert_absent(signatures, "the runtime directory", runtime)
    _assert_absent(signatures, "what the job was told", said.encode())
    for file in _files(mintfs.state, job.home):
        _assert_absent(signatures, str(file), file.read_bytes())
    _assert_absent(signatures, "the daemon's log", mintfs.log_file.read_bytes())


def test_the_memory_of_the_job_never_holds_the_password(job: Job, server: GitServer) -> None:
    """What git reads from the network is its whole input; it is looked at as it arrives."""
    trace = job.home / "trace"
    job.git("clone", f"{server.url}/acme/app.git", job.home / "app", env={"GIT_TRACE_CURL": str(trace), "GIT_TRACE_REDACT": "0"})
    content = trace.read_bytes()
    assert b"Authorization: Basic" in content, "the trace is not redacted"
    _assert_absent(_forms(PASSWORD.encode()) | _forms(f"{USER}:{PASSWORD}".encode()), "the trace", content)


def test_the_audit_log_tells_the_whole_story(mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]) -> None:
    lease = mintfs.open_lease()
    job = new_job(lease)
    job.clone(f"{server.url}/acme/app.git")
    exchange(mintfs.port, request("GET", mintfs.path("other/secret.git/info/refs?service=git-upload-pack"), job.authorization()))
    mintfs.close_lease(lease)
    assert mintfs.stop() == 0
    lines = mintfs.audit()
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("open", "close") and {"mint", "redeem", "refuse"} <= set(events)
    assert all(line["lease"] == lease.id for line in lines)
    redeemed = next(line for line in lines if line["event"] == "redeem")
    assert (redeemed["connector"], redeemed["operation"], redeemed["repository"]) == ("default/git", "fetch", "acme/app")
    assert redeemed["subject"] == f"uid:{os.getuid()}"
    minted = {line["jti"] for line in lines if line["event"] == "mint"}
    assert redeemed["jti"] in minted, "each use can be traced to the open that minted it"
