"""Each refused request is one line in the audit log, and nobody fills the disk with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import exchange, request
from support.recorder import Recorder, Reply
from support.waiting import eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"
BATCH = "acme/app.git/info/lfs/objects/batch"


def _one_refusal(mintfs: Daemon, reason: str) -> dict[str, str]:
    lines = eventually("the refusal is in the audit log", lambda: mintfs.audit("refuse"))
    assert [line["reason"] for line in lines] == [reason]
    return lines[0]


@pytest.mark.parametrize("sent, reason", [
    (b"nonsense\r\n\r\n", "request-malformed"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "connector-unknown"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (17 << 10) + b"\r\n\r\n", "header-too-large"),
    (b"GET /namespaces/default/connectors/git/a/../b HTTP/1.1\r\nHost: x\r\n\r\n", "request-malformed"),
    (b"PUT /namespaces/default/connectors/git/a/b/HEAD HTTP/1.1\r\nHost: x\r\n\r\n", "operation-denied"),
    (b"GET /namespaces/default/connectors/git/a/b/HEAD HTTP/1.1\r\nHost: x\r\n\r\n", "token-missing"),
    (b"GET /namespaces/default/connectors/git/a/b/HEAD HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\n\r\n",
     "token-malformed"),
], ids=["head", "route", "size", "path", "method", "no token", "no token in it"])  # fmt: skip
def test_a_request_of_nobody_is_written_down(recorded: Daemon, sent: bytes, reason: str) -> None:
    exchange(recorded.port, sent)
    line = _one_refusal(recorded, reason)
    assert "lease" not in line and "subject" not in line


@pytest.mark.parametrize("reply, reason", [
    (Reply(401), "upstream-refused"),
    (Reply(302, {"Location": "https://elsewhere.example/"}), "upstream-redirect"),
    (Reply(raw=b"nonsense\r\n\r\n"), "upstream-malformed"),
], ids=["refused", "redirect", "malformed"])  # fmt: skip
def test_what_the_upstream_is_to_blame_for_is_written_down_with_the_lease(
    recorded: Daemon, caller: Job, upstream: Recorder, reply: Reply, reason: str
) -> None:
    upstream.when("GET", "/", reply)
    exchange(recorded.port, request("GET", recorded.path(INFO_REFS), caller.authorization()))
    line = _one_refusal(recorded, reason)
    assert caller.lease and line["lease"] == caller.lease.id
    assert (line["connector"], line["repository"], line["operation"]) == ("default/git", "acme/app", "fetch")


def test_an_upload_of_who_may_only_push_is_no_refusal(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, operations=["push"]))
    upstream.when("POST", "/", Reply(body=b"{}"))
    body = json.dumps({"operation": "upload", "objects": []}).encode()
    job = new_job(mintfs.open_lease())
    assert exchange(mintfs.port, request("POST", mintfs.path(BATCH), job.authorization(), body=body)).status == 200
    redeemed = eventually("it is in the audit log", lambda: mintfs.audit("redeem"))
    assert [line["operation"] for line in redeemed] == ["push"]
    assert mintfs.audit("refuse") == []
    body = body.replace(b"upload", b"download")
    assert exchange(mintfs.port, request("POST", mintfs.path(BATCH), job.authorization(), body=body)).status == 403
    assert _one_refusal(mintfs, "operation-denied")["operation"] == "fetch"


def test_strangers_cannot_fill_the_disk(recorded: Daemon) -> None:
    for _ in range(500):
        exchange(recorded.port, b"nonsense\r\n\r\n")

    def told() -> int:
        return sum(int(line.get("more", 1)) for line in recorded.audit("refuse"))

    eventually("all are told", lambda: told() == 500)
    seconds = {line["time"][:19] for line in recorded.audit("refuse")}
    assert len(recorded.audit("refuse")) <= 22 * len(seconds)


def test_a_failing_upstream_does_not_fill_the_log(recorded: Daemon, caller: Job, upstream: Recorder) -> None:
    upstream.when("GET", "/", Reply(401))
    get = request("GET", recorded.path(INFO_REFS), caller.authorization())
    for _ in range(50):
        exchange(recorded.port, get)
    assert recorded.log().count("upstream-refused") <= 5
