"""What one user may hold, however patiently; the others are served meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.liar import Liar, Peer, start_liar  # noqa: F401
from support.mintfs import Daemon, connector
from support.raw_http import connect, exchange, receive, request
from support.recorder import Recorder
from support.waiting import eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
UPLOAD_PACK = "acme/app.git/git-upload-pack"


def test_a_user_who_always_begins_a_next_request_makes_room(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"max_connections": 4})
    job = new_job(mintfs.open_lease())
    get = request("GET", mintfs.path(INFO_REFS), job.authorization())
    greedy = [connect(mintfs.port) for _ in range(4)]
    try:
        for connection in greedy:
            connection.sendall(get + b"GET /")
            assert receive(connection).status == 200
        assert exchange(mintfs.port, get).status == 200
    finally:
        for connection in greedy:
            connection.close()


@pytest.fixture
def impatient(password: Path, start_mintfs: Callable[..., Daemon]) -> Callable[..., Daemon]:
    def start(url: str, body_timeout: str = "1s") -> Daemon:
        return start_mintfs(connector("git", url, password), proxy={"body_timeout": body_timeout})

    return start


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_that_only_drips_is_cut(
    upstream: Recorder, impatient: Callable[..., Daemon], new_job: Callable[..., Job], framing: str
) -> None:
    mintfs = impatient(upstream.url)
    job = new_job(mintfs.open_lease())
    drop = b"1\r\nx\r\n" if framing.endswith("chunked") else b"x"
    with connect(mintfs.port) as connection:
        connection.sendall(request("POST", mintfs.path(UPLOAD_PACK), job.authorization(), framing))
        connection.settimeout(0.1)
        for _ in range(300):
            try:
                connection.sendall(drop)
                connection.recv(4096)
                return  # an answer or the end
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return
    raise AssertionError("the daemon was still patient after half a minute")


def test_a_reader_that_only_sips_is_cut(
    start_liar: Callable[..., Liar], impatient: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = impatient(start_liar(_large(64 << 20)).url)
    job = new_job(mintfs.open_lease())
    with connect(mintfs.port) as connection:
        connection.sendall(request("GET", mintfs.path(INFO_REFS), job.authorization()))
        assert connection.recv(1) == b"H"
        eventually("the slot is free", lambda: mintfs.control_api("GET", "/v1/status")[1]["connections"] == 0)


def test_a_slow_but_honest_reader_gets_all(
    start_liar: Callable[..., Liar], impatient: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    """Less in each second than what the kernels hold back between writer and reader."""
    size = 12 << 20
    mintfs = impatient(start_liar(_large(size)).url, "2s")  # of six; a pause may be longer on a busy machine
    job = new_job(mintfs.open_lease())
    with connect(mintfs.port) as connection:
        connection.sendall(request("GET", mintfs.path(INFO_REFS), job.authorization()))
        pace, got = threading.Event(), 0
        for _ in range(60):
            pace.wait(0.1)
            got += len(connection.recv(20 << 10))
        while piece := connection.recv(1 << 20):
            got += len(piece)
            if got > size:
                break
    assert got > size


def test_a_server_that_thinks_keeps_a_connection_by_a_few_bytes(
    start_liar: Callable[..., Liar], impatient: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    def talk(peer: Peer) -> None:
        peer.ask()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(8):
            peer.pause(0.5)
            peer.say(b"5\r\n0005\x01\r\n")
        peer.say(b"4\r\n0000\r\n0\r\n\r\n")

    mintfs = impatient(start_liar(talk).url, "2s")  # of the four that it thinks; a pause may be longer on a busy machine
    job = new_job(mintfs.open_lease())
    answer = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
    assert answer.body == b"0005\x01" * 8 + b"0000"


def _large(size: int) -> Callable[[Peer], None]:
    def talk(peer: Peer) -> None:
        peer.ask()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            peer.say(bytes(1 << 16))

    return talk


@pytest.mark.root
def test_the_user_with_the_most_connections_makes_room_first(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"max_connections": 4})
    modest, greedy = new_job(mintfs.open_lease()), new_job(mintfs.open_lease("--uid", "65534"), uid=65534)
    get = {job: request("GET", mintfs.path(INFO_REFS), job.authorization()) for job in (modest, greedy)}
    kept = [(job, connect(mintfs.port)) for job in (modest, greedy, greedy, greedy)]
    try:
        for job, connection in kept:
            connection.sendall(get[job])
            assert receive(connection).status == 200
        assert exchange(mintfs.port, get[greedy]).status == 200
        assert kept[1][1].recv(1) == b"", "the oldest of the one who holds three"
        kept[0][1].sendall(get[modest])
        assert receive(kept[0][1]).status == 200
    finally:
        for _, connection in kept:
            connection.close()
