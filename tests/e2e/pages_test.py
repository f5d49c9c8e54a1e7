"""Pages of the server that belong to no repository: the stored credential opens many of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import Response, exchange, request
from support.recorder import Recorder, Reply

PAGES = ["", "acme/app", "acme/app/settings/actions/runners", "api/v4/projects/1/variables?per_page=100",
         "acme/app/raw/main/secret.txt", "user/settings/applications"]  # fmt: skip


def _ask(mintfs: Daemon, job: Job, page: str, method: str = "GET") -> Response:
    return exchange(mintfs.port, request(method, mintfs.path(page), job.authorization()))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_no_repository_is_not_given(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], page: str
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password))
    job = new_job(mintfs.open_lease())
    answer = _ask(mintfs, job, page)
    assert (answer.status, answer.reason_word) == (403, "operation-denied")
    assert _ask(mintfs, job, page, "HEAD").status == 403
    assert upstream.requests == []


def test_a_redirect_to_a_page_of_no_repository_is_not_followed(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, plain_get=True))
    upstream.when("GET", "/acme/app", Reply(302, {"Location": "/users/sign_in"}))
    answer = _ask(mintfs, new_job(mintfs.open_lease()), "acme/app.git/info/refs?service=git-upload-pack")
    assert (answer.status, answer.reason_word) == (502, "upstream-redirect")
    assert len(upstream.requests) == 1


def test_a_page_is_given_where_the_connector_says_so_to_who_may_use_all_repositories(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, plain_get=True))
    assert _ask(mintfs, new_job(mintfs.open_lease()), "acme/app/archive/main.tar.gz").body == b"recorded"
    narrow = new_job(mintfs.open_lease("--repository", "acme/app"))
    assert _ask(mintfs, narrow, "acme/app/archive/main.tar.gz").reason_word == "repository-denied"
    assert [r.target for r in upstream.requests] == ["/acme/app/archive/main.tar.gz"]
