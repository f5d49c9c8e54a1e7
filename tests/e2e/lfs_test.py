"""Large files with git-lfs against a server that hands its Authorization back, as GitLab does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import PASSWORD, USER, GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import Response, exchange, request
from support.recorder import Recorder

CREDENTIAL = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
MEDIA_TYPE = "application/vnd.git-lfs+json"


@pytest.fixture
def server(start_server: Callable[..., GitServer]) -> GitServer:
    server = start_server(lfs=True)
    server.create("acme/app", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    return server


@pytest.fixture
def job(job: Job) -> Job:
    job.run("git", "lfs", "install", "--skip-repo")
    return job


def test_a_large_file_is_pushed_and_cloned(job: Job, server: GitServer) -> None:
    url, content = f"{server.url}/acme/app.git", os.urandom(3 << 20)
    work = job.clone(url)
    job.commit(work, "large.bin", content)
    job.git("push", "--quiet", cwd=work)
    assert "git-lfs" in server.git("-C", server.projects / "acme/app.git", "show", "main:large.bin")
    assert (job.clone(url, to="again") / "large.bin").read_bytes() == content
    assert job.prompts == []


def test_git_lfs_never_sees_the_real_credential(job: Job, server: GitServer) -> None:
    url, verbose = f"{server.url}/acme/app.git", {"GIT_TRACE": "1", "GIT_CURL_VERBOSE": "1", "GIT_TRANSFER_TRACE": "1"}
    work = job.clone(url)
    job.commit(work, "large.bin", os.urandom(1 << 16))
    said = job.git("push", cwd=work, env=verbose).stderr
    said += job.git("clone", url, job.home / "again", env=verbose).stderr
    assert "objects/batch" in said, "the trace shows the exchange"
    assert CREDENTIAL not in said and PASSWORD not in said


def test_a_batch_answer_points_to_the_proxy_and_carries_no_credential(
    job: Job, server: GitServer, mintfs: Daemon
) -> None:
    content = os.urandom(1 << 10)
    oid = _store(server, content)
    answer = _batch(job, mintfs, "download", oid, len(content))
    assert answer.status == 200 and CREDENTIAL.encode() not in answer.body
    action = json.loads(answer.body)["objects"][0]["actions"]["download"]
    assert action["href"].startswith(f"{mintfs.url}{mintfs.path('acme/app.git/')}")
    assert "authorization" not in {name.lower() for name in action.get("header", {})}
    fetched = exchange(mintfs.port, request("GET", action["href"].removeprefix(mintfs.url), job.authorization()))
    assert fetched.body == content


def test_an_upload_needs_the_right_to_push(
    server: GitServer, mintfs: Daemon, new_job: Callable[..., Job]
) -> None:
    reader = new_job(mintfs.open_lease("--read-only"))
    oid = hashlib.sha256(b"new").hexdigest()
    answer = _batch(reader, mintfs, "upload", oid, 3)
    assert (answer.status, answer.reason_word) == (403, "operation-denied")
    put = request("PUT", mintfs.path(f"acme/app.git/gitlab-lfs/objects/{oid}"), reader.authorization(), body=b"new")
    assert exchange(mintfs.port, put).status == 403
    assert not (server.root / "lfs" / oid).exists()


def test_a_download_needs_only_the_right_to_fetch(server: GitServer, mintfs: Daemon, new_job: Callable[..., Job]) -> None:
    oid = _store(server, b"content")
    assert _batch(new_job(mintfs.open_lease("--read-only")), mintfs, "download", oid, 7).status == 200


def test_objects_of_a_repository_outside_the_rights_are_refused(
    server: GitServer, mintfs: Daemon, new_job: Callable[..., Job]
) -> None:
    job, oid = new_job(mintfs.open_lease("--repository", "acme/else")), _store(server, b"content")
    answer = _batch(job, mintfs, "download", oid, 7)
    assert (answer.status, answer.reason_word) == (403, "repository-denied")
    target = mintfs.path(f"acme/app.git/gitlab-lfs/objects/{oid}")
    assert exchange(mintfs.port, request("GET", target, job.authorization())).status == 403


@pytest.mark.parametrize("method, rest", [
    ("POST", "info/lfs/objects/batch"),
    ("GET", "info/lfs/locks"),
    ("GET", "gitlab-lfs/objects/" + "a" * 64),
    ("PUT", "gitlab-lfs/objects/" + "a" * 64 + "/3"),
    ("POST", "info/lfs/verify"),
])  # fmt: skip
def test_a_connector_may_be_without_lfs(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job],
    method: str, rest: str,
) -> None:  # fmt: skip
    mintfs = start_mintfs(connector("git", upstream.url, password, lfs=False))
    job = new_job(mintfs.open_lease())
    body = b'{"operation":"download","objects":[]}' if method != "GET" else b""
    answer = exchange(mintfs.port, request(method, mintfs.path(f"acme/app.git/{rest}"), job.authorization(), body=body))
    assert (answer.status, answer.reason_word) == (403, "operation-denied")
    assert upstream.requests == []
    refs = mintfs.path("acme/app.git/info/refs?service=git-receive-pack")
    assert exchange(mintfs.port, request("GET", refs, job.authorization())).status == 200


def _store(server: GitServer, content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    Path(server.root / "lfs" / oid).write_bytes(content)
    return oid


def _batch(job: Job, mintfs: Daemon, operation: str, oid: str, size: int) -> Response:
    body = {"operation": operation, "transfers": ["basic"], "objects": [{"oid": oid, "size": size}]}
    target = mintfs.path("acme/app.git/info/lfs/objects/batch")
    headers = (job.authorization(), f"Accept: {MEDIA_TYPE}", f"Content-Type: {MEDIA_TYPE}")
    return exchange(mintfs.port, request("POST", target, *headers, body=json.dumps(body).encode()))
