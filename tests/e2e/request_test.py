"""Requests that a security proxy must refuse itself: the first section of the threat model."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import Response, connect, exchange, receive, request
from support.recorder import Recorder

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
UPLOAD_PACK = "acme/app.git/git-upload-pack"


def _send(mintfs: Daemon, job: Job, template: str) -> Response:
    """Sends `template` with CRLF ends; {get}, {post}, {auth} and {host} are filled in."""
    text = template.replace("{get}", mintfs.path(INFO_REFS)).replace("{post}", mintfs.path(UPLOAD_PACK))
    text = text.replace("{auth}", job.authorization()).replace("{host}", f"127.0.0.1:{mintfs.port}")
    return exchange(mintfs.port, text.replace("\n", "\r\n").encode("latin-1"))


def test_the_well_formed_request_that_the_others_vary_is_relayed(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    assert _send(recorded, caller, "GET {get} HTTP/1.1\nHost: {host}\n{auth}\n\n").status == 200
    assert _send(recorded, caller, "POST {post} HTTP/1.1\nHost: {host}\n{auth}\nContent-Length: 5\n\n0000\n").status == 200
    chunked = "POST {post} HTTP/1.1\nHost: {host}\n{auth}\nTransfer-Encoding: chunked\n\n4\n0000\n0\n\n"
    assert _send(recorded, caller, chunked).status == 200
    absolute = f"GET {recorded.url}{{get}} HTTP/1.1\nHost: {{host}}\n{{auth}}\n\n"
    assert _send(recorded, caller, absolute).status in (200, 400)
    assert [r.body for r in upstream.requests[1:3]] == [b"0000\r", b"0000"]


FRAMING = {
    "Transfer-Encoding gzip with Content-Length": "Transfer-Encoding: gzip\nContent-Length: 5",
    "Transfer-Encoding gzip": "Transfer-Encoding: gzip",
    "Transfer-Encoding chunked, identity": "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding identity, chunked": "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding gzip, chunked": "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding chunked twice": "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
    "Transfer-Encoding chunked, chunked": "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding xchunked with Content-Length": "Transfer-Encoding: xchunked\nContent-Length: 5",
    "Transfer-Encoding chunked with a parameter": "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding empty": "Transfer-Encoding:\nContent-Length: 5",
    "Transfer-Encoding with space before the colon": "Transfer-Encoding : chunked",
    "Transfer-Encoding with vertical tab": "Transfer-Encoding: \vchunked",
    "Content-Length and Transfer-Encoding": "Content-Length: 5\nTransfer-Encoding: chunked",
    "Transfer-Encoding and Content-Length": "Transfer-Encoding: chunked\nContent-Length: 5",
    "Content-Length list": "Content-Length: 5, 5",
    "Content-Length twice, same": "Content-Length: 5\nContent-Length: 5",
    "Content-Length twice, different": "Content-Length: 5\nContent-Length: 6",
    "Content-Length signed": "Content-Length: +5",
    "Content-Length negative": "Content-Length: -5",
    "Content-Length hexadecimal": "Content-Length: 0x5",
    "Content-Length empty": "Content-Length:",
    "Content-Length too large for any integer": "Content-Length: 99999999999999999999999",
    "Content-Length with inner space": "Content-Length: 5 5",
}


@pytest.mark.parametrize("framing", FRAMING)
def test_ambiguous_framing_is_refused(caller: Job, recorded: Daemon, upstream: Recorder, framing: str) -> None:
    template = f"POST {{post}} HTTP/1.1\nHost: {{host}}\n{{auth}}\n{FRAMING[framing]}\n\n0\n\nx"
    _assert_refused(_send(recorded, caller, template), upstream)


HEADS = {
    "HTTP/1.0 with chunked": "POST {post} HTTP/1.0\nHost: {host}\n{auth}\nTransfer-Encoding: chunked\n\n0\n\n",
    "no Host": "GET {get} HTTP/1.1\n{auth}\n\n",
    "two Hosts": "GET {get} HTTP/1.1\nHost: {host}\nHost: {host}\n{auth}\n\n",
    "two different Hosts": "GET {get} HTTP/1.1\nHost: {host}\nHost: evil.example\n{auth}\n\n",
    "a Host with a user": "GET {get} HTTP/1.1\nHost: user@{host}\n{auth}\n\n",
    "a Host with a path": "GET {get} HTTP/1.1\nHost: {host}/path\n{auth}\n\n",
    "a folded line": "GET {get} HTTP/1.1\nHost: {host}\nX-Folded: a\n b\n{auth}\n\n",
    "a folded line with tab": "GET {get} HTTP/1.1\nHost: {host}\nX-Folded: a\n\tb\n{auth}\n\n",
    "a folded Authorization": "GET {get} HTTP/1.1\nHost: {host}\n{auth}\n more\n\n",
    "a first line that begins with space": "GET {get} HTTP/1.1\n Host: {host}\nHost: {host}\n{auth}\n\n",
    "two Authorizations": "GET {get} HTTP/1.1\nHost: {host}\n{auth}\n{auth}\n\n",
    "two different Authorizations": "GET {get} HTTP/1.1\nHost: {host}\n{auth}\nAuthorization: Basic eA==\n\n",
    "space before the colon": "GET {get} HTTP/1.1\nHost: {host}\nX-Name : 1\n{auth}\n\n",
    "a header without a colon": "GET {get} HTTP/1.1\nHost: {host}\nX-Name\n{auth}\n\n",
    "a header without a name": "GET {get} HTTP/1.1\nHost: {host}\n: value\n{auth}\n\n",
    "NUL in a header": "GET {get} HTTP/1.1\nHost: {host}\nX-Name: a\0b\n{auth}\n\n",
    "a control character in a header": "GET {get} HTTP/1.1\nHost: {host}\nX-Name: a\x01b\n{auth}\n\n",
    "a bare CR in a header": "GET {get} HTTP/1.1\nHost: {host}\nX-Name: a\rb: c\n{auth}\n\n",
    "an absolute target of another host": "GET http://evil.example{get} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "an absolute target of another scheme": "GET ftp://{host}{get} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "an authority as target": "GET {host} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "an asterisk as target": "OPTIONS * HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "a target without a slash": "GET namespaces/default HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "two spaces in the request line": "GET  {get} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "three spaces in the request line": "GET {get} x HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "HTTP/2.0": "GET {get} HTTP/2.0\nHost: {host}\n{auth}\n\n",
    "HTTP/0.9": "GET {get}\n\n",
    "HTTP/1.2": "GET {get} HTTP/1.2\nHost: {host}\n{auth}\n\n",
    "lower-case http": "GET {get} http/1.1\nHost: {host}\n{auth}\n\n",
    "TRACE": "TRACE {get} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "CONNECT": "CONNECT {host} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "CONNECT with a path": "CONNECT {get} HTTP/1.1\nHost: {host}\n{auth}\n\n",
    "an HTTP/2 preface": "PRI * HTTP/2.0\n\nSM\n\n",
    "a TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
    "a chunk size that is not one": "POST {post} HTTP/1.1\nHost: {host}\n{auth}\nTransfer-Encoding: chunked\n\nzz\n0\n\n",
}


@pytest.mark.parametrize("head", HEADS)
def test_a_malformed_request_is_refused(caller: Job, recorded: Daemon, upstream: Recorder, head: str) -> None:
    if head == "a chunk size that is not one":
        # Its header section is good, and relayed before the body is seen to be bad.
        answer = _send(recorded, caller, HEADS[head])
        assert (answer.status, answer.reason_word, upstream.requests) == (400, "request-malformed", [])
        return
    _assert_refused(_send(recorded, caller, HEADS[head]), upstream)


@pytest.mark.parametrize(
    "path",
    [
        "acme/%2e%2e/other/info/refs",
        "acme/%2E%2e/other/info/refs",
        "acme/..%2fother/info/refs",
        "acme/../other/info/refs",
        "acme/./app.git/info/refs",
        "acme/app.git/..",
        "acme%2fapp.git/info/refs",
        "acme%2Fapp.git/info/refs",
        "acme%5capp.git/info/refs",
        "acme%5Capp.git/info/refs",
        "acme\\app.git/info/refs",
        "acme/app.git#fragment/info/refs",
        "acme/app.git/info/refs#fragment",
        "acme/app.git;a=b/info/refs",
        "acme/app.git%3ba=b/info/refs",
        "acme//app.git/info/refs",
        "/acme/app.git/info/refs",
        "acme/app.git//info/refs",
        "acme/%252e%252e/other/info/refs",
        "acme/app%252fx.git/info/refs",
        "acme/app.git%00/info/refs",
        "acme/app.git\0/info/refs",
        "acme/app.git\x7f/info/refs",
        "acme/app.git\xe9/info/refs",
        "acme/app.git%80/info/refs",
        "acme/app.git%e2%80%ae/info/refs",
        "acme/app.git%0d%0aX: y/info/refs",
        "acme/app.git%0aX/info/refs",
        "acme/app.git%/info/refs",
        "acme/app.git%2/info/refs",
        "acme/app.git%zz/info/refs",
        "acme/app.git%20x/info/refs",
        "acme/ap\tp.git/info/refs",
    ],
)
def test_an_ambiguous_path_is_refused(caller: Job, recorded: Daemon, upstream: Recorder, path: str) -> None:
    target = recorded.path(f"{path}?service=git-upload-pack")
    _assert_refused(exchange(recorded.port, request("GET", target, caller.authorization())), upstream)


@pytest.mark.parametrize(
    "prefix",
    [
        "/namespaces/default/connectors/../connectors/git/",
        "/namespaces/%64efault/connectors/git/",
        "//namespaces/default/connectors/git/",
        "/namespaces//default/connectors/git/",
        "/namespaces/default/connectors/git%2f",
        "/namespaces/default/connectors/git;x/",
        "/NAMESPACES/default/connectors/git/",
        "/",
    ],
)
def test_no_other_spelling_leads_to_a_connector(
    caller: Job, recorded: Daemon, upstream: Recorder, prefix: str
) -> None:
    answer = exchange(recorded.port, request("GET", prefix + INFO_REFS, caller.authorization()))
    assert answer.status in (400, 403, 404)
    assert upstream.connections == 0


def test_a_query_is_held_to_the_same_characters(caller: Job, recorded: Daemon, upstream: Recorder) -> None:
    for query in ("service=git-upload-pack#x", "service=git-upload-pack\0", "service=git-upload-pack\xff"):
        target = recorded.path(f"acme/app.git/info/refs?{query}")
        _assert_refused(exchange(recorded.port, request("GET", target, caller.authorization())), upstream)


SIZES = {
    "a header section over 64 KiB": [f"X-Filler-{n}: {'a' * 8000}" for n in range(9)],
    "a header over 16 KiB": [f"X-Filler: {'a' * (17 << 10)}"],
    "a name over 16 KiB": [f"{'a' * (17 << 10)}: 1"],
    "thousands of headers": [f"X-{n}: 1" for n in range(9000)],
}


@pytest.mark.parametrize("size", SIZES)
def test_an_oversized_header_is_refused(caller: Job, recorded: Daemon, upstream: Recorder, size: str) -> None:
    answer = exchange(recorded.port, request("GET", recorded.path(INFO_REFS), caller.authorization(), *SIZES[size]))
    assert (answer.status, answer.reason_word) == (431, "header-too-large")
    assert upstream.connections == 0


def test_an_oversized_target_is_refused(caller: Job, recorded: Daemon, upstream: Recorder) -> None:
    target = recorded.path(INFO_REFS + "&x=" + "a" * (70 << 10))
    answer = exchange(recorded.port, request("GET", target, caller.authorization()))
    assert (answer.status, answer.reason_word) == (431, "header-too-large")
    assert upstream.connections == 0


def test_a_second_request_hidden_in_a_body_is_a_body(caller: Job, recorded: Daemon, upstream: Recorder) -> None:
    hidden = request("GET", recorded.path("acme/hidden.git/info/refs?service=git-upload-pack"), caller.authorization())
    sent = request("POST", recorded.path(UPLOAD_PACK), caller.authorization(), body=hidden)
    assert exchange(recorded.port, sent).status == 200
    assert [(r.method, r.body) for r in upstream.requests] == [("POST", hidden)]


def test_a_body_after_a_refusal_is_not_read_as_the_next_request(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    hidden = request("GET", recorded.path(INFO_REFS), caller.authorization())
    sent = request("POST", recorded.path("other/secret.git/git-upload-pack"), caller.authorization(), body=hidden)
    with connect(recorded.port) as connection:
        connection.sendall(sent)
        assert receive(connection, "POST").status == 403
    assert upstream.requests == []


# --- slowness ----------------------------------------------------------------------------------------


@pytest.fixture
def impatient(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    bounds = {"header_timeout": "1s", "body_timeout": "1s", "idle_timeout": "1s"}
    return start_mintfs(connector("git", upstream.url, password), proxy=bounds)


@pytest.mark.parametrize("sent", [b"GET ", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow:"])
def test_a_caller_that_never_ends_its_header_is_cut(impatient: Daemon, upstream: Recorder, sent: bytes) -> None:
    with connect(impatient.port) as connection:
        connection.sendall(sent)
        answer = receive(connection)
        assert (answer.status, answer.reason_word) == (408, "request-timeout")
        assert connection.recv(1) == b""
    assert upstream.connections == 0


def test_a_caller_that_begins_with_tls_is_told_at_once(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    """As clients of registries do to find out: each of their requests would wait for the end of our patience."""
    patient = start_mintfs(connector("git", upstream.url, password), proxy={"header_timeout": "1h"})
    with connect(patient.port) as plain, pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    for garbage in (b"\0", b"\x80\x2e\x01", b"\x16\x03\x01", b" GET / HTTP/1.1\r\n"):
        with connect(patient.port) as connection:
            connection.sendall(garbage)
            answer = receive(connection)
            assert (answer.status, answer.reason_word) == (400, "request-malformed"), garbage
    assert upstream.connections == 0


def test_a_caller_that_never_says_anything_is_cut(impatient: Daemon, upstream: Recorder) -> None:
    with connect(impatient.port) as connection:
        assert connection.recv(1) == b""
    assert upstream.connections == 0


def test_a_caller_that_drips_its_header_is_cut(impatient: Daemon) -> None:
    """Each byte is progress, yet the whole has a bound."""
    with connect(impatient.port) as connection:
        connection.settimeout(0.1)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for _ in range(600):
            try:
                connection.sendall(b"a")
                if connection.recv(4096) is not None:
                    return
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return
    raise AssertionError("the daemon was still patient after a minute")


def test_a_caller_that_never_ends_its_body_is_cut(
    impatient: Daemon, new_job: Callable[..., Job]
) -> None:
    job = new_job(impatient.open_lease())
    head = request("POST", impatient.path(UPLOAD_PACK), job.authorization(), "Content-Length: 100")
    with connect(impatient.port) as connection:
        connection.sendall(head + b"0000")
        answer = receive(connection, "POST")
        assert (answer.status, answer.reason_word) == (408, "request-timeout")


def test_an_idle_connection_is_closed(impatient: Daemon, new_job: Callable[..., Job]) -> None:
    job = new_job(impatient.open_lease())
    with connect(impatient.port) as connection:
        connection.sendall(request("GET", impatient.path(INFO_REFS), job.authorization()))
        assert receive(connection).status == 200
        assert connection.recv(1) == b""


def test_connections_are_bounded_and_the_one_that_is_idle_longest_makes_room(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"max_connections": 4})
    job = new_job(mintfs.open_lease())
    get = request("GET", mintfs.path(INFO_REFS), job.authorization())
    kept = [connect(mintfs.port) for _ in range(4)]
    try:
        for connection in kept:
            connection.sendall(get)
            assert receive(connection).status == 200
        assert exchange(mintfs.port, get).status == 200
        assert kept[0].recv(1) == b"", "closed between two requests"
        kept[3].sendall(get)
        assert receive(kept[3]).status == 200
    finally:
        for connection in kept:
            connection.close()


def _assert_refused(answer: Response, upstream: Recorder) -> None:
    assert answer.status == 400, f"{answer.status} {answer.body!r}"
    assert answer.reason_word == "request-malformed"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (upstream.connections, upstream.requests) == (0, [])
