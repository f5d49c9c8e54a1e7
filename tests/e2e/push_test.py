"""A push whose references are restricted, byte for byte: what is read of it, sent on and answered."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import Daemon, connector
from support.push import CAPABILITIES, NULL, OLD, OTHER, command, packets, push_body
from support.raw_http import Response, connect, exchange, receive, request
from support.recorder import Recorder
from support.waiting import eventually

RECEIVE_PACK = "acme/app.git/git-receive-pack"
BOT = {"allow": ["refs/heads/bot/*", "refs/tags/*"], "deny": ["refs/tags/v*"]}


@pytest.fixture
def narrow(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", upstream.url, password, refs=BOT))


@pytest.fixture
def caller(narrow: Daemon, new_job: Callable[..., Job]) -> Job:
    return new_job(narrow.open_lease())


def _post(mintfs: Daemon, job: Job, body: bytes, *headers: str) -> Response:
    return exchange(mintfs.port, request("POST", mintfs.path(RECEIVE_PACK), job.authorization(), *headers, body=body))


def _chunks(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


ALLOWED = push_body(command("refs/heads/bot/one"), command("refs/tags/x", NULL), pack=bytes(range(256)) * 2000)


def test_an_allowed_push_reaches_the_server_unchanged(narrow: Daemon, caller: Job, upstream: Recorder) -> None:
    assert _post(narrow, caller, ALLOWED).body == b"recorded"
    head = request("POST", narrow.path(RECEIVE_PACK), caller.authorization(), "Transfer-Encoding: chunked")
    for size in (1 << 20, 4096, 100):
        assert exchange(narrow.port, head + _chunks(ALLOWED, size)).body == b"recorded"
    assert exchange(narrow.port, head + _chunks(ALLOWED[:600], 1)).body == b"recorded"
    assert [seen.body for seen in upstream.requests] == [ALLOWED] * 4 + [ALLOWED[:600]]


def test_a_push_that_comes_in_pieces_is_judged_as_a_whole(narrow: Daemon, caller: Job, upstream: Recorder) -> None:
    head = request("POST", narrow.path(RECEIVE_PACK), caller.authorization(), f"Content-Length: {len(ALLOWED)}")
    with connect(narrow.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head + ALLOWED[:300]:
            connection.send(bytes([byte]))
        assert upstream.requests == []
        connection.sendall(ALLOWED[300:])
        assert receive(connection, "POST").body == b"recorded"
    assert upstream.requests[0].body == ALLOWED


@pytest.mark.parametrize("reference, status", [("refs/heads/bot/one", b"recorded"), ("refs/heads/main", b"ng ")])
def test_a_client_that_waits_is_asked_for_its_push(
    narrow: Daemon, caller: Job, upstream: Recorder, reference: str, status: bytes
) -> None:
    body = push_body(command(reference))
    lines = (caller.authorization(), f"Content-Length: {len(body)}", "Expect: 100-continue")
    with connect(narrow.port) as connection:
        connection.sendall(request("POST", narrow.path(RECEIVE_PACK), *lines))
        interim = b""
        while not interim.endswith(b"\r\n\r\n"):
            interim += connection.recv(1)
        assert interim.startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert status in receive(connection, "POST").body


def test_a_lone_flush_passes_and_nothing_behind_it(narrow: Daemon, caller: Job, upstream: Recorder) -> None:
    assert _post(narrow, caller, b"0000").body == b"recorded"
    assert [seen.body for seen in upstream.requests] == [b"0000"]
    answer = _post(narrow, caller, b"0000" + push_body(command("refs/heads/main")))
    assert (answer.status, answer.reason_word) == (400, "request-malformed")
    head = request("POST", narrow.path(RECEIVE_PACK), caller.authorization(), "Transfer-Encoding: chunked")
    answer = exchange(narrow.port, head + _chunks(b"0000" + push_body(command("refs/heads/main")), 4))
    assert answer.status == 400
    assert len(upstream.requests) == 1


def test_a_refused_push_is_answered_as_git_does(narrow: Daemon, caller: Job, upstream: Recorder) -> None:
    commands = (command("refs/heads/bot/one"), command("refs/heads/main"))
    answer = _post(narrow, caller, push_body(*commands, capabilities="\0report-status"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-git-receive-pack-result")
    report = packets("unpack ok\n", f"ng refs/heads/bot/one {OTHER}\n",
                     "ng refs/heads/main mintfs: the connector gives other references only (refs.allow)\n") + b"0000"  # fmt: skip
    assert answer.body == report
    answer = _post(narrow, caller, push_body(*commands, capabilities="\0report-status-v2 side-band-64k"))
    assert answer.body == packets(b"\x01" + report) + b"0000"
    answer = _post(narrow, caller, push_body(*commands, capabilities=""))
    assert (answer.status, answer.reason_word) == (403, "reference-denied")
    assert b"refs/heads/main" in answer.body
    assert upstream.requests == []
    assert len(eventually("each is in the audit log", lambda: narrow.audit("refuse")[2:] and narrow.audit("refuse"))) == 3


def test_a_connection_goes_on_after_a_refused_push(narrow: Daemon, caller: Job, upstream: Recorder) -> None:
    with connect(narrow.port) as connection:
        for body in (push_body(command("refs/heads/main")), ALLOWED, push_body(command("refs/heads/main"))):
            connection.sendall(request("POST", narrow.path(RECEIVE_PACK), caller.authorization(), body=body))
            assert receive(connection, "POST").status == 200
    assert [seen.body for seen in upstream.requests] == [ALLOWED]


@pytest.mark.parametrize("body, status, reason", [
    (b"garbage that is no pkt-line", 400, "request-malformed"),
    (packets(command("refs/heads/bot/one") + CAPABILITIES), 400, "request-malformed"),
    (packets(command("refs/heads/bot/one") + CAPABILITIES) + b"0001" + b"0000", 400, "request-malformed"),
    (packets(*[command("refs/heads/bot/x")] * 10_001) + b"0000", 413, "body-too-large"),
    (packets(*["shallow " + OLD] * 30_000) + b"0000", 413, "body-too-large"),
], ids=["garbage", "no end", "delimiter", "commands", "bytes"])  # fmt: skip
def test_a_push_that_cannot_be_read_is_refused(
    narrow: Daemon, caller: Job, upstream: Recorder, body: bytes, status: int, reason: str
) -> None:
    answer = _post(narrow, caller, body)
    assert (answer.status, answer.reason_word) == (status, reason)
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["refs/heads/bot/../main", "refs/heads/bot//x", "refs/heads/bot/.x", "HEAD", "bot/x"])
def test_a_name_that_a_server_might_resolve_is_refused(narrow: Daemon, caller: Job, upstream: Recorder, name: str) -> None:
    answer = _post(narrow, caller, push_body(command(name)))
    assert answer.status == 200 and f"ng {name} mintfs: this is not a reference's full name".encode() in answer.body
    assert upstream.requests == []


def test_a_compressed_push_is_refused_only_where_it_must_be_read(
    narrow: Daemon, caller: Job, upstream: Recorder, recorded: Daemon, new_job: Callable[..., Job]
) -> None:
    answer = _post(narrow, caller, ALLOWED, "Content-Encoding: gzip")
    assert (answer.status, answer.reason_word) == (403, "reference-denied")
    assert _post(narrow, caller, ALLOWED, "Content-Encoding: identity").status == 200
    free = new_job(recorded.open_lease())
    for body in (ALLOWED, b"no pkt-line"):
        assert _post(recorded, free, body, "Content-Encoding: gzip").body == b"recorded"
    assert [seen.body for seen in upstream.requests] == [ALLOWED, ALLOWED, b"no pkt-line"]


@pytest.fixture
def recorded(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", upstream.url, password), name="free")
