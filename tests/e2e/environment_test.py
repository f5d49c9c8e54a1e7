"""What the job brings along, its environment and its own gitconfig, and how git goes through the proxy all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon
from support.recorder import Recorder

# --- HTTP proxies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_in_the_environment_never_sees_a_token(
    job: Job, server: GitServer, upstream: Recorder, name: str
) -> None:
    job.env[name] = upstream.url
    work = job.clone(f"{server.url}/acme/app.git")
    job.commit(work, "new", "x\n")
    job.git("push", "--quiet", cwd=work)
    assert upstream.connections == 0


def test_a_proxy_in_the_jobs_own_gitconfig_never_sees_a_token(job: Job, server: GitServer, upstream: Recorder) -> None:
    job.git("config", "--global", "http.proxy", upstream.url)
    job.clone(f"{server.url}/acme/app.git")
    assert upstream.connections == 0


# --- the job's own insteadOf -------------------------------------------------------------------------

_TOKEN = "own-secret"


def _own_line(daemon: Daemon, server: GitServer, key: str, path: str = "") -> None:
    """A line of the user's own that sends git elsewhere; its base holds a password, as such lines do."""
    section = f'[url "http://me:{_TOKEN}@127.0.0.1:9/"]\n\t{key} = {server.url}/{path}\n'
    (daemon.root / ".gitconfig").write_text(section)


@pytest.mark.parametrize("key", ["insteadOf", "pushInsteadOf"])
def test_a_line_of_ones_own_that_wins_over_the_lease_is_said(mintfs: Daemon, server: GitServer, key: str) -> None:
    _own_line(mintfs, server, key)
    for said in (mintfs.cli("run", "-c", "git", "--", "true").stderr,
                 mintfs.cli("lease", "open", "-c", "git", "--format", "env").stderr):  # fmt: skip
        assert f"{key} = {server.url}/" in said and ".gitconfig" in said and "--via global" in said
        assert said.count("\n") == 1 and _TOKEN not in said
    doctor = mintfs.cli("doctor", "--config", mintfs.config, check=False).stdout
    assert f"{key} = {server.url}/" in doctor and _TOKEN not in doctor


def test_with_via_global_no_line_of_ones_own_counts(mintfs: Daemon, server: GitServer) -> None:
    _own_line(mintfs, server, "insteadOf")
    ask = ["git", "ls-remote", f"{server.url}/acme/app.git", "HEAD"]
    done = mintfs.cli("run", "-c", "git", "--via", "global", "--", *ask)
    assert "HEAD" in done.stdout and done.stderr == ""
    assert mintfs.cli("run", "-c", "git", "--", *ask, check=False).returncode != 0, "the warning is true"


def test_a_line_that_does_not_win_is_not_talked_about(mintfs: Daemon, server: GitServer) -> None:
    _own_line(mintfs, server, "insteadOf")
    narrow = ["run", "-c", "git", "--repository", "acme/*", "--"]
    done = mintfs.cli(*narrow, "git", "ls-remote", f"{server.url}/acme/app.git", "HEAD")
    assert "HEAD" in done.stdout and done.stderr == ""


# --- --via xdg ---------------------------------------------------------------------------------------


def test_via_xdg_refuses_a_variable_that_hides_the_view(mintfs: Daemon) -> None:
    hiding = {"GIT_CONFIG_GLOBAL": str(mintfs.root / ".gitconfig")}
    for command in (["run", "-c", "git", "--via", "xdg", "--", "true"],
                    ["lease", "open", "-c", "git", "--via", "xdg", "--format", "env"]):  # fmt: skip
        done = mintfs.cli(*command, env=hiding, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert "GIT_CONFIG_GLOBAL" in done.stderr and "--via env" in done.stderr
    assert mintfs.leases() == []
