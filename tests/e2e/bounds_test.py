"""What a caller can take is bounded, and what is at its bound leaves the others alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import Response, connect, exchange, receive, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
BATCH = "acme/app.git/info/lfs/objects/batch"
MAX_BATCH = 1 << 20


@pytest.mark.parametrize("threads", [1, 2])
def test_the_requests_of_one_lease_are_bounded_over_all_threads(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], threads: int
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password),
                          proxy={"max_per_lease": 3, "threads": threads, "upstream_timeout": "10m"})  # fmt: skip
    job, other = new_job(mintfs.open_lease()), new_job(mintfs.open_lease())
    ask = request("GET", mintfs.path(INFO_REFS), job.authorization())
    upstream.when("GET", "/", Reply(silent=True))
    busy = [connect(mintfs.port) for _ in range(3)]
    try:
        for connection in busy:
            connection.sendall(ask)
            assert upstream.asked.acquire(timeout=DEADLINE)
        upstream.when("GET", "/", Reply())
        refused = exchange(mintfs.port, ask)
        assert (refused.status, refused.reason_word) == (429, "too-many")
        answer = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), other.authorization()))
        assert answer.status == 200, "another lease is untouched"
        upstream.stop()
        for connection in busy:
            assert receive(connection).reason_word == "upstream-unreachable"
        eventually("the places are free again", lambda: exchange(mintfs.port, ask).status != 429)
    finally:
        for connection in busy:
            connection.close()


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port where the kernel takes no more connections and says nothing about it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = []
        while len(waiting) < 100:
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.3)
            try:
                waiting[-1].connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port
        for connection in waiting:
            connection.close()


def test_a_server_that_takes_no_connection_is_given_up_in_time(
    deaf: int, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", f"http://127.0.0.1:{deaf}", password),
                          proxy={"connect_timeout": "1s", "upstream_timeout": "10m", "body_timeout": "10m"})  # fmt: skip
    answer = exchange(mintfs.port, request("GET", mintfs.path(INFO_REFS), new_job(mintfs.open_lease()).authorization()))
    assert (answer.status, answer.reason_word) == (504, "upstream-timeout")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_lfs_batch_that_is_too_large_is_refused(
    caller: Job, recorded: Daemon, upstream: Recorder, chunked: bool
) -> None:
    padding = MAX_BATCH - len(b'{"operation":"download","objects":[],"x":""}')
    fitting = b'{"operation":"download","objects":[],"x":"' + b"x" * padding + b'"}'
    upstream.when("POST", "/", Reply(body=b'{"objects":[]}'))
    for body, expected in ((fitting, 200), (fitting + b" ", 413)):
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        sent = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" if chunked else body
        answer = exchange(recorded.port, request("POST", recorded.path(BATCH), caller.authorization(), framing) + sent)
        assert answer.status == expected
    assert answer.reason_word == "body-too-large"
    assert [seen.size for seen in upstream.requests] == [MAX_BATCH]


def _refusal_of(lazy: bytes, recorded: Daemon, held: list[socket.socket]) -> Response | Literal[False]:
    """One that is let in, because not all before it were read yet, is held like those."""
    held.append(connect(recorded.port))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        held[-1].sendall(lazy)
    held[-1].settimeout(1)
    with contextlib.suppress(TimeoutError):
        answer = receive(held[-1], "POST")
        return answer.status == 429 and answer
    return False


def test_what_the_requests_of_one_user_keep_in_memory_is_bounded(
    caller: Job, recorded: Daemon, upstream: Recorder, new_job: Callable[..., Job]
) -> None:
    body = b'{"operation":"download","objects":[],"x":"' + b"x" * (MAX_BATCH - 100)
    lazy = request("POST", recorded.path(BATCH), caller.authorization(), f"Content-Length: {MAX_BATCH}") + body
    upstream.when("POST", "/", Reply(body=b'{"objects":[]}'))
    small = request("POST", recorded.path(BATCH), caller.authorization(),
                    body=b'{"operation":"download","objects":[]}')  # fmt: skip
    held = []
    try:
        for _ in range(16):  # 16 MiB but for a little
            held.append(connect(recorded.port))
            held[-1].sendall(lazy)
        last = eventually("the bound is reached", lambda: _refusal_of(lazy, recorded, held))
        assert last.reason_word == "too-many"
        assert exchange(recorded.port, request("GET", recorded.path(INFO_REFS), caller.authorization())).status == 200
    finally:
        for each in held:
            each.close()
    eventually("it is given back", lambda: exchange(recorded.port, small).status == 200)


def test_two_threads_serve_many_connections_as_one_does(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password), proxy={"threads": 2})
    jobs = [new_job(mintfs.open_lease()) for _ in range(4)]
    url = f"{server.url}/acme/app.git"
    clones = [job.start("git", "clone", "--quiet", url, job.home / "app") for job in jobs]
    for clone in clones:
        said, _ = clone.communicate(timeout=DEADLINE)
        assert clone.returncode == 0, said
    work = jobs[0].home / "app"
    pushed = jobs[0].commit(work, "new.txt", "new\n")
    jobs[0].git("push", "--quiet", cwd=work)
    assert server.head("acme/app") == pushed
    ask = request("GET", mintfs.path(INFO_REFS), jobs[1].authorization())
    kept = [connect(mintfs.port) for _ in range(8)]
    for connection in kept:
        connection.sendall(ask)
    for connection in kept:
        assert receive(connection).status == 200
        connection.close()
