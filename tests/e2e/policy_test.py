"""`mintfs policy test` says what the proxy will say, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.job import Job
from support.mintfs import Daemon, connector
from support.push import command, push_body
from support.raw_http import exchange, request
from support.recorder import Recorder

REFS = {"allow": ["refs/heads/*"], "deny": ["refs/heads/main"], "deny_delete": True}


@pytest.fixture
def mintfs(upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(
        connector("git", upstream.url, password, repositories=["acme/*"], refs=REFS),
        connector("reader", upstream.url, password, operations=["fetch"], lfs=False, case_insensitive=True,
                  repositories=["acme/*"]),
        connector("free", upstream.url, password),
    )  # fmt: skip


def ask(mintfs: Daemon, *words: str) -> tuple[int, dict[str, Any]]:
    done = mintfs.cli("policy", "test", *words, "--format", "json", check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_a_refusal_names_the_rule(mintfs: Daemon) -> None:
    done = mintfs.cli("policy", "test", "-c", "git", "acme/app", "push", "refs/heads/main", check=False)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "refused: the connector denies 'refs/heads/main' (refs.deny)"
    assert lines[-1].split() == ["connector.refs.deny", "no", "refs/heads/main"]
    status, answer = ask(mintfs, "-c", "git", "other/app", "fetch")
    assert (status, answer["rule"], answer["reason"]) == (1, "connector.repositories", "repository-denied")


def test_what_is_allowed_names_what_allows_it(mintfs: Daemon) -> None:
    lease = mintfs.open_lease("--ref", "refs/heads/bot/*")
    words = ("-c", "git", "--lease", lease.id, "acme/app.git", "push", "refs/heads/bot/x")
    done = mintfs.cli("policy", "test", *words)
    assert done.stdout.splitlines()[0] == "allowed"
    _, answer = ask(mintfs, *words)
    assert {step["rule"]: step.get("pattern") for step in answer["steps"]} == {
        "connector.operations": None, "connector.repositories": "acme/*", "lease.operations": None,
        "reference-name": None, "connector.refs.deny": None, "connector.refs.allow": "refs/heads/*",
        "connector.refs.deny_delete": None, "lease.refs": "refs/heads/bot/*"}  # fmt: skip
    assert "name one to ask" in mintfs.cli("policy", "test", "-c", "git", "acme/app", "push").stdout


def test_a_wrong_question_is_a_matter_of_usage(mintfs: Daemon) -> None:
    for words in (["-c", "git", "acme/app", "pull"], ["acme/app", "fetch"], ["-c", "git", "acme/app"]):
        assert mintfs.cli("policy", "test", *words, check=False).returncode == 2
    for words in (["-c", "none", "acme/app", "fetch"], ["-c", "git", "a/../b", "fetch"],
                  ["-c", "git", "--lease", "a" * 26, "acme/app", "fetch"]):  # fmt: skip
        done = mintfs.cli("policy", "test", *words, check=False)
        assert done.returncode == 1 and done.stderr.startswith("mintfs: ") and done.stdout == ""


@pytest.mark.parametrize("name", ["git", "reader", "free"])
@pytest.mark.parametrize("options", [(), ("--read-only",), ("--ref", "refs/heads/bot/*"), ("--repository", "acme/app")])
def test_the_proxy_says_the_same(
    mintfs: Daemon, new_job: Callable[..., Job], name: str, options: tuple[str, ...]
) -> None:
    job = new_job(mintfs.open_lease(*options, connectors=[name]))
    assert job.lease
    asked = 0
    for path in ("acme/app", "ACME/app", "acme/two", "other/app"):
        refs = {"service=git-upload-pack": "fetch", "service=git-receive-pack": "push"}
        for query, operation in refs.items():
            target = mintfs.path(f"{path}/info/refs?{query}", name)
            passed = exchange(mintfs.port, request("GET", target, job.authorization())).status == 200
            status, answer = ask(mintfs, "-c", name, "--lease", job.lease.id, path, operation)
            assert (status == 0, answer["allowed"]) == (passed, passed), (path, operation, answer)
            asked += 1
        for reference in ("refs/heads/bot/x", "refs/heads/main", "refs/tags/x", "refs/heads/a..b"):
            for change, ids in (("update", ("a" * 40, "b" * 40)), ("delete", ("a" * 40, "0" * 40))):
                body = push_body(command(reference, *ids))
                target = mintfs.path(f"{path}/git-receive-pack", name)
                reply = exchange(mintfs.port, request("POST", target, job.authorization(), body=body))
                words = ("--lease", job.lease.id, path, "push", reference, "--change", change)
                status, answer = ask(mintfs, "-c", name, *words)
                assert answer["allowed"] == (reply.body == b"recorded"), (path, reference, change, answer, reply)
                if not answer["allowed"] and answer["reason"] == "reference-denied":
                    assert answer["detail"].encode() in reply.body
                asked += 1
        objects = mintfs.path(f"{path}/info/lfs/locks", name)
        passed = exchange(mintfs.port, request("GET", objects, job.authorization())).status == 200
        assert ask(mintfs, "-c", name, "--lease", job.lease.id, path, "lfs-download")[1]["allowed"] == passed
    assert asked == 40
