"""What a job does with git every day, over http and over https with an own authority."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.ports import own_loopback_address
from support.raw_http import connect, exchange, receive, request
from support.tls import Authority

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, start_server: Callable[..., GitServer], authority: Authority) -> GitServer:
    tls = authority.issue("IP:127.0.0.1") if request.param == "https" else None
    server = start_server(tls=tls)
    server.create("acme/app", {"hello.txt": "hello\n"}, commits=3)
    return server


@pytest.fixture
def mintfs(
    server: GitServer, authority: Authority, password: Path, start_mintfs: Callable[..., Daemon]
) -> Daemon:
    trust = {"ca_file": str(authority.certificate)} if server.url.startswith("https") else {}
    return start_mintfs(connector("git", server.url, password, **trust))


@pytest.fixture
def url(server: GitServer) -> str:
    return f"{server.url}/acme/app.git"


def test_a_clone_brings_the_repository(job: Job, url: str) -> None:
    assert (job.clone(url) / "hello.txt").read_text() == "hello\n"
    assert job.prompts == []


def test_a_clone_keeps_no_trace_of_the_proxy(job: Job, url: str) -> None:
    config = (job.clone(url) / ".git/config").read_text()
    assert f"url = {url}" in config
    assert "Authorization" not in config and "/namespaces/" not in config


def test_a_repository_may_be_named_without_its_suffix(job: Job, url: str) -> None:
    assert (job.clone(url.removesuffix(".git")) / "hello.txt").exists()


def test_a_fetch_brings_new_commits(job: Job, server: GitServer, url: str) -> None:
    work = job.clone(url)
    other = job.clone(url, to="other")
    head = job.commit(other, "new.txt", "new\n")
    job.git("push", "--quiet", cwd=other)
    job.git("pull", "--quiet", "--ff-only", cwd=work)
    assert job.git("rev-parse", "HEAD", cwd=work).stdout.strip() == head == server.head("acme/app")


def test_a_push_creates_and_deletes_branches(job: Job, server: GitServer, url: str) -> None:
    work = job.clone(url)
    head = job.commit(work, "feature.txt", "feature\n")
    job.git("push", "--quiet", "origin", "HEAD:feature", cwd=work)
    assert server.head("acme/app", "feature") == head
    job.git("push", "--quiet", "origin", ":feature", cwd=work)
    assert "feature" not in job.git("ls-remote", "origin", cwd=work).stdout


@pytest.mark.parametrize("post_buffer", ["1m", "65536"])
def test_a_push_of_many_megabytes_is_passed_on_chunked(job: Job, server: GitServer, url: str, post_buffer: str) -> None:
    work = job.clone(url)
    head = job.commit(work, "big", os.urandom(5 << 20))
    pushed = job.git("-c", f"http.postBuffer={post_buffer}", "push", "--quiet", cwd=work, env={"GIT_TRACE_CURL": "1"})
    assert "Transfer-Encoding: chunked" in pushed.stderr
    assert server.head("acme/app") == head


def test_a_large_repository_comes_whole(job: Job, server: GitServer) -> None:
    content = os.urandom(20 << 20)
    server.create("acme/large", {"blob": content})
    assert (job.clone(f"{server.url}/acme/large.git") / "blob").read_bytes() == content


def test_a_compressed_request_is_passed_on(job: Job, server: GitServer) -> None:
    bare = server.create("acme/wide")
    for number in range(60):  # one want line each: over 1024 bytes git compresses its request
        tree = server.git("-C", bare, "rev-parse", "main^{tree}")
        commit = server.git("-C", bare, "commit-tree", "-m", str(number), tree)
        server.git("-C", bare, "branch", f"branch{number}", commit)
    work = job.clone(f"{server.url}/acme/wide.git")
    assert "origin/branch59" in job.git("branch", "--remotes", cwd=work).stdout
    assert "gzip" in {access.content_encoding for access in server.accesses()}


def test_a_shallow_clone_can_be_deepened(job: Job, url: str) -> None:
    work = job.clone(url, "--depth", "1")
    count = ("rev-list", "--count", "HEAD")
    assert job.git(*count, cwd=work).stdout.strip() == "1"
    job.git("fetch", "--quiet", "--unshallow", cwd=work)
    assert job.git(*count, cwd=work).stdout.strip() == "3"


def test_a_partial_clone_fetches_its_blobs_when_they_are_needed(job: Job, url: str) -> None:
    work = job.clone(url, "--filter=blob:none", "--no-checkout")
    assert "?" in job.git("rev-list", "--objects", "--missing=print", "HEAD", cwd=work).stdout
    job.git("checkout", "--quiet", "main", cwd=work)
    assert (work / "hello.txt").read_text() == "hello\n"


@pytest.mark.parametrize("version", [0, 1, 2])
def test_every_protocol_version_clones_and_pushes(job: Job, server: GitServer, url: str, version: int) -> None:
    work = job.clone(url, "-c", f"protocol.version={version}")
    trace = job.git("ls-remote", "origin", cwd=work, env={"GIT_TRACE_PACKET": "1"}).stderr
    assert (f"< version {version}" in trace) == (version > 0)
    head = job.commit(work, "new.txt", f"{version}\n")
    job.git("push", "--quiet", cwd=work)
    assert server.head("acme/app") == head


def test_submodules_of_the_same_server_are_cloned_too(job: Job, server: GitServer) -> None:
    _superproject(server, "acme/super", f"{server.url}/acme/app.git")
    work = job.clone(f"{server.url}/acme/super.git", "--recurse-submodules")
    assert (work / "sub/hello.txt").read_text() == "hello\n"


def test_a_submodule_on_a_foreign_host_gets_no_credential(
    job: Job, server: GitServer, start_server: Callable[..., GitServer]
) -> None:
    foreign = start_server("foreign", users=None)
    foreign.create("else/lib", {"lib.txt": "lib\n"})
    _superproject(server, "acme/super", f"{foreign.url}/else/lib.git", home=foreign)
    work = job.clone(f"{server.url}/acme/super.git", "--recurse-submodules")
    assert (work / "sub/lib.txt").exists()
    accesses = foreign.accesses()
    assert accesses and {access.authorization for access in accesses} == {"-"}


def test_the_server_sees_its_own_password_and_never_a_token(job: Job, server: GitServer, url: str) -> None:
    work = job.clone(url)
    job.commit(work, "new.txt", "new\n")
    job.git("push", "--quiet", cwd=work)
    seen = server.accesses()
    assert len(seen) >= 4
    assert {access.status for access in seen} == {200}, "the credential is sent at once, not after a 401"
    assert len({access.authorization for access in seen}) == 1


def test_twenty_clones_at_once_all_succeed(job: Job, url: str) -> None:
    clones = [job.start("git", "clone", "--quiet", url, job.home / f"clone{n}") for n in range(20)]
    said = [clone.communicate()[0] for clone in clones]
    assert [clone.returncode for clone in clones] == [0] * 20, "\n".join(said)


def test_a_connection_serves_many_requests(job: Job, mintfs: Daemon) -> None:
    with connect(mintfs.port) as connection:
        for _ in range(3):
            connection.sendall(request("GET", mintfs.path(INFO_REFS), job.authorization()))
            assert receive(connection).status == 200


def test_a_client_that_expects_100_continue_gets_it_before_its_body(
    job: Job, server: GitServer, mintfs: Daemon
) -> None:
    want = f"0032want {server.head('acme/app')}\n00000009done\n".encode()
    head = request("POST", mintfs.path("acme/app.git/git-upload-pack"), job.authorization(),
                   "Content-Type: application/x-git-upload-pack-request",
                   "Expect: 100-continue", f"Content-Length: {len(want)}")  # fmt: skip
    with connect(mintfs.port) as connection:
        connection.sendall(head)
        interim = connection.recv(4096)
        assert interim.startswith(b"HTTP/1.1 100 ") and interim.endswith(b"\r\n\r\n")
        connection.sendall(want)
        answer = receive(connection)
    assert (answer.status, answer.body[:12]) == (200, b"0008NAK\nPACK")


def test_a_refused_request_is_not_told_to_continue(job: Job, mintfs: Daemon) -> None:
    head = request("POST", mintfs.path("acme/app.git/git-upload-pack"), "Expect: 100-continue", "Content-Length: 10")
    answer = exchange(mintfs.port, head)
    assert (answer.status, answer.reason_word) == (403, "token-missing")


@pytest.mark.root
@pytest.mark.parametrize("form", ["git@{host}:acme/app.git", "ssh://git@{host}/acme/app.git",
                                  "http://{host}/acme/app.git", "https://{host}/acme/app.git"])  # fmt: skip
def test_every_form_of_the_address_is_rewritten(
    start_server: Callable[..., GitServer], password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], form: str,
) -> None:  # fmt: skip
    host = own_loopback_address(80)
    server = start_server(host=host, port=80)
    server.create("acme/app", {"hello.txt": "hello\n"})
    mintfs = start_mintfs(connector("git", server.url, password))
    job = new_job(mintfs.open_lease())
    assert (job.clone(form.format(host=host)) / "hello.txt").exists()


def _superproject(server: GitServer, name: str, submodule: str, home: GitServer | None = None) -> None:
    """A repository whose folder `sub` is the head of main of `submodule`, which `home` serves."""
    home = home or server
    commit = home.head(submodule.removeprefix(f"{home.url}/").removesuffix(".git"))
    modules = f'[submodule "sub"]\n\tpath = sub\n\turl = {submodule}\n'
    server.create(name, {".gitmodules": modules}, submodules={"sub": commit})
