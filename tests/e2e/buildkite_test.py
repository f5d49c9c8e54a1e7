"""Buildkite's own agent, with the hooks of deploy/ci linked as docs/ci.md says: it checks out a private repository.

The bootstrap is what the agent starts for each job; here nobody has sent it one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.mintfs import BUILD, REPOSITORY, Daemon
from support.waiting import DEADLINE, eventually

_HOOKS = REPOSITORY / "deploy/ci/buildkite"

Bootstrap = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def agent() -> Path:
    done = subprocess.run([REPOSITORY / "tools/buildkite-agent"], capture_output=True, text=True, timeout=40 * DEADLINE)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def bootstrap(agent: Path, mintfs: Daemon, server: GitServer, tmp_path: Path) -> Bootstrap:
    hooks, builds, home = tmp_path / "hooks", tmp_path / "builds", tmp_path / "home"
    for folder in (hooks, builds, home):
        folder.mkdir()
    for name in ("environment", "pre-exit"):
        (hooks / name).symlink_to(_HOOKS / name)
    (tmp_path / "ci.options").write_text("--connector=git\n--ttl=1h\n")

    def start(command: str, *, job: str = "01-job", build: str = "01-build") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [agent, "bootstrap", "--command", command, "--repository", f"{server.url}/acme/app.git", "--commit", "HEAD", "--branch", "main",
             "--agent", f"agent-{job}", "--organization", "acme", "--pipeline", "app", "--pipeline-provider", "git", "--build-path", builds,
             "--hooks-path", hooks, "--bin-path", agent.parent, "--sockets-path", tmp_path / "sockets"],
            env={**mintfs.environment(GIT_TERMINAL_PROMPT="0"), "HOME": str(home), "PATH": f"{BUILD}:{os.environ['PATH']}",
                 "MINTFS_CI_OPTIONS": str(tmp_path / "ci.options"), "BUILDKITE_BUILD_ID": build, "BUILDKITE_JOB_ID": job},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
        )  # fmt: skip

    return start


def test_the_agent_checks_out_and_its_command_fetches(mintfs: Daemon, server: GitServer, bootstrap: Bootstrap) -> None:
    job = bootstrap("cat hello.txt && git ls-remote origin && mintfs lease show $MINTFS_LEASE --format json")
    said, _ = job.communicate(timeout=8 * DEADLINE)
    assert job.returncode == 0, said
    assert "hello" in said and "refs/heads/main" in said and "eyJ" not in said
    assert "01-build" in said and "01-job" in said, "its labels"
    assert mintfs.leases() == [], "pre-exit has closed it"


def test_what_a_hook_stores_the_command_gets(mintfs: Daemon, bootstrap: Bootstrap, tmp_path: Path) -> None:
    """The agent passes on what is empty, too: credential.helper= is among the variables."""
    (tmp_path / "ci.options").write_text("--connector=git\n--credential-store=memory\n")
    hook = tmp_path / "hooks/post-checkout"
    hook.write_text("printf 'url=https://git.example\\nusername=bot\\npassword=stored\\n\\n' | git credential approve\n")
    hook.chmod(0o755)
    job = bootstrap("printf 'url=https://git.example\\n\\n' | git credential fill")
    said, _ = job.communicate(timeout=8 * DEADLINE)
    assert job.returncode == 0 and "password=stored" in said, said


def test_a_job_that_fails_leaves_no_lease(mintfs: Daemon, bootstrap: Bootstrap) -> None:
    job = bootstrap("exit 3")
    said, _ = job.communicate(timeout=8 * DEADLINE)
    assert job.returncode == 3, said
    assert mintfs.leases() == [] and len(mintfs.wait_for_audit("open", 1)) == 1


def test_two_jobs_at_once_have_a_lease_each(mintfs: Daemon, bootstrap: Bootstrap, tmp_path: Path) -> None:
    wait = f"touch {tmp_path}/$BUILDKITE_JOB_ID; until [ -e {tmp_path}/go ]; do sleep 0.05; done; git fetch -q origin && echo \"lease $MINTFS_LEASE\""
    jobs = [bootstrap(wait, job=name) for name in ("01-one", "01-two")]
    try:
        for name in ("01-one", "01-two"):
            eventually(f"{name} runs", lambda: (tmp_path / name).exists() or any(job.poll() is not None for job in jobs))
        assert len(mintfs.leases()) == 2
    finally:
        (tmp_path / "go").touch()
        said = [job.communicate(timeout=8 * DEADLINE)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    leases = {line.split()[1] for text in said for line in text.splitlines() if line.startswith("lease ")}
    assert len(leases) == 2 and mintfs.leases() == []


def test_a_killed_agent_takes_its_lease_with_it(mintfs: Daemon, bootstrap: Bootstrap, tmp_path: Path) -> None:
    job = bootstrap(f"echo $$ >{tmp_path}/pid; touch {tmp_path}/runs; exec sleep 600")
    try:
        eventually("the command runs", lambda: (tmp_path / "runs").exists() or job.poll() is not None)
        assert len(mintfs.leases()) == 1
    finally:
        job.kill()
        if (tmp_path / "runs").exists():
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        job.communicate(timeout=DEADLINE)
    eventually("the lease is closed", lambda: mintfs.leases() == [])
