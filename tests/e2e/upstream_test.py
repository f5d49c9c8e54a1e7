"""What the upstream is sent, and what of its answers comes back."""

from __future__ import annotations

import base64
import gzip
import http.client
import socket
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import PASSWORD, USER
from support.job import Job, basic
from support.mintfs import Daemon, connector, secret_file, token_in
from support.raw_http import Response, connect, exchange, receive, request
from support.recorder import Recorder, Reply

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
CREDENTIAL = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _ask(mintfs: Daemon, job: Job, *headers: str, rest: str = INFO_REFS) -> Response:
    return exchange(mintfs.port, request("GET", mintfs.path(rest), job.authorization(), *headers))


# --- there -------------------------------------------------------------------------------------------


def test_the_upstream_gets_the_real_credential_in_place_of_the_token(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    token = caller.token()
    exchange(recorded.port, request("GET", recorded.path(INFO_REFS), f"Authorization: Bearer {token}"))
    (seen,) = upstream.requests
    assert seen.all("Authorization") == [f"Basic {CREDENTIAL}"]
    assert seen.target == f"/{INFO_REFS}"
    assert seen.all("Host") == [f"127.0.0.1:{upstream.port}"]
    assert token not in str(seen)


def test_a_bearer_credential_is_sent_as_one(
    upstream: Recorder, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    file = secret_file(tmp_path / "token", PASSWORD)
    auth = {"type": "bearer", "token_file": str(file)}
    mintfs = start_mintfs(connector("git", upstream.url, file, auth=auth))
    assert _ask(mintfs, new_job(mintfs.open_lease())).status == 200
    assert upstream.requests[0].all("Authorization") == [f"Bearer {PASSWORD}"]


def test_what_concerns_only_the_caller_is_dropped(caller: Job, recorded: Daemon, upstream: Recorder) -> None:
    dropped = {"Cookie": "a=b", "Proxy-Authorization": "Basic eA==", "X-Mine": "1", "X-Other": "2",
               "Keep-Alive": "timeout=5", "TE": "trailers", "Upgrade": "h2c", "Proxy-Connection": "keep-alive"}  # fmt: skip
    lines = [f"{name}: {value}" for name, value in dropped.items()]
    answer = _ask(recorded, caller, "Connection: X-Mine, x-other, keep-alive", *lines, "Git-Protocol: version=2")
    assert answer.status == 200
    (seen,) = upstream.requests
    assert [name for name in dropped if seen.all(name)] == []
    assert seen.all("Git-Protocol") == ["version=2"], "what git needs is passed on"


def test_a_connection_header_cannot_drop_the_real_credential(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    answer = _ask(recorded, caller, "Connection: Authorization, Host, Content-Length, close")
    assert answer.status in (200, 400)
    for seen in upstream.requests:
        assert seen.all("Authorization") == [f"Basic {CREDENTIAL}"] and len(seen.all("Host")) == 1


def test_an_address_may_have_a_path(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", f"{upstream.url}/scm", password, repositories=["acme/*"]))
    assert _ask(mintfs, new_job(mintfs.open_lease())).status == 200
    assert upstream.requests[0].target == f"/scm/{INFO_REFS}"


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254", "http://[::ffff:169.254.169.254]", "http://[fd00:ec2::254]", "http://[fe80::1]"]
)
def test_a_metadata_address_is_refused(
    password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], address: str
) -> None:
    mintfs = start_mintfs(connector("git", address, password))
    answer = _ask(mintfs, new_job(mintfs.open_lease()))
    assert (answer.status, answer.reason_word) == (502, "address-denied")
    assert b"allow_addresses" in answer.body


# --- names -------------------------------------------------------------------------------------------


def _ask_by_name(mintfs: Daemon) -> Response:
    """The view is mounted in the namespace of the daemon alone, so the token is fetched there."""
    assert mintfs.process
    read = ["nsenter", "-t", str(mintfs.process.pid), "-m", "cat", str(mintfs.open_lease().gitconfig)]
    token = token_in(subprocess.run(read, check=True, capture_output=True, text=True).stdout)
    return exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), basic(token)))


@pytest.fixture
def start_with_hosts(
    tmp_path: Path, password: Path, start_mintfs: Callable[..., Daemon]
) -> Callable[[str, int], Daemon]:
    """Starts a daemon whose connector is http://git.test:PORT, which /etc/hosts resolves for it alone."""

    def start(hosts: str, port: int) -> Daemon:
        file = tmp_path / "hosts"
        file.write_text(hosts)
        own = ["unshare", "-m", "sh", "-ec", f'mount --bind {file} /etc/hosts && exec "$@"', "sh"]
        return start_mintfs(connector("git", f"http://git.test:{port}", password), wrapper=own)

    return start


@pytest.mark.root
@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_a_name_that_resolves_to_a_metadata_address_is_refused(
    start_with_hosts: Callable[[str, int], Daemon], address: str
) -> None:
    answer = _ask_by_name(start_with_hosts(f"{address} git.test\n", 80))
    assert (answer.status, answer.reason_word) == (502, "address-denied")


@pytest.mark.root
def test_a_name_with_a_good_and_a_bad_address_leads_to_the_good_one_only(
    start_with_hosts: Callable[[str, int], Daemon], start_upstream: Callable[..., Recorder]
) -> None:
    # Connecting to 0.0.0.0 reaches 127.0.0.1 and is denied as an address. Its port is free at the other one, where
    # nobody's connections come from.
    with socket.create_server(("127.0.0.1", 0)) as bad:
        good = start_upstream(host="127.0.0.2", port=bad.getsockname()[1])
        good.when("GET", "/", Reply(headers={"Connection": "close"}))
        mintfs = start_with_hosts("0.0.0.0 git.test\n127.0.0.2 git.test\n0.0.0.0 git.test\n", good.port)
        assert _ask_by_name(mintfs).status == 200
        assert [seen.all("Host") for seen in good.requests] == [[f"git.test:{good.port}"]]
        good.stop()
        assert _ask_by_name(mintfs).reason_word == "upstream-unreachable", "and to no other when that one is gone"
        bad.setblocking(False)
        with pytest.raises(BlockingIOError):
            bad.accept()


# --- redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_neither_followed_nor_passed_on(
    caller: Job, recorded: Daemon, upstream: Recorder, start_upstream: Callable[..., Recorder], status: int
) -> None:
    other = start_upstream()
    upstream.when("GET", "/", Reply(status, {"Location": f"{other.url}/{INFO_REFS}"}))
    answer = _ask(recorded, caller)
    assert (answer.status, answer.reason_word) == (502, "upstream-redirect")
    assert answer.headers["Location"] is None
    assert other.connections == 0


@pytest.mark.parametrize("location", ["https://127.0.0.1:{port}/x", "//127.0.0.2:{port}/x", "http://localhost:{port}/x",
                                      "http://127.0.0.1:{port}@evil.example/x", "http://user:x@127.0.0.1:{port}/x",
                                      "file:///etc/passwd", "http://", "", "\\\\evil.example\\x"])  # fmt: skip
def test_another_scheme_host_or_form_is_another_origin(
    caller: Job, recorded: Daemon, upstream: Recorder, location: str
) -> None:
    upstream.when("GET", "/", Reply(302, {"Location": location.format(port=upstream.port)}))
    answer = _ask(recorded, caller)
    assert answer.status == 502 and answer.headers["Location"] is None
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("form", ["absolute", "path"])
def test_a_redirect_within_the_origin_is_followed(
    caller: Job, recorded: Daemon, upstream: Recorder, form: str
) -> None:
    target = "/acme/renamed.git/info/refs?service=git-upload-pack"
    location = upstream.url + target if form == "absolute" else target
    upstream.when("GET", "/acme/app", Reply(302, {"Location": location}))
    answer = _ask(recorded, caller)
    assert (answer.status, answer.body) == (200, b"recorded")
    assert [r.target for r in upstream.requests] == [f"/{INFO_REFS}", target]
    assert all(r.all("Authorization") == [f"Basic {CREDENTIAL}"] for r in upstream.requests)


@pytest.mark.parametrize("target", ["/other/secret.git/info/refs?service=git-upload-pack", "/acme/../other/x/info/refs",
                                    "/acme/%2e%2e/other/x/info/refs", "/login"])  # fmt: skip
def test_a_redirect_past_the_rights_is_not_followed(
    caller: Job, recorded: Daemon, upstream: Recorder, target: str
) -> None:
    upstream.when("GET", "/acme/app", Reply(302, {"Location": target}))
    answer = _ask(recorded, caller)
    assert answer.status in (403, 502) and answer.headers["Location"] is None
    assert len(upstream.requests) == 1


def test_a_redirect_cannot_turn_a_fetch_into_a_push(
    recorded: Daemon, upstream: Recorder, new_job: Callable[..., Job]
) -> None:
    upstream.when("GET", "/acme/app", Reply(302, {"Location": "/acme/b.git/info/refs?service=git-receive-pack"}))
    assert _ask(recorded, new_job(recorded.open_lease("--read-only"))).status in (403, 502)
    assert len(upstream.requests) == 1


def test_redirects_end_after_five_hops(caller: Job, recorded: Daemon, upstream: Recorder) -> None:
    upstream.when("GET", "/acme/", Reply(302, {"Location": f"/{INFO_REFS}"}))
    answer = _ask(recorded, caller)
    assert (answer.status, answer.reason_word) == (502, "upstream-redirect")
    assert len(upstream.requests) == 6


# --- and back ----------------------------------------------------------------------------------------


def test_what_would_identify_or_instruct_the_caller_is_dropped(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    dropped = {"Set-Cookie": "session=1", "WWW-Authenticate": "Basic", "Proxy-Authenticate": "Basic",
               "Authentication-Info": "x", "Strict-Transport-Security": "max-age=1", "Alt-Svc": 'h2=":1"',
               "Connection": "X-Hop", "X-Hop": "1"}  # fmt: skip
    upstream.when("GET", "/", Reply(200, {**dropped, "X-Kept": "kept", "Cache-Control": "no-cache"}))
    answer = _ask(recorded, caller)
    assert answer.status == 200
    assert [name for name in dropped if answer.headers[name] is not None and name != "Connection"] == []
    assert (answer.headers["X-Kept"], answer.headers["Cache-Control"]) == ("kept", "no-cache")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_stored_credential_is_explained(
    caller: Job, recorded: Daemon, upstream: Recorder, status: int
) -> None:
    upstream.when("GET", "/", Reply(status, {"WWW-Authenticate": 'Basic realm="git"'}, body=b"upstream's own words"))
    answer = _ask(recorded, caller)
    assert (answer.status, answer.reason_word) == (502, "upstream-refused")
    assert answer.headers["Content-Type"].startswith("text/plain") and b"default/git" in answer.body
    assert answer.headers["WWW-Authenticate"] is None and b"own words" not in answer.body


@pytest.mark.parametrize("status", [404, 400, 422, 500, 503])
@pytest.mark.parametrize("secret", [PASSWORD, CREDENTIAL, urllib.parse.quote(PASSWORD, safe=""),
                                    base64.b64encode(PASSWORD.encode()).decode()],
                         ids=["raw", "header", "percent-encoded", "base64"])  # fmt: skip
def test_a_credential_that_an_error_page_echoes_is_scrubbed(
    caller: Job, recorded: Daemon, upstream: Recorder, status: int, secret: str
) -> None:
    page = f"<p>before {secret} after</p>".encode()
    upstream.when("GET", "/", Reply(status, {"Content-Type": "text/html"}, body=page))
    answer = _ask(recorded, caller)
    assert answer.status == status
    assert secret.encode() not in answer.body and b"before" in answer.body and b"after" in answer.body


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_error_page_that_cannot_be_read_is_dropped(
    caller: Job, recorded: Daemon, upstream: Recorder, status: int, chunked: bool
) -> None:
    """Compressed, the credential has no spelling that could be searched for."""
    page = gzip.compress(f"<p>before {PASSWORD} after</p>".encode())
    upstream.when("GET", "/", Reply(status, {"Content-Encoding": "gzip", "X-Kept": "kept"}, body=page, chunked=chunked))
    with connect(recorded.port) as connection:
        connection.sendall(request("GET", recorded.path(INFO_REFS), caller.authorization()))
        answer = receive(connection)
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (status, b"", "0")
        assert answer.headers["Content-Encoding"] is None and answer.headers["X-Kept"] == "kept"
        upstream.when("GET", "/", Reply())
        connection.sendall(request("GET", recorded.path(INFO_REFS), caller.authorization()))
        assert receive(connection).body == b"recorded", "nothing of the page is taken for the next answer"


def test_a_good_answer_keeps_its_encoding(caller: Job, recorded: Daemon, upstream: Recorder) -> None:
    page = gzip.compress(b"refs")
    upstream.when("GET", "/", Reply(200, {"Content-Encoding": "gzip"}, body=page))
    answer = _ask(recorded, caller, "Accept-Encoding: gzip")
    assert (answer.body, answer.headers["Content-Encoding"]) == (page, "gzip")


def test_a_credential_cut_in_two_by_the_network_is_scrubbed(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    # Longer than any buffer: wherever it is cut, by the network or the proxy, it is within a credential.
    page = f"{PASSWORD}-".encode() * (2 * 1024 * 1024 // (len(PASSWORD) + 1))
    upstream.when("GET", "/", Reply(500, body=page))
    answer = _ask(recorded, caller)
    assert answer.status == 500 and answer.body == page.replace(PASSWORD.encode(), b"*" * len(PASSWORD))


@pytest.mark.parametrize("name", ["X-Echo", "Location", "Server"])
def test_a_credential_echoed_in_a_header_is_not_passed_on(
    caller: Job, recorded: Daemon, upstream: Recorder, name: str
) -> None:
    upstream.when("GET", "/", Reply(500, {name: f"Basic {CREDENTIAL}"}))
    assert CREDENTIAL not in str(_ask(recorded, caller).headers)


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * (300 << 10) + b"\r\n\r\n",
        b"",
    ],
    ids=["no HTTP", "two framings", "two lengths", "endless header", "closed at once"],
)
def test_a_malformed_answer_is_not_passed_on(caller: Job, recorded: Daemon, upstream: Recorder, raw: bytes) -> None:
    upstream.when("GET", "/", Reply(raw=raw))
    answer = _ask(recorded, caller)
    assert answer.status == 502 and answer.reason_word.startswith("upstream-")


def test_an_answer_that_breaks_off_is_not_made_to_look_whole(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    for head in (b"Content-Length: 100", b"Transfer-Encoding: chunked"):
        upstream.when("GET", "/", Reply(raw=b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n5\r\nhello\r\n"))
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            _ask(recorded, caller)
