"""Which references a push may change: judged before a byte reaches the server, refused in git's own words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.push import OTHER
from support.recorder import Recorder
from support.waiting import eventually

BOT = {"allow": ["refs/heads/bot/*", "refs/tags/*"], "deny": ["refs/tags/v*"]}


class Pusher:
    """A job with a clone of acme/app and a commit that the server has not."""

    def __init__(self, server: GitServer, job: Job) -> None:
        self.server, self.job = server, job
        self.work = job.clone(f"{server.url}/acme/app.git")
        self.commit = job.commit(self.work, "new.txt", "new\n")

    def references(self) -> dict[str, str]:
        bare = self.server.projects / "acme/app.git"
        lines = self.server.git("-C", bare, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split() for line in lines)

    def push(self, *args: str, config: tuple[str, ...] = ()) -> str:
        """What git says to a push that succeeds."""
        options = [word for line in config for word in ("-c", line)]
        return self.job.git(*options, "push", "origin", *args, cwd=self.work).stderr

    def refused(self, *args: str, config: tuple[str, ...] = ()) -> str:
        """What git says to a push that changes nothing on the server."""
        before = self.references()
        options = [word for line in config for word in ("-c", line)]
        done = self.job.git(*options, "push", "origin", *args, cwd=self.work, check=False)
        assert done.returncode == 1, done.stderr
        assert self.references() == before and self.job.prompts == []
        return done.stderr


@pytest.fixture
def start_pusher(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> Callable[..., Pusher]:
    """start_pusher(refs, "--ref", "refs/heads/x"): the rules of the connector, options of the lease."""

    def start(refs: dict[str, Any] | None, *options: str) -> Pusher:
        rules = {"refs": refs} if refs else {}
        mintfs = start_mintfs(connector("git", server.url, password, **rules))
        pusher = Pusher(server, new_job(mintfs.open_lease(*options)))
        pusher.mintfs = mintfs  # type: ignore[attr-defined]
        return pusher

    return start


@pytest.fixture
def pusher(start_pusher: Callable[..., Pusher]) -> Pusher:
    return start_pusher(BOT)


def test_an_allowed_branch_and_tag_are_pushed(pusher: Pusher) -> None:
    pusher.push("HEAD:refs/heads/bot/one", "HEAD:refs/heads/bot/a/b", "HEAD:refs/tags/nightly")
    assert pusher.references()["refs/heads/bot/a/b"] == pusher.commit
    pusher.job.commit(pusher.work, "again.txt", "again\n")
    pusher.push("HEAD:refs/heads/bot/one")
    pusher.push("--force", "HEAD~1:refs/heads/bot/one")
    assert pusher.references()["refs/heads/bot/one"] == pusher.commit
    pusher.push("--delete", "bot/one")
    assert "refs/heads/bot/one" not in pusher.references()


def test_a_refused_branch_is_named_by_git_with_the_reason(pusher: Pusher) -> None:
    said = pusher.refused("main")
    assert "! [remote rejected] main -> main (mintfs: the connector gives other references only (refs.allow))" in said
    said = pusher.refused("HEAD:refs/tags/v1")
    assert "[remote rejected]" in said and "(mintfs: the connector denies 'refs/tags/v*' (refs.deny))" in said
    lines = eventually("both are in the audit log", lambda: (found := pusher.mintfs.audit("refuse"))[1:] and found)
    assert [(line["reason"], line["reference"]) for line in lines] == [
        ("reference-denied", "refs/heads/main"), ("reference-denied", "refs/tags/v1")]  # fmt: skip
    assert lines[0]["lease"] == pusher.job.lease.id and lines[0]["repository"] == "acme/app"
    assert lines[0]["operation"] == "push"
    pusher.push("HEAD:refs/heads/bot/one")


def test_one_refused_reference_holds_the_others_back(pusher: Pusher) -> None:
    said = pusher.refused("HEAD:refs/heads/bot/one", "main", "HEAD:refs/tags/nightly")
    assert "main -> main (mintfs: the connector gives other" in said
    assert f"HEAD -> bot/one ({OTHER})" in said and f"HEAD -> nightly ({OTHER})" in said
    assert "[remote rejected]" in pusher.refused("--atomic", "HEAD:refs/heads/bot/one", "main")


def test_creating_and_deleting_are_rules_of_their_own(start_pusher: Callable[..., Pusher]) -> None:
    pusher = start_pusher({"deny_create": True, "deny_delete": True})
    pusher.push("main")
    assert "(mintfs: the connector does not let references be created" in pusher.refused("HEAD:refs/heads/new")
    assert "(mintfs: the connector does not let references be deleted" in pusher.refused("--delete", "main")


@pytest.mark.parametrize("option", ["--atomic", "--push-option=a=b", "--no-thin", "--quiet", "--porcelain"])
def test_an_allowed_push_is_sent_on_with_all_its_options(pusher: Pusher, option: str) -> None:
    bare = pusher.server.projects / "acme/app.git"
    pusher.server.git("-C", bare, "config", "receive.advertisePushOptions", "true")
    hook = bare / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho \"$GIT_PUSH_OPTION_0\" >{bare}/option\n")
    hook.chmod(0o755)
    pusher.push(option, "HEAD:refs/heads/bot/one", "HEAD:refs/heads/bot/two")
    assert pusher.references()["refs/heads/bot/two"] == pusher.commit
    assert (bare / "option").read_text().strip() == ("a=b" if "push-option" in option else "")


def test_a_signed_push_is_judged_by_its_certificate(pusher: Pusher) -> None:
    assert shutil.which("ssh-keygen"), "openssh-client is missing"
    pusher.server.git("-C", pusher.server.projects / "acme/app.git", "config", "receive.certNonceSeed", "seed")
    key = pusher.job.home / "key"
    pusher.job.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    signed = ("gpg.format=ssh", f"user.signingKey={key}")
    pusher.push("--signed", "HEAD:refs/heads/bot/one", config=signed)
    assert pusher.references()["refs/heads/bot/one"] == pusher.commit
    assert "main -> main (mintfs: " in pusher.refused("--signed", "main", config=signed)


def test_a_repository_of_another_hash_is_judged_the_same(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    bare = server.projects / "acme/long.git"
    server.git("init", "--quiet", "--bare", "--object-format=sha256", bare)
    server.git("-C", bare, "config", "http.receivepack", "true")
    job = new_job(start_mintfs(connector("git", server.url, password, refs=BOT)).open_lease())
    work = job.home / "long"
    job.git("init", "--quiet", "--initial-branch=main", "--object-format=sha256", work)
    commit = job.commit(work, "a", "a\n")
    job.git("push", f"{server.url}/acme/long.git", "HEAD:refs/heads/bot/one", cwd=work)
    assert len(commit) == 64 and server.git("-C", bare, "rev-parse", "bot/one") == commit
    refused = job.git("push", f"{server.url}/acme/long.git", "main", cwd=work, check=False)
    assert "[remote rejected] main -> main (mintfs: " in refused.stderr
    assert server.git("-C", bare, "for-each-ref", "--format=%(refname)") == "refs/heads/bot/one"


@pytest.mark.parametrize("buffer", ["1m", "100m"], ids=["chunked", "length"])
def test_a_large_push_is_judged_and_its_refusal_is_heard(pusher: Pusher, buffer: str) -> None:
    with (pusher.work / "large").open("wb") as large, open("/dev/urandom", "rb") as random:
        shutil.copyfileobj(_Limited(random, 50 << 20), large)
    commit = pusher.job.commit(pusher.work, "more", "more\n")
    config = (f"http.postBuffer={buffer}", "pack.compression=0", "core.compression=0")
    said = pusher.refused("main", config=config)
    assert "! [remote rejected] main -> main (mintfs: " in said, said
    pusher.push("HEAD:refs/heads/bot/large", config=config)
    assert pusher.references()["refs/heads/bot/large"] == commit


class _Limited:
    def __init__(self, source: Any, left: int) -> None:
        self.source, self.left = source, left

    def read(self, size: int) -> bytes:
        data: bytes = self.source.read(min(size, self.left))
        self.left -= len(data)
        return data


def test_a_mirror_of_mixed_references_is_refused_whole(start_pusher: Callable[..., Pusher]) -> None:
    pusher = start_pusher({"deny": ["refs/notes/*"]})
    for number in range(300):
        pusher.job.git("update-ref", f"refs/heads/many/{number}", "HEAD", cwd=pusher.work)
    pusher.job.git("update-ref", "refs/notes/commits", "HEAD", cwd=pusher.work)
    said = pusher.refused("--mirror")
    assert said.count(f"({OTHER})") >= 300
    assert "refs/notes/commits (mintfs: the connector denies 'refs/notes/*' (refs.deny))" in said.replace("commits -> ", "")
    pusher.job.git("update-ref", "-d", "refs/notes/commits", cwd=pusher.work)
    pusher.push("--mirror")
    assert "refs/heads/many/299" in pusher.references()


def test_a_shallow_clone_pushes_what_is_allowed(pusher: Pusher) -> None:
    pusher.work = pusher.job.clone(f"{pusher.server.url}/acme/app.git", "--depth=1", to="shallow")
    commit = pusher.job.commit(pusher.work, "new.txt", "new\n")
    pusher.push("HEAD:refs/heads/bot/one")
    assert pusher.references()["refs/heads/bot/one"] == commit
    assert "[remote rejected]" in pusher.refused("main")
    assert pusher.push("--dry-run", "HEAD:refs/heads/bot/two")


def test_a_lease_narrows_the_references(start_pusher: Callable[..., Pusher]) -> None:
    pusher = start_pusher(None, "--ref", "refs/heads/bot/*", "--ref", "refs/tags/nightly")
    pusher.push("HEAD:refs/heads/bot/one", "HEAD:refs/tags/nightly")
    assert "main -> main (mintfs: the lease is for other references only (refs))" in pusher.refused("main")
    assert "(mintfs: the lease is for" in pusher.refused("HEAD:refs/tags/other")


def test_a_lease_keeps_its_references_over_a_restart(start_pusher: Callable[..., Pusher]) -> None:
    pusher = start_pusher(None, "--ref", "refs/heads/bot/*")
    pusher.mintfs.stop()
    pusher.mintfs.start()
    assert "(mintfs: the lease is for" in pusher.refused("main")
    assert "refs/heads/bot/*" in pusher.mintfs.cli("lease", "show", pusher.job.lease.id).stdout


def test_a_lease_cannot_widen_the_references(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password, refs=BOT))
    for wider in ("refs/heads/*", "refs/*", "refs/heads/main", "refs/heads/bot*"):
        opened = mintfs.cli("lease", "open", "-c", "git", "--ref", wider, check=False)
        assert opened.returncode == 1 and wider in opened.stderr, opened
    assert mintfs.cli("lease", "open", "-c", "git", "--ref", "main", check=False).returncode == 2
    assert mintfs.leases() == []
    assert mintfs.open_lease("--ref", "refs/heads/bot/a/*").id


def test_a_proxy_does_not_promise_what_it_cannot_see(password: Path, start_mintfs: Callable[..., Daemon]) -> None:
    mintfs = start_mintfs(connector("git", "http://127.0.0.1:1", password, refs={"deny_force": True}), ready=False)
    assert "receive.denyNonFastForwards" in mintfs.refuses_to_start()
