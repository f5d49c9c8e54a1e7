"""Bodies of any size pass in little memory, and who does not read slows who sends."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import MINTFSD, Daemon, connector
from support.push import command, push_body
from support.raw_http import connect, receive, request
from support.recorder import BLOCK, Recorder, Reply
from support.waiting import DEADLINE

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
RECEIVE_PACK = "acme/app.git/git-receive-pack"

#: A sanitizer's shadow of the memory and its quarantine of freed blocks count as resident and are many
#: times what the program itself uses; and it is slow. There only the bytes are compared.
SANITIZED = any(mark in MINTFSD.read_bytes() for mark in (b"__asan_init", b"__tsan_init")) if MINTFSD.exists() else False
SIZE = 64 << 20 if SANITIZED else 2 << 30
MOST_MEMORY = 64 << 20
#: What the kernel's buffers of four sockets and a pipe can hold at most, with room to spare.
MOST_UNDER_WAY = 48 << 20


def _assert_little_memory(daemon: Daemon) -> None:
    assert daemon.process
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) << 10
    assert SANITIZED or peak < MOST_MEMORY, f"{peak >> 20} MiB"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_huge_answer_passes_in_little_memory(
    caller: Job, recorded: Daemon, upstream: Recorder, chunked: bool
) -> None:
    upstream.when("GET", "/", Reply(size=SIZE, chunked=chunked))
    with connect(recorded.port) as connection:
        connection.sendall(request("GET", recorded.path(INFO_REFS), caller.authorization()))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.headers["Content-Length"]) == (200, None if chunked else str(SIZE))
        buffer, total = bytearray(BLOCK), 0
        while size := response.readinto(buffer):
            total += size
        assert total == SIZE
    _assert_little_memory(recorded)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_huge_push_passes_in_little_memory(
    caller: Job, recorded: Daemon, upstream: Recorder, chunked: bool
) -> None:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    block = b"%x\r\n" % BLOCK + bytes(BLOCK) + b"\r\n" if chunked else bytes(BLOCK)
    with connect(recorded.port) as connection:
        connection.sendall(request("POST", recorded.path(RECEIVE_PACK), caller.authorization(), framing))
        for _ in range(SIZE // BLOCK):
            connection.sendall(block)
        connection.sendall(b"0\r\n\r\n" if chunked else b"")
        assert receive(connection, "POST").body == b"recorded"
    assert [seen.size for seen in upstream.requests] == [SIZE]
    _assert_little_memory(recorded)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("reference", ["refs/heads/bot/one", "refs/heads/main"])
def test_a_huge_push_is_judged_in_little_memory(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job],
    chunked: bool, reference: str,
) -> None:  # fmt: skip
    narrow = start_mintfs(connector("git", upstream.url, password, refs={"deny": ["refs/heads/main"]}))
    caller = new_job(narrow.open_lease())
    first = push_body(command(reference), *[command("refs/tags/x")] * 5000)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(first) + SIZE}"
    with connect(narrow.port) as connection:
        connection.sendall(request("POST", narrow.path(RECEIVE_PACK), caller.authorization(), framing))
        for block, times in ((first, 1), (bytes(BLOCK), SIZE // BLOCK)):
            piece = b"%x\r\n" % len(block) + block + b"\r\n" if chunked else block
            for _ in range(times):
                connection.sendall(piece)
        connection.sendall(b"0\r\n\r\n" if chunked else b"")
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        assert response.status == 200 and response.read()
    allowed = reference != "refs/heads/main"
    assert [seen.size for seen in upstream.requests] == ([len(first) + SIZE] if allowed else [])
    _assert_little_memory(narrow)


@pytest.fixture
def impatient(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", upstream.url, password), proxy={"body_timeout": "2s", "upstream_timeout": "10m"})


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_caller_that_stops_reading_slows_the_server_and_is_cut(
    impatient: Daemon, upstream: Recorder, new_job: Callable[..., Job], chunked: bool
) -> None:
    size = 1 << 30
    upstream.when("GET", "/", Reply(size=size, chunked=chunked))
    job = new_job(impatient.open_lease())
    with connect(impatient.port) as connection:
        connection.sendall(request("GET", impatient.path(INFO_REFS), job.authorization()))
        assert upstream.refused.acquire(timeout=DEADLINE), "cut, although nobody hung up"
        assert upstream.sent < MOST_UNDER_WAY
        total = 0
        try:
            while part := len(connection.recv(BLOCK)):
                total += part
        except ConnectionResetError:
            pass
        assert total < size
    _assert_little_memory(impatient)


def test_a_server_that_stops_reading_slows_the_caller_and_is_blamed(
    password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mintfs = start_mintfs(connector("git", f"http://127.0.0.1:{listener.getsockname()[1]}", password),
                              proxy={"body_timeout": "2s", "upstream_timeout": "10m"})  # fmt: skip
        job = new_job(mintfs.open_lease())
        with connect(mintfs.port) as connection:
            lines = (job.authorization(), f"Content-Length: {1 << 30}")
            connection.sendall(request("POST", mintfs.path(RECEIVE_PACK), *lines))
            total = 0
            try:
                while total < 1 << 30:
                    total += connection.send(bytes(BLOCK))
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert total < MOST_UNDER_WAY
    _assert_little_memory(mintfs)
