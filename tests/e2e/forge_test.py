"""GitLab's API as its own command line asks it: projects by their path, held to what the lease gives."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import REPOSITORY, Daemon, connector, secret_file
from support.raw_http import exchange, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE

SECRET = "glpat-the-real-one"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def mintfs(upstream: Recorder, tmp_path: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    secret = secret_file(tmp_path / "secret", SECRET)
    return start_mintfs(
        connector("forge", upstream.url, secret, **{
            "class": "gitlab", "plain_get": True, "auth": {"type": "token", "token_file": str(secret)},
        })  # fmt: skip
    )


@pytest.fixture
def glab_program() -> str:
    return subprocess.run(
        [REPOSITORY / "tools/newer-program", "glab"], check=True, stdout=subprocess.PIPE, text=True, timeout=4 * DEADLINE
    ).stdout.strip()


def test_glab_reads_the_projects_of_its_lease(mintfs: Daemon, upstream: Recorder, glab_program: str) -> None:
    project = {"id": 7, "name": "app", "path_with_namespace": "acme/team/app", "description": "the app", "owner": None,
               "web_url": f"{upstream.url}/acme/team/app", "default_branch": "main"}  # fmt: skip
    merge_request = {"id": 1, "iid": 3, "title": "Serve the tools", "state": "opened", "web_url": "https://x/3",
                     "source_branch": "a", "target_branch": "main", "project_id": 7,
                     "references": {"short": "!3", "full": "acme/team/app!3"}}  # fmt: skip
    path = "/api/v4/projects/acme%2fteam%2fapp"
    upstream.when("GET", path, Reply(200, JSON, json.dumps(project).encode()))
    upstream.when("GET", f"{path}/merge_requests", Reply(200, JSON, json.dumps([merge_request]).encode()))

    def glab(*words: str, check: bool = True) -> str:
        asked = ("run", "-c", "forge", "--configuration", "glab", "--repository", "acme/**", "--", glab_program, *words)
        done = mintfs.cli(*asked, check=check, env={"NO_COLOR": "1", "GLAB_SEND_TELEMETRY": "false"})
        return done.stdout + ("" if check else done.stderr)

    assert "the app" in glab("repo", "view", "acme/team/app")
    assert "Serve the tools" in glab("mr", "list", "--repo", "acme/team/app")
    asked = [each for each in upstream.requests if each.target.startswith("/api/v4/projects/")]
    assert {each.target.partition("?")[0] for each in asked} == {path, f"{path}/merge_requests"}
    assert all(each.all("Private-Token") == [SECRET] and each.all("Authorization") == [] for each in asked)
    seen = len(upstream.requests)
    assert "403" in glab("repo", "view", "other/app", check=False)
    assert not [each for each in upstream.requests[seen:] if "other" in each.target]


def test_a_project_is_named_by_its_path_in_one_place_only(
    mintfs: Daemon, upstream: Recorder, new_job: Callable[..., Job]
) -> None:
    job = new_job(mintfs.open_lease("--repository", "acme/**", connectors=["forge"]))

    def ask(path: str, method: str = "GET") -> tuple[int, str]:
        answer = exchange(mintfs.port, request(method, mintfs.path(path, "forge"), job.authorization()))
        return answer.status, answer.reason_word if answer.status != 200 else ""

    good = ("api/v4/projects/acme%2Fapp", "api/v4/projects/acme%2fteam%2Fapp/issues?state=opened")
    for path in good:
        upstream.when("GET", "/" + path.partition("?")[0].replace("%2F", "%2f"), Reply(200, JSON, b"{}"))
        assert ask(path) == (200, ""), path
    for path in ("api/v4/projects/other%2Fapp", "api/v4/projects/ACME%2Fapp", "api/v4/projects/17", "api/v4/user",
                 "api/v4/projects/acme%2Fapp/variables", "api/v4/projects/acme%2Fapp/pipelines/1/variables",
                 "api/v4/projects/acme%2Fapp/repository/compare?from_project_id=1"):  # fmt: skip
        assert ask(path) == (403, "repository-denied"), path
    for path in ("api/v4/projects/acme%252Fapp", "api/v4/projects/acme%2F..%2Fother%2Fapp",
                 "api/v4/projects/acme%2F%2e%2e%2Fother%2Fapp", "api/v4/projects/acme%2F%2Fapp",
                 "api/v4/projects/acme%2F..%5Cother", "api/v4/groups/acme%2Fapp", "acme%2Fapp",
                 "api/v4/projects/acme%2Fapp/repository/files/a%2Fb"):  # fmt: skip
        assert ask(path) == (400, "request-malformed"), path
    assert ask("api/v4/projects/acme%2Fapp/issues", "POST") == (403, "operation-denied")
    assert [each.target for each in upstream.requests] == ["/" + path.replace("%2F", "%2f") for path in good]
    audit = [line for line in mintfs.wait_for_audit("redeem", 2) if line["connector"] == "default/forge"]
    assert [line["repository"] for line in audit] == ["acme/app", "acme/team/app"]
