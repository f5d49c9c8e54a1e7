"""What happens half-way: a lease that closes, a server that hangs up, a daemon that must end, a full house."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import connect, exchange, receive, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
RECEIVE_PACK = "acme/app.git/git-receive-pack"
BATCH = "acme/app.git/info/lfs/objects/batch"


def test_a_lease_that_closes_while_a_batch_is_read_sends_nothing_upstream(
    caller: Job, recorded: Daemon, upstream: Recorder
) -> None:
    body = b'{"operation":"download","objects":[]}'
    lines = (caller.authorization(), "Expect: 100-continue", f"Content-Length: {len(body)}")
    with connect(recorded.port) as connection:
        connection.sendall(request("POST", recorded.path(BATCH), *lines))
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n", "it waits for the body"
        recorded.close_lease(caller.lease)
        connection.settimeout(DEADLINE)
        assert receive(connection).status in (0, 403)
    assert upstream.requests == []


def test_a_server_that_hangs_up_during_a_push_is_blamed_and_not_the_job(
    password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mintfs = start_mintfs(connector("git", f"http://127.0.0.1:{listener.getsockname()[1]}", password))
        job = new_job(mintfs.open_lease())
        with connect(mintfs.port) as connection:
            lines = (job.authorization(), "Transfer-Encoding: chunked")
            connection.sendall(request("POST", mintfs.path(RECEIVE_PACK), *lines) + b"4\r\n0000\r\n")
            server, _ = listener.accept()
            server.recv(4096)
            server.close()
            answer = receive(connection)
    assert (answer.status, answer.reason_word) == (502, "upstream-unreachable")


def test_a_second_sigterm_ends_a_request_that_waits_and_does_not_send_it_again(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    patient = {"drain_timeout": "10m", "upstream_timeout": "10m", "body_timeout": "10m"}
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy=patient)
    with connect(mintfs.port) as connection:
        get = request("GET", mintfs.path(INFO_REFS), new_job(mintfs.open_lease()).authorization())
        connection.sendall(get)
        assert receive(connection).status == 200
        upstream.when("GET", "/", Reply(silent=True))
        upstream.asked.acquire()
        connection.sendall(get)
        assert upstream.asked.acquire(timeout=DEADLINE)
        mintfs.signal(signal.SIGTERM)
        eventually("it is stopping", lambda: "stopping: transfers under way" in mintfs.log())
        mintfs.signal(signal.SIGTERM)  # two that are pending at once are one
        assert mintfs.process and mintfs.process.wait(DEADLINE) == 0
    assert (upstream.connections, len(upstream.requests)) == (1, 2)


def test_strangers_cannot_keep_a_job_out(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    """Silent ones, and ones that were refused and do not hang up."""
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"max_connections": 6})
    job = new_job(mintfs.open_lease())
    strangers = [connect(mintfs.port) for _ in range(6)]
    try:
        for stranger in strangers[:3]:
            stranger.sendall(b"nonsense\r\n\r\n")
            assert receive(stranger).status == 400
        answer = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
        assert answer.status == 200
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_user_cannot_keep_all_connections_busy(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), proxy={"max_connections": 8})
    upstream.when("GET", "/", Reply(silent=True))
    busy = []
    try:
        for _ in range(2):  # a quarter, over two leases
            busy.append(connect(mintfs.port))
            job = new_job(mintfs.open_lease())
            busy[-1].sendall(request("GET", mintfs.path(INFO_REFS), job.authorization()))
            assert upstream.asked.acquire(timeout=DEADLINE)
        refused = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), job.authorization()))
        assert (refused.status, refused.reason_word) == (429, "too-many")
        assert int(refused.headers["Retry-After"]) > 0
    finally:
        for connection in busy:
            connection.close()


@pytest.mark.parametrize("status", [301, 307])
def test_a_post_without_a_body_is_not_sent_on_to_where_a_redirect_leads(
    caller: Job, recorded: Daemon, upstream: Recorder, status: int
) -> None:
    upstream.when("POST", "/acme/app.git/git-upload-pack", Reply(status, {"Location": f"/{BATCH}"}))
    answer = exchange(
        recorded.port,
        request("POST", recorded.path("acme/app.git/git-upload-pack"), caller.authorization(), "Content-Length: 0"),
    )
    assert (answer.status, answer.reason_word) == (502, "upstream-redirect")
    assert len(upstream.requests) == 1
