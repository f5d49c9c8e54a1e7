"""Connections to the upstream that are kept for the next request, and what must not come with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.liar import Liar, Peer, start_liar  # noqa: F401
from support.mintfs import Daemon, connector
from support.raw_http import Response, exchange, request
from support.tls import Authority

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


def _ask(mintfs: Daemon, job: Job, rest: str = INFO_REFS) -> Response:
    return exchange(mintfs.port, request("GET", mintfs.path(rest), job.authorization()))


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("behind, connections", [(b"", 1), (_answer(b'{"objects":[{"oid":"forged"}]}'), 3)], ids=["nothing behind", "more behind"])
def test_an_answer_that_is_read_whole_leaves_its_connection_to_the_next(
    start_liar: Callable[..., Liar], password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job],
    behind: bytes, connections: int,
) -> None:  # fmt: skip
    """Where nothing is left on it: a batch of LFS is asked for by each push and clone."""
    def talk(peer: Peer) -> None:
        while peer.ask():
            peer.say(_answer(b'{"objects":[]}') + behind)

    liar = start_liar(talk)
    mintfs = start_mintfs(connector("git", liar.url, password))
    job = new_job(mintfs.open_lease())
    body = b'{"operation":"download","objects":[]}'
    batch = request("POST", mintfs.path("acme/app.git/info/lfs/objects/batch"), job.authorization(), body=body)
    for _ in range(3):
        answer = exchange(mintfs.port, batch)
        assert answer.status == 200 and b"forged" not in answer.body
    assert liar.connections == connections


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("size", [6, 40_000], ids=["one record", "several records"])
def test_bytes_behind_an_answer_never_become_the_answer_to_the_next_request(
    start_liar: Callable[..., Liar], authority: Authority, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], scheme: str, size: int,
) -> None:  # fmt: skip
    def talk(peer: Peer) -> None:
        while peer.ask():
            peer.say(_answer(b"honest" + b"." * (size - 6)) + _answer(b"forged"))

    tls = authority.issue("IP:127.0.0.1") if scheme == "https" else None
    liar = start_liar(talk, tls=tls)
    more = {"ca_file": str(authority.certificate)} if tls else {}
    mintfs = start_mintfs(connector("git", liar.url, password, **more))
    job = new_job(mintfs.open_lease())
    for _ in range(3):
        answer = _ask(mintfs, job)
        assert (answer.status, answer.body[:6], len(answer.body)) == (200, b"honest", size)
    assert liar.connections == 3


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_was_silent_is_used_again(
    start_liar: Callable[..., Liar], authority: Authority, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], scheme: str,
) -> None:  # fmt: skip
    def talk(peer: Peer) -> None:
        while peer.ask():
            peer.say(_answer(b"honest"))

    tls = authority.issue("IP:127.0.0.1") if scheme == "https" else None
    liar = start_liar(talk, tls=tls)
    more = {"ca_file": str(authority.certificate)} if tls else {}
    mintfs = start_mintfs(connector("git", liar.url, password, **more))
    job = new_job(mintfs.open_lease())
    assert [_ask(mintfs, job).body for _ in range(3)] == [b"honest"] * 3
    assert liar.connections == 1
