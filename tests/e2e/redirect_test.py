"""Repositories that have moved: the server redirects what is read and refuses what is posted to the old path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.front import Front
from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import Response, exchange, request
from support.recorder import Recorder, Reply

BATCH = "acme/app.git/info/lfs/objects/batch"


@pytest.fixture
def front(server: GitServer) -> Iterator[Front]:
    front = Front(server.port, r"^/acme/old(\.git)?/", "/acme/app.git/")
    yield front
    front.stop()


@pytest.fixture
def moved(front: Front, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", front.url, password, repositories=["acme/*"]), proxy={"threads": 2})


@pytest.mark.parametrize("name", ["acme/old", "acme/old.git"])
def test_a_moved_repository_is_cloned_fetched_and_pushed_under_its_old_name(
    moved: Daemon, front: Front, server: GitServer, new_job: Callable[..., Job], name: str
) -> None:
    job = new_job(moved.open_lease())
    work = job.clone(f"{front.url}/{name}")
    assert (work / "hello.txt").read_text() == "hello\n"
    pushed = job.commit(work, "new.txt", "new\n")
    job.git("push", "--quiet", cwd=work)
    assert server.head("acme/app") == pushed
    again = job.clone(f"{front.url}/{name}", to="again")
    pushed = job.commit(again, "newer.txt", "newer\n")
    job.git("push", "--quiet", cwd=again)
    job.git("pull", "--quiet", cwd=work)
    assert (work / "newer.txt").exists()
    assert job.prompts == []
    assert {status for method, _, status in front.seen if method == "POST"} == {200}


def test_where_a_repository_has_moved_must_be_within_the_rights(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    """Also when one lease has taught the way to the proxy, and another may not go it."""
    mintfs = start_mintfs(connector("git", upstream.url, password))
    upstream.when("GET", "/acme/old", Reply(301, {"Location": "/acme/app.git/info/refs?service=git-upload-pack"}))
    wide, narrow = new_job(mintfs.open_lease()), new_job(mintfs.open_lease("--repository", "acme/old"))

    def post(job: Job) -> Response:
        target = mintfs.path("acme/old/git-upload-pack")
        return exchange(mintfs.port, request("POST", target, job.authorization(), body=b"0000"))

    refs = mintfs.path("acme/old/info/refs?service=git-upload-pack")
    assert exchange(mintfs.port, request("GET", refs, wide.authorization())).status == 200
    assert post(wide).status == 200
    assert upstream.requests[-1].target == "/acme/app.git/git-upload-pack"
    asked = len(upstream.requests)
    assert post(narrow).reason_word == "repository-denied"
    assert len(upstream.requests) == asked


def test_a_repository_that_has_come_back_is_asked_again(
    upstream: Recorder, caller: Job, recorded: Daemon
) -> None:
    refs = request("GET", recorded.path("acme/old/info/refs?service=git-upload-pack"), caller.authorization())
    post = request("POST", recorded.path("acme/old/git-upload-pack"), caller.authorization(), body=b"0000")
    upstream.when("GET", "/acme/old", Reply(301, {"Location": "/acme/app.git/info/refs?service=git-upload-pack"}))
    for sent in (refs, post):
        assert exchange(recorded.port, sent).status == 200
    upstream.when("GET", "/acme/old", Reply())
    for sent in (refs, post):
        assert exchange(recorded.port, sent).status == 200
    assert upstream.requests[-1].target == "/acme/old/git-upload-pack"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_batch_is_sent_again_to_where_it_is_redirected(
    upstream: Recorder, caller: Job, recorded: Daemon, status: int
) -> None:
    body = json.dumps({"operation": "upload", "objects": []}).encode()
    upstream.when("POST", f"/{BATCH}", Reply(status, {"Location": f"/{BATCH.replace('app', 'new')}"}))
    upstream.when("POST", "/acme/new", Reply(200, {"Content-Type": "application/json"}, body=b"{}"))
    answer = exchange(recorded.port, request("POST", recorded.path(BATCH), caller.authorization(), body=body))
    assert (answer.status, answer.body) == (200, b"{}")
    assert [(r.method, r.body) for r in upstream.requests] == [("POST", body)] * 2


def test_a_batch_that_is_redirected_past_the_rights_is_not_sent(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password))
    job = new_job(mintfs.open_lease("--repository", "acme/app"))
    upstream.when("POST", f"/{BATCH}", Reply(307, {"Location": f"/{BATCH.replace('app', 'new')}"}))
    body = json.dumps({"operation": "upload", "objects": []}).encode()
    answer = exchange(mintfs.port, request("POST", mintfs.path(BATCH), job.authorization(), body=body))
    assert (answer.status, answer.reason_word) == (403, "repository-denied")
    assert len(upstream.requests) == 1
