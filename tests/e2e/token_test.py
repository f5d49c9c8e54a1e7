"""Tokens die with their time and with their lease; nothing else is taken for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.git_server import PASSWORD, Gate, GitServer
from support.job import Job, basic
from support.mintfs import Daemon, Lease, connector, secret_file, token_in
from support.raw_http import Response, connect, exchange, receive, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


def _ask(mintfs: Daemon, *headers: str, **where: str) -> Response:
    return exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS, **where), *headers))


# --- what is a token ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["empty user", "ignored user", "bearer", "bearer in lower case"])
def test_a_token_is_taken_in_each_of_its_forms(caller: Job, recorded: Daemon, form: str) -> None:
    token = caller.token()
    header = {"empty user": basic(token), "ignored user": basic(token, "x-access-token"),
              "bearer": f"Authorization: Bearer {token}", "bearer in lower case": f"authorization: bearer {token}"}  # fmt: skip
    assert _ask(recorded, header[form]).status == 200


@pytest.mark.parametrize(
    "header, reason",
    [
        ("X-Nothing: 1", "token-missing"),
        ("Authorization:", "token-m"),
        ("Authorization: Basic", "token-m"),
        ("Authorization: Basic !!!", "token-m"),
        ("Authorization: Basic Og==", "token-m"),
        (basic("not-a-token"), "token-malformed"),
        (basic("a.b.c"), "token-malformed"),
        ("Authorization: Bearer a.b.c.d", "token-malformed"),
        ("Authorization: Digest username=x", "token-m"),
        ("Authorization: Negotiate abcd", "token-m"),
    ],
)
def test_what_is_no_token_is_refused(recorded: Daemon, upstream: Recorder, header: str, reason: str) -> None:
    answer = _ask(recorded, header)
    assert answer.status == 403 and answer.reason_word.startswith(reason)
    assert answer.headers["WWW-Authenticate"] is None, "with it git would erase its helper's good credential"
    assert upstream.connections == 0


def _decode(part: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return members


def _encode(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _with(token: str, head: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
    """The same token with other members and the old signature."""
    first, second, signature = token.split(".")
    return ".".join([_encode({**_decode(first), **(head or {})}), _encode({**_decode(second), **(claims or {})}), signature])


def _resigned(token: str, key: bytes, head: dict[str, Any]) -> str:
    signed = _with(token, head).rpartition(".")[0]
    return f"{signed}.{_encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


FORGERIES: dict[str, Callable[[str], str]] = {
    "a later end": lambda t: _with(t, claims={"exp": _decode(t.split(".")[1])["exp"] + 3600}),
    "another connector": lambda t: _with(t, claims={"con": "default/other"}),
    "another lease": lambda t: _with(t, claims={"lease": "a" * 26}),
    "another audience": lambda t: _with(t, claims={"aud": "http://elsewhere"}),
    "another subject": lambda t: _with(t, claims={"sub": "uid:0"}),
    "not yet valid": lambda t: _with(t, claims={"iat": _decode(t.split(".")[1])["iat"] + 7200}),
    "no algorithm": lambda t: _with(t, {"alg": "none"}).rpartition(".")[0] + ".",
    "no algorithm, other case": lambda t: _with(t, {"alg": "nOnE"}).rpartition(".")[0] + ".",
    "RS256": lambda t: _with(t, {"alg": "RS256"}),
    "EdDSA": lambda t: _with(t, {"alg": "EdDSA"}),
    "unknown key": lambda t: _with(t, {"kid": "999"}),
    "signed with nothing": lambda t: _resigned(t, b"", {}),
    "signed with the lease id": lambda t: _resigned(t, _decode(t.split(".")[1])["lease"].encode(), {}),
    "signature cut short": lambda t: t[:-6],
    "signature left out": lambda t: t.rpartition(".")[0] + ".",
    "one bit of the signature": lambda t: t[:-10] + ("A" if t[-10] != "A" else "B") + t[-9:],
    "more after the signature": lambda t: t + "AAAA",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_is_refused(caller: Job, recorded: Daemon, upstream: Recorder, forgery: str) -> None:
    answer = _ask(recorded, basic(FORGERIES[forgery](caller.token())))
    assert answer.status == 403 and answer.reason_word.startswith(("token-", "lease-"))
    assert answer.headers["WWW-Authenticate"] is None
    assert upstream.connections == 0
    refusal = eventually("the refusal is in the audit log", lambda: recorded.audit("refuse"))[0]
    assert refusal["reason"] == answer.reason_word


def test_a_token_opens_only_its_own_connector(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), connector("other", upstream.url, password),
                          connector("team/git", upstream.url, password))  # fmt: skip
    job = new_job(mintfs.open_lease(connectors=["git"]))
    assert _ask(mintfs, job.authorization()).status == 200
    for where in ({"name": "other"}, {"namespace": "team"}):
        answer = _ask(mintfs, job.authorization(), **where)
        assert (answer.status, answer.reason_word) == (403, "token-connector")
    answer = _ask(mintfs, job.authorization(), name="unknown")
    assert answer.status in (403, 404)
    assert len(upstream.requests) == 1


def test_a_token_of_another_daemon_is_refused(
    caller: Job, upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    other = start_mintfs(connector("git", upstream.url, password), name="other")
    assert _ask(other, caller.authorization()).status == 403


# --- until when --------------------------------------------------------------------------------------


def test_an_expired_token_is_refused_and_a_fresh_one_is_not(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), token={"ttl": "2s"})
    job = new_job(mintfs.open_lease())
    kept = job.authorization()
    refused = eventually("the kept token is refused", lambda: (a := _ask(mintfs, kept)).status != 200 and a)
    assert (refused.status, refused.reason_word) == (403, "token-expired")
    # It is good for one second at least, which a busy machine can let pass before it is shown.
    eventually("a fresh one is not", lambda: _ask(mintfs, job.authorization()).status == 200)


def test_an_expired_lease_is_gone(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password))
    lease = mintfs.open_lease("--ttl", "2s")
    kept = basic(token_in(lease.gitconfig.read_text()))
    refused = eventually("the lease has expired", lambda: (a := _ask(mintfs, kept)).status != 200 and a)
    assert refused.status == 403 and refused.reason_word in ("lease-closed", "token-expired")
    eventually("its view is gone", lambda: not lease.path.exists())
    eventually("it is listed no more", lambda: lease.id not in mintfs.leases())


def test_a_lease_cannot_be_asked_for_longer_than_the_bound(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), lease={"max_ttl": "1h"})
    asked = mintfs.cli("lease", "open", "-c", "git", "--ttl", "2h", "--format", "json", check=False)
    assert asked.returncode == 1 and asked.stderr, "refused, not silently cut"


def test_a_closed_lease_refuses_the_next_fetch(job: Job, mintfs: Daemon, server: GitServer) -> None:
    work, kept = job.clone(f"{server.url}/acme/app.git"), job.authorization()
    assert job.lease
    mintfs.close_lease(job.lease)
    assert job.git("fetch", cwd=work, check=False).returncode != 0
    answer = _ask(mintfs, kept)
    assert (answer.status, answer.reason_word) == (403, "lease-closed")
    closed = eventually("the end is in the audit log", lambda: mintfs.audit("close"))
    assert closed[0]["lease"] == job.lease.id


def test_closing_one_lease_leaves_the_others(mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]) -> None:
    first, second = mintfs.open_lease(), mintfs.open_lease()
    mintfs.close_lease(first)
    new_job(second).clone(f"{server.url}/acme/app.git")


#: So long that nothing but closing the lease can end a transfer within a test.
PATIENT = {"body_timeout": "10m", "upstream_timeout": "10m", "idle_timeout": "10m"}


@pytest.mark.parametrize("threads", [1, 2])
def test_closing_a_lease_cuts_its_clone_in_the_middle(
    start_server: Callable[..., GitServer], gate: Gate, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], threads: int,
) -> None:  # fmt: skip
    server = start_server(gate=gate)
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    mintfs = start_mintfs(connector("git", server.url, password), proxy={**PATIENT, "threads": threads})
    lease, url = mintfs.open_lease(), f"{server.url}/acme/large.git"
    job = new_job(lease)
    clone = job.start("git", "clone", url, job.home / "large")
    gate.wait()
    mintfs.close_lease(lease)
    said, _ = clone.communicate(timeout=DEADLINE)  # while the server still holds its answer back
    assert clone.returncode == 128, said
    assert job.prompts == []


def _rest_of(connection: socket.socket) -> bytes:
    """What still comes until the peer is gone, however it goes."""
    rest = b""
    try:
        while more := connection.recv(1 << 16):
            rest += more
    except ConnectionResetError:
        pass
    return rest


@pytest.mark.parametrize("threads", [1, 2])
def test_closing_a_lease_cuts_its_pushes_in_the_middle_on_every_thread(
    password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], threads: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        mintfs = start_mintfs(connector("git", f"http://127.0.0.1:{listener.getsockname()[1]}", password),
                              proxy={**PATIENT, "threads": threads})  # fmt: skip
        lease, other = mintfs.open_lease(), mintfs.open_lease()
        target = mintfs.path("acme/app.git/git-receive-pack")

        def push(whose: Lease) -> tuple[socket.socket, socket.socket]:
            """A connection at each end of a push that goes on."""
            job = connect(mintfs.port)
            job.sendall(request("POST", target, new_job(whose).authorization(), "Transfer-Encoding: chunked") + b"4\r\n0000\r\n")
            server, _ = listener.accept()
            server.settimeout(DEADLINE)
            seen = b""
            while b"0000" not in seen.partition(b"\r\n\r\n")[2]:
                seen += server.recv(1 << 16)
            return job, server

        cut, kept = [push(lease) for _ in range(4)], [push(other) for _ in range(2)]
        mintfs.close_lease(lease)
        for job, server in cut:
            assert not _rest_of(server).endswith(b"0\r\n\r\n"), "half a push is not made to look whole"
            answer = _rest_of(job)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 403 ") and b"lease-closed" in answer
        for job, server in kept:
            job.sendall(b"3\r\nend\r\n0\r\n\r\n")
            seen = b""
            while not seen.endswith(b"0\r\n\r\n"):
                seen += server.recv(1 << 16)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            assert receive(job, "POST").body == b"done"
        for ends in cut + kept:
            for end in ends:
                end.close()


def test_a_lease_survives_a_restart_and_stays_closed_after_one(
    mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]
) -> None:
    kept, closed = mintfs.open_lease(), mintfs.open_lease()
    token = new_job(closed).authorization()
    mintfs.close_lease(closed)
    assert mintfs.stop() == 0
    mintfs.start()
    new_job(kept).clone(f"{server.url}/acme/app.git")
    assert _ask(mintfs, token).reason_word == "lease-closed"


# --- upstream's side ---------------------------------------------------------------------------------


def _never_asked(job: Job, url: str) -> str:
    done = job.git("clone", url, job.home / "app", check=False)
    assert done.returncode == 128
    assert job.prompts == [], "git must never ask for a password"
    return done.stderr


def test_a_wrong_upstream_password_is_said_and_never_asked_for(
    server: GitServer, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, secret_file(tmp_path / "wrong", "wrong")))
    job = new_job(mintfs.open_lease())
    assert "502" in _never_asked(job, f"{server.url}/acme/app.git")
    answer = _ask(mintfs, job.authorization())
    assert (answer.status, answer.reason_word) == (502, "upstream-refused")
    assert b"git" in answer.body and answer.headers["Content-Type"].startswith("text/plain")


def test_an_upstream_that_is_down_is_said(job: Job, mintfs: Daemon, server: GitServer) -> None:
    server.stop()
    assert "502" in (said := _never_asked(job, f"{server.url}/acme/app.git")) or "504" in said
    assert _ask(mintfs, job.authorization()).reason_word == "upstream-unreachable"


def test_an_upstream_that_says_nothing_is_said(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    upstream.when("GET", "/", Reply(silent=True))
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"upstream_timeout": "1s"})
    answer = _ask(mintfs, new_job(mintfs.open_lease()).authorization())
    assert (answer.status, answer.reason_word) == (504, "upstream-timeout")


def test_a_repository_that_is_not_there_is_not_found(job: Job, server: GitServer) -> None:
    assert "not found" in _never_asked(job, f"{server.url}/acme/nothing.git")


def test_a_changed_password_is_used_at_once(
    server: GitServer, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    file = secret_file(tmp_path / "changing", "wrong")
    mintfs = start_mintfs(connector("git", server.url, file))
    job = new_job(mintfs.open_lease())
    assert _ask(mintfs, job.authorization()).status == 502
    secret_file(tmp_path / "renewed", PASSWORD).rename(file)
    eventually("the new password is used", lambda: _ask(mintfs, job.authorization()).status == 200)
