"""What a lease may do: operations and repositories, narrowed and never widened."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import exchange, request
from support.recorder import Recorder
from support.waiting import eventually


def test_a_repository_outside_the_connectors_rights_is_refused(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, repositories=["acme/*"]))
    job = new_job(mintfs.open_lease())
    job.clone(f"{server.url}/acme/app.git")
    target = mintfs.path("other/secret.git/info/refs?service=git-upload-pack")
    answer = exchange(mintfs.port, request("GET", target, job.authorization()))
    assert (answer.status, answer.reason_word) == (403, "repository-denied")
    refusal = eventually("the refusal is in the audit log", lambda: mintfs.audit("refuse"))[0]
    assert refusal["reason"] == "repository-denied" and refusal["repository"] == "other/secret"
    assert "other/secret" not in {access.path for access in server.accesses()}


@pytest.mark.parametrize(
    "path",
    [
        "ACME/app.git",
        "acme/APP",
        "acme/app.git.git",
        "acme/app/../../other/secret.git",
        "acme/app.git/../../other/secret.git",
        "acme/./app.git",
        "other/secret",
        "other/secret.git",
        "other/secret.GIT",
        "acme/application.git",
        "acme/app2",
        "xacme/app",
        "acme",
        "",
    ],
)
def test_no_spelling_of_a_path_opens_a_way_around_the_rule(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], path: str
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, repositories=["acme/app"]))
    target = mintfs.path(f"{path}/info/refs?service=git-upload-pack".removeprefix("/"))
    answer = exchange(mintfs.port, request("GET", target, new_job(mintfs.open_lease()).authorization()))
    assert answer.status in (400, 403)
    assert upstream.requests == []


@pytest.mark.parametrize("spelling, opens", [("Acme/APP", True), ("acme/app2", False), ("ACME/app.GIT", False)])
def test_letter_case_is_ignored_where_the_server_does_so(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job],
    spelling: str, opens: bool,
) -> None:  # fmt: skip
    mintfs = start_mintfs(connector("git", upstream.url, password, repositories=["acme/app"], case_insensitive=True))
    job = new_job(mintfs.open_lease("--repository", "ACME/app"))
    target = mintfs.path(f"{spelling}/info/refs?service=git-upload-pack")
    answer = exchange(mintfs.port, request("GET", target, job.authorization()))
    assert answer.status == (200 if opens else 403)
    assert [r.target for r in upstream.requests] == ([f"/{spelling}/info/refs?service=git-upload-pack"] if opens else [])


@pytest.mark.parametrize("suffix", ["", ".git"])
def test_a_rule_holds_with_and_without_the_suffix(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], suffix: str
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, repositories=["acme/app"]))
    target = mintfs.path(f"acme/app{suffix}/info/refs?service=git-upload-pack")
    answer = exchange(mintfs.port, request("GET", target, new_job(mintfs.open_lease()).authorization()))
    assert answer.status == 200


def test_a_read_only_lease_fetches_and_does_not_push(
    mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]
) -> None:
    job = new_job(mintfs.open_lease("--read-only"))
    before = server.head("acme/app")
    work = job.clone(f"{server.url}/acme/app.git")
    job.commit(work, "new.txt", "new\n")
    pushed = job.git("push", cwd=work, check=False)
    assert pushed.returncode == 128 and "403" in pushed.stderr
    assert server.head("acme/app") == before and job.prompts == []
    refusals = eventually("the refusal is in the audit log", lambda: mintfs.audit("refuse"))
    assert (refusals[0]["reason"], refusals[0]["operation"]) == ("operation-denied", "push")


@pytest.mark.parametrize(
    "method, rest",
    [
        ("GET", "info/refs?service=git-receive-pack"),
        ("POST", "git-receive-pack"),
        ("GET", "info/refs?service=git-upload-pack&service=git-receive-pack"),
        ("GET", "info/refs?service=git-receive-pack&service=git-upload-pack"),
        ("GET", "info/refs?a=1&service=git-receive-pack"),
        ("GET", "info/refs?service=git%2Dreceive%2Dpack"),
        ("GET", "info/refs?SERVICE=git-receive-pack"),
        ("PUT", "info/refs"),
        ("DELETE", "info/refs"),
        ("PATCH", "info/refs"),
        ("MKCOL", "x"),
        ("POST", "anything"),
    ],
)
def test_no_spelling_of_a_push_passes_a_read_only_lease(
    recorded: Daemon, upstream: Recorder, new_job: Callable[..., Job], method: str, rest: str
) -> None:
    job = new_job(recorded.open_lease("--read-only"))
    body = b"0000" if method in ("POST", "PUT") else b""
    answer = exchange(recorded.port, request(method, recorded.path(f"acme/app.git/{rest}"), job.authorization(), body=body))
    reached = [r for r in upstream.requests if r.method != "GET" or "receive-pack" in r.target.replace("%2D", "-")]
    assert reached == []
    assert answer.status in (200, 400, 403, 405)


def test_a_connector_may_give_fetch_only(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, operations=["fetch"]))
    job = new_job(mintfs.open_lease())
    work = job.clone(f"{server.url}/acme/app.git")
    job.commit(work, "new.txt", "new\n")
    assert job.git("push", cwd=work, check=False).returncode == 128


def test_options_of_a_lease_narrow_what_the_connector_gives(
    mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]
) -> None:
    server.create("acme/two")
    job = new_job(mintfs.open_lease("--repository", "acme/two", "--repository", "nothing/*"))
    job.clone(f"{server.url}/acme/two.git")
    target = mintfs.path("acme/app.git/info/refs?service=git-upload-pack")
    assert exchange(mintfs.port, request("GET", target, job.authorization())).status == 403


def test_options_of_a_lease_cannot_widen_what_the_connector_gives(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, repositories=["acme/*"]))
    for wider in ("other/*", "*", "**", "*/secret", "acme*/*"):
        opened = mintfs.cli("lease", "open", "-c", "git", "--repository", wider, check=False)
        assert opened.returncode == 1 and wider in opened.stderr, opened
    assert mintfs.leases() == [] and upstream.connections == 0


def test_a_public_repository_of_the_same_host_is_asked_directly(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, repositories=["acme/*"]))
    job = new_job(mintfs.open_lease())
    job.clone(f"{server.url}/acme/app.git")
    refused = job.git("clone", f"{server.url}/other/secret.git", check=False)
    assert "Authentication failed" in refused.stderr, "the server itself asked, the proxy was not in the way"
    direct = [access for access in server.accesses() if access.path.startswith("/other/")]
    wrong = base64.b64encode(b"wrong:wrong").decode()
    assert direct and {access.authorization for access in direct} <= {"-", f"Basic {wrong}"}


@pytest.mark.root
def test_only_the_users_that_the_connector_admits_open_a_lease(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(
        connector("open", server.url, password, allow={"users": ["12345"]}),
        connector("closed", server.url, password, allow={"users": ["54321"]}),
        connector("root-only", server.url, password),
    )
    assert mintfs.open_lease(connectors=["open"], uid=12345).id
    for name in ("closed", "root-only"):
        refused = mintfs.cli("lease", "open", "-c", name, check=False, uid=12345)
        assert refused.returncode == 1 and "allow" in refused.stderr, refused.stderr


@pytest.mark.root
def test_a_user_cannot_open_a_lease_for_another_user(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, allow={"users": ["12345"]}))
    refused = mintfs.cli("lease", "open", "-c", "git", "--uid", "0", check=False, uid=12345)
    assert refused.returncode == 1


@pytest.mark.root
def test_a_user_sees_and_closes_only_own_leases(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, allow={"users": ["12345"]}))
    lease = mintfs.open_lease()
    assert lease.id not in mintfs.cli("lease", "list", uid=12345).stdout
    for verb in ("show", "close"):
        assert mintfs.cli("lease", verb, lease.id, uid=12345, check=False).returncode == 1
    assert lease.id in mintfs.leases()


@pytest.mark.root
def test_the_leases_of_one_user_are_bounded(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, allow={"users": ["12345", "23456"]}),
                          lease={"max_per_user": 2})  # fmt: skip
    for _ in range(2):
        mintfs.open_lease(uid=12345)
    refused = mintfs.cli("lease", "open", "-c", "git", uid=12345, check=False)
    assert refused.returncode == 1 and refused.stderr
    assert mintfs.open_lease(uid=23456).id, "another user is untouched"
