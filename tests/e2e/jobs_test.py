"""Two hundred jobs of one user on one machine at the same time: each clones its own repository, under its own name."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.mintfs import MINTFS, Daemon, connector, secret_file
from support.waiting import DEADLINE

_JOBS = range(200)
#: How many of them work at a moment; all are there, with their leases open, from the first to the last.
_AT_ONCE = 8

# It clones its own, tries its neighbour's, and tells what it got: the tags of a repository name it.
_WORK = """
echo ready
read go
git clone --quiet "$1/jobs/own$2.git" own
git ls-remote --quiet "$1/jobs/own$3.git" >&2 && echo "the neighbour's"
git -C own tag
git -C own push --quiet origin HEAD:refs/heads/by-$2
git config user.email
"""


class _Job:
    def __init__(self, daemon: Daemon, server: GitServer, number: int, folder: Path) -> None:
        folder.mkdir()
        name = f"me.{number}@example.org"
        already = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.email", "GIT_CONFIG_VALUE_0": name}
        run = [MINTFS, "run", "-c", f"own{number}", "--label", "build=1", "--label", f"job={number}", "--"]
        work = ["sh", "-c", _WORK, "sh", server.url, str(number), str((number + 1) % len(_JOBS))]
        self.process = subprocess.Popen(
            [*run, *work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
            env=daemon.environment(GIT_TERMINAL_PROMPT="0", GIT_TEMPLATE_DIR="", **already),
        )  # fmt: skip

    def ready(self) -> None:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.communicate()[1]

    def work(self) -> tuple[str, str]:
        return self.process.communicate("go\n", timeout=4 * DEADLINE)


@pytest.fixture
def populated(start_server: Callable[..., GitServer]) -> GitServer:
    """A server with a user and a repository for each job."""
    server = start_server(users={f"user{number}": f"word{number}" for number in _JOBS})
    first = server.create("jobs/own0", {"hello.txt": "hello\n"})
    head = server.head("jobs/own0")
    shutil.rmtree(first / "hooks")  # examples only, and many files in all
    server.git("-C", first, "repack", "-adq")
    for number in _JOBS[1:]:
        shutil.copytree(first, first.with_name(f"own{number}.git"))
    for number in _JOBS:
        (first.with_name(f"own{number}.git") / "refs/tags" / f"of-{number}").write_text(f"{head}\n")
    return server


@pytest.fixture
def crowd(populated: GitServer, start_mintfs: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    (tmp_path / "words").mkdir()

    def one(number: int) -> dict[str, object]:
        word = secret_file(tmp_path / "words" / str(number), f"word{number}")
        auth = {"type": "basic", "username": f"user{number}", "password_file": str(word)}
        return connector(f"own{number}", populated.url, word, auth=auth, repositories=[f"jobs/own{number}"])

    return start_mintfs(*map(one, _JOBS))


@pytest.fixture
def jobs(crowd: Daemon, populated: GitServer, tmp_path: Path) -> Iterator[list[_Job]]:
    started: list[_Job] = []
    with ExitStack() as stack:
        for number in _JOBS:
            job = _Job(crowd, populated, number, tmp_path / f"job{number}")
            stack.callback(job.process.communicate)
            stack.callback(job.process.kill)
            started.append(job)
        yield started


def _user(authorization: str) -> str:
    kind, _, word = authorization.partition(" ")
    return base64.b64decode(word).decode().partition(":")[0] if kind == "Basic" else authorization


def test_two_hundred_jobs_at_once_never_mix(crowd: Daemon, populated: GitServer, jobs: list[_Job]) -> None:
    for job in jobs:
        job.ready()
    assert len(crowd.leases()) == len(_JOBS)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(_Job.work, jobs))
    for number, (said, complaint) in enumerate(done):
        assert said == f"of-{number}\nme.{number}@example.org\n", complaint
    assert crowd.leases() == []

    users: dict[int, set[str]] = {number: set() for number in _JOBS}
    for access in populated.accesses():
        found = re.match(r"/jobs/own(\d+)\.git/", access.path)
        assert found, access
        if access.status != 401:
            users[int(found[1])].add(_user(access.authorization))
    assert users == {number: {f"user{number}"} for number in _JOBS}
    for number in _JOBS:
        bare = populated.projects / f"jobs/own{number}.git"
        assert {path.name for path in (bare / "refs/heads").iterdir()} - {"main"} == {f"by-{number}"}
