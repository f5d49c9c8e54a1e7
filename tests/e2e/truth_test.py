"""What of an upstream's answer a job is told: never the credential, never a part as the whole."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.git_server import PASSWORD, USER
from support.job import Job
from support.liar import Liar, Peer
from support.mintfs import Daemon, connector
from support.raw_http import connect, exchange, request
from support.recorder import Recorder, Reply

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
CREDENTIAL = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize("status", [300, 305, 399])
@pytest.mark.parametrize("secret", [PASSWORD, CREDENTIAL], ids=["raw", "header"])
def test_a_page_that_is_no_success_is_scrubbed(
    caller: Job, recorded: Daemon, upstream: Recorder, status: int, secret: str
) -> None:
    upstream.when("GET", "/", Reply(status, body=f"before {secret} after".encode()))
    answer = exchange(recorded.port, request("GET", recorded.path(INFO_REFS), caller.authorization()))
    assert answer.status == status
    assert secret.encode() not in answer.body and b"before" in answer.body and b"after" in answer.body


@pytest.fixture
def breaking() -> Iterator[Liar]:
    def talk(peer: Peer) -> None:
        if not peer.ask():
            return
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        if peer.number == 0:
            peer.say(b"0\r\n\r\n")
        elif peer.number == 1:
            return  # breaks off
        else:
            peer.connection.recv(1)  # until the proxy goes

    liar = Liar(talk)
    yield liar
    liar.stop()


def _old_client(mintfs: Daemon, job: Job) -> socket.socket:
    connection = connect(mintfs.port)
    lines = [f"GET {mintfs.path(INFO_REFS)} HTTP/1.0", job.authorization(), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def _read(connection: socket.socket) -> bytes:
    text = b""
    while piece := connection.recv(4096):
        text += piece
    return text


def test_an_answer_that_breaks_off_is_no_regular_end_to_an_old_client(
    breaking: Liar, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    """HTTP/1.0 has no other sign of an end than the end of the connection."""
    mintfs = start_mintfs(connector("git", breaking.url, password))
    job = new_job(mintfs.open_lease())
    with _old_client(mintfs, job) as whole:
        assert _read(whole).endswith(b"\r\n\r\nhello")
    with _old_client(mintfs, job) as broken, pytest.raises(ConnectionResetError):
        _read(broken)
    with _old_client(mintfs, job) as cut:
        text = b""
        while not text.endswith(b"hello"):
            text += cut.recv(4096)
        mintfs.close_lease(job.lease)
        with pytest.raises(ConnectionResetError):
            _read(cut)
