"""The hooks in deploy/ci, called as each runner's documents say that it calls them.

What a runner is trusted to do is played here: its own variables, which shell reads which file, what a later step
gets of an earlier one, and how a job ends.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.mintfs import BUILD, REPOSITORY, Daemon, Lease
from support.waiting import DEADLINE, eventually

_HOOKS = REPOSITORY / "deploy/ci"
#: What somebody may call a job who wants more than a job.
_HOSTILE = "a'b\"c\n--connector=other\nX=1 $(touch hit) `touch hit`; touch hit ../../../x \\ é"


class Worker:
    """The process of a runner that lives as long as one job, under its true name; it runs what it is told."""

    def __init__(self, name: str, folder: Path, env: Mapping[str, str]) -> None:
        program = folder / name
        program.write_text('#!/bin/bash\nwhile read -r line; do eval "$line" </dev/null; echo "status $?"; done\n')
        program.chmod(0o755)
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         cwd=folder, env=dict(env))  # fmt: skip

    def run(self, command: str) -> int:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        while (line := self._process.stdout.readline()) and not line.startswith("status "):
            pass
        return int(line.split()[1])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class Runner:
    """One job of a runner. `start` and `end` call its hooks and return their exit status, `step` is a later step."""

    def __init__(self, mintfs: Daemon, folder: Path, build: str, job: str) -> None:
        folder.mkdir()
        self.folder, self.build, self.job = folder, build, job
        options = folder.parent / "ci.options"
        if not options.exists():
            options.write_text("# what every job gets\n\n--connector=git\n--ttl=1h\n")
        self.env = {**mintfs.environment(), "MINTFS_CI_OPTIONS": str(options), "GIT_TERMINAL_PROMPT": "0"}
        self.env["PATH"] = f"{BUILD}:{self.env['PATH']}"

    def start(self) -> int:
        raise NotImplementedError

    def step(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-ec", script)

    def early_step(self, script: str) -> subprocess.CompletedProcess[str]:
        """With a later one behind it, whatever the runner makes of steps."""
        return self.step(script)

    def end(self) -> int:
        raise NotImplementedError

    def stop(self) -> None:
        """What is left of the runner itself goes away."""

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*map(str, command)], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=4 * DEADLINE)  # fmt: skip


class GitLab(Runner):
    """A shell for each part of a job: the sources, the script, what comes after. Its end is that of the script."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.env |= {"CI_PIPELINE_ID": self.build, "CI_JOB_ID": self.job, "CI_PROJECT_DIR": str(self.folder / "project"),
                     "RUNNER_TEMP_PROJECT_DIR": str(self.folder / "project.tmp")}  # fmt: skip

    def part(self, script: str) -> subprocess.CompletedProcess[str]:
        # As its generated scripts do it: the commands in an eval at the end of a pipe.
        return self.run("bash", "-c", 'set -eo pipefail; set +o noclobber; : | eval "$1"; exit 0', "bash", script)

    def start(self) -> int:
        return self.part(f". {_HOOKS}/gitlab-runner.sh").returncode

    def early_step(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.part(f". {_HOOKS}/gitlab-runner.sh\n{script}")

    def step(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.part(f". {_HOOKS}/gitlab-runner.sh build\n{script}")

    def end(self) -> int:
        return 0


class GitHub(Runner):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        (self.folder / "temp").mkdir()
        self.file = self.folder / "github_env"
        self.file.touch()
        self.env |= {"GITHUB_RUN_ID": self.build, "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": self.job,
                     "RUNNER_NAME": self.folder.name, "RUNNER_TEMP": str(self.folder / "temp")}  # fmt: skip
        self.worker = Worker("Runner.Worker", self.folder, {**self.env, "GITHUB_ENV": str(self.file)})

    def start(self) -> int:
        status = self.worker.run(f"bash -e {_HOOKS}/github-actions/job-started.sh")
        for line in self.file.read_text().splitlines():
            assert re.fullmatch(r"(GIT_CONFIG_\w+|MINTFS_LEASE)=.+", line), "every line is one variable of ours"
            name, _, value = line.partition("=")
            self.env[name] = value
        return status

    def end(self) -> int:
        return self.worker.run(f"bash -e {_HOOKS}/github-actions/job-completed.sh")

    def stop(self) -> None:
        self.worker.kill()


class Buildkite(Runner):
    """The bootstrap of a job sources its hooks in a bash and takes over what has changed in the environment."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        hooks = self.folder / "hooks"
        hooks.mkdir()
        for name in ("environment", "pre-exit"):
            (hooks / name).symlink_to(_HOOKS / "buildkite" / name)
        self.env |= {"BUILDKITE_BUILD_ID": self.build, "BUILDKITE_JOB_ID": self.job}
        self.worker = Worker("buildkite-agent", self.folder, self.env)

    def _hook(self, name: str) -> int:
        lease = f"MINTFS_LEASE={self.env['MINTFS_LEASE']} " if "MINTFS_LEASE" in self.env else ""
        status = self.worker.run(f"{lease}bash -c '. hooks/{name}; s=$?; env -0 >after; exit $s'")
        variables = (entry.partition("=") for entry in (self.folder / "after").read_text().split("\0") if entry)
        self.env |= {name: value for name, _, value in variables}
        return status

    def start(self) -> int:
        return self._hook("environment")

    def end(self) -> int:
        return self._hook("pre-exit")

    def stop(self) -> None:
        self.worker.kill()


class Jenkins(Runner):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.env |= {"BUILD_NUMBER": self.build, "JOB_NAME": self.job}

    def start(self) -> int:
        done = self.run("sh", "-xe", "-c", f"{_HOOKS}/jenkins.sh open")
        for line in done.stdout.strip().split("\n") if done.returncode == 0 else ():
            name, equals, value = line.partition("=")
            assert equals and re.fullmatch(r"GIT_CONFIG_\w+|MINTFS_LEASE", name), line
            assert value, "withEnv takes it for one to unset, and git fails without"
            self.env[name] = value
        return done.returncode

    def end(self) -> int:
        return self.run("sh", "-xe", "-c", f"{_HOOKS}/jenkins.sh close").returncode


class Drone(Runner):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        home = self.folder / "home"
        home.mkdir()
        self.env |= {"HOME": str(home), "DRONE_BUILD_NUMBER": self.build, "DRONE_REPO": "acme/app",
                     "DRONE_STAGE_NAME": self.job, "DRONE_STAGE_NUMBER": self.folder.name[-1]}  # fmt: skip

    def start(self) -> int:
        return self.run("sh", "-ec", f"{_HOOKS}/drone-woodpecker.sh open").returncode

    def end(self) -> int:
        return self.run("sh", "-ec", f"{_HOOKS}/drone-woodpecker.sh close").returncode


class Woodpecker(Drone):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.env |= {"CI_PIPELINE_NUMBER": self.build, "CI_REPO": "acme/app", "CI_WORKFLOW_NAME": self.job,
                     "CI_WORKFLOW_NUMBER": self.folder.name[-1]}  # fmt: skip
        for name in ("DRONE_BUILD_NUMBER", "DRONE_REPO", "DRONE_STAGE_NAME", "DRONE_STAGE_NUMBER"):
            del self.env[name]


class BlueKing(Runner):
    """Each task is a file that the agent has sourced by one of its own, in the shell that the task's first line names."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        home = self.folder.parent / "home"  # one for all jobs of the machine
        home.mkdir(exist_ok=True)
        self.env |= {"HOME": str(home), "BK_CI_BUILD_ID": self.build, "BK_CI_BUILD_JOB_ID": self.job}

    def task(self, script: str, mode: str = "-e") -> subprocess.CompletedProcess[str]:
        first = "#!/usr/bin/env bash\n"
        task, around = self.folder / "task.sh", self.folder / "around.sh"
        task.write_text(first + script)
        around.write_text(f"{first}set {mode}\n. {task}")
        around.chmod(0o755)
        return self.run(around)

    def start(self) -> int:
        return self.step("").returncode

    def step(self, script: str, mode: str = "-e") -> subprocess.CompletedProcess[str]:
        return self.task(f". {_HOOKS}/blueking.sh || exit\n{script}", mode)

    def end(self) -> int:
        return self.task(f". {_HOOKS}/blueking.sh close").returncode


_RUNNERS = [GitLab, GitHub, Buildkite, Jenkins, Drone, Woodpecker, BlueKing]

NewRunner = Callable[..., Runner]


@pytest.fixture
def new(mintfs: Daemon, tmp_path: Path) -> Iterator[NewRunner]:
    """Makes a job: new(GitLab, "77", "compile")."""
    made: list[Runner] = []

    def make(kind: type[Runner], build: str = "77", job: str = "compile") -> Runner:
        made.append(kind(mintfs, tmp_path / f"runner{len(made)}", build, job))
        return made[-1]

    yield make
    for runner in made:
        runner.stop()


def _clone(server: GitServer, to: str = "app") -> str:
    return f"git clone --quiet {server.url}/acme/app.git {to} && cat {to}/hello.txt"


def _labels(mintfs: Daemon) -> list[dict[str, str]]:
    return [lease["labels"] for lease in mintfs.control_api("GET", "/v1/leases")[1]["leases"]]


def _assert_dead(mintfs: Daemon, lease: str, new_job: Callable[..., object], server: GitServer) -> None:
    assert lease not in mintfs.leases()
    job = new_job(Lease(lease, mintfs.mount / lease))
    assert job.git("ls-remote", f"{server.url}/acme/app.git", check=False).returncode != 0  # type: ignore[attr-defined]


# --- what all have in common -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", _RUNNERS)
def test_a_later_step_clones_and_after_the_end_nobody_does(
    mintfs: Daemon, server: GitServer, new: NewRunner, new_job: Callable[..., object], kind: type[Runner]
) -> None:
    runner = new(kind)
    assert runner.start() == 0
    (lease,) = mintfs.leases()
    (labels,) = _labels(mintfs)
    assert "77" in labels["build"] and "compile" in labels["job"]
    done = runner.step(_clone(server))
    assert done.stdout == "hello\n", done.stderr
    assert runner.end() == 0
    _assert_dead(mintfs, lease, new_job, server)
    assert runner.run("git", "ls-remote", f"{server.url}/acme/app.git").returncode != 0


@pytest.mark.parametrize("kind", _RUNNERS)
def test_two_jobs_of_one_user_have_a_lease_each(
    mintfs: Daemon, server: GitServer, new: NewRunner, kind: type[Runner]
) -> None:
    one, other = new(kind, "77", "one"), new(kind, "77", "other")
    assert one.start() == 0
    assert other.run("git", "ls-remote", f"{server.url}/acme/app.git").returncode != 0, "it has not been started"
    assert other.start() == 0
    assert len(set(mintfs.leases())) == 2
    assert one.step(_clone(server)).stdout == "hello\n"
    assert one.end() == 0
    (left,) = _labels(mintfs)
    assert "other" in left["job"]
    assert other.step(_clone(server)).stdout == "hello\n"
    assert other.end() == 0 and mintfs.leases() == []


@pytest.mark.parametrize("kind", _RUNNERS)
def test_no_name_of_a_job_does_more_than_name_it(
    mintfs: Daemon, server: GitServer, new: NewRunner, kind: type[Runner]
) -> None:
    runner = new(kind, _HOSTILE, _HOSTILE * 9)
    assert runner.start() == 0
    (labels,) = _labels(mintfs)
    for label in labels.values():
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", label)
    assert runner.step(_clone(server)).stdout == "hello\n"
    assert runner.end() == 0 and mintfs.leases() == []
    assert not list(runner.folder.parent.rglob("hit")) and not list(runner.folder.parent.rglob("x"))


def _stores(password: str) -> str:
    lines = f"protocol=https\\nhost=git.example\\nusername=bot\\npassword={password}\\n\\n"
    return f"printf '{lines}' | git credential approve"


_FILLS = "printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill | grep password"


@pytest.mark.parametrize("kind", _RUNNERS)
@pytest.mark.parametrize("store", ["memory", "helper"])
def test_what_a_step_stores_a_later_one_gets_and_no_other_job(
    mintfs: Daemon, new: NewRunner, tmp_path: Path, kind: type[Runner], store: str
) -> None:
    one, other = new(kind, "77", "one"), new(kind, "77", "other")
    helper, kept = tmp_path / "helper", tmp_path / "kept"  # of the machine, wherever a job's home is
    helper.write_text(f'#!/bin/sh\nexec git credential-store --file={kept} "$1"\n')
    helper.chmod(0o755)
    named = helper if store == "helper" else store
    (tmp_path / "ci.options").write_text(f"--connector=git\n--credential-store={named}\n")
    for runner, password in ((one, "first"), (other, "second")):
        assert runner.start() == 0
        done = runner.early_step(_stores(password))
        assert done.returncode == 0, done.stderr
    assert one.step(_FILLS).stdout == "password=first\n"
    assert other.step(_FILLS).stdout == "password=second\n"
    assert kept.exists() == (store == "helper")
    for runner in (one, other):
        assert runner.end() == 0
    eventually("everything is erased", lambda: not kept.exists() or not kept.read_text())


@pytest.mark.parametrize(("kind", "names"), [(GitHub, ["same", "same"]), (Woodpecker, ["same", "same"]),
                                             (Drone, ["same", "same"]), (Jenkins, ["构建", "测试"]),
                                             (Jenkins, ["a/b", "a_b"]), (Jenkins, ["n" * 200, "n" * 201])])  # fmt: skip
def test_no_two_jobs_at_once_have_the_same_labels(
    mintfs: Daemon, new: NewRunner, kind: type[Runner], names: list[str]
) -> None:
    for name in names:
        assert new(kind, "77", name).start() == 0
    one, other = _labels(mintfs)
    assert one != other and one["build"] == other["build"]


@pytest.mark.parametrize("kind", _RUNNERS)
@pytest.mark.parametrize("lack", ["options", "daemon", "build"])
def test_a_hook_that_cannot_open_a_lease_fails_the_job(
    mintfs: Daemon, new: NewRunner, kind: type[Runner], lack: str
) -> None:
    runner = new(kind, "" if lack == "build" and kind is not GitHub else "77", "" if lack == "build" else "compile")
    if lack == "options":
        (runner.folder.parent / "ci.options").unlink()
    if lack == "daemon":
        mintfs.control.rename(mintfs.control.with_suffix(".away"))
    assert runner.start() != 0
    assert "MINTFS_LEASE" not in runner.env
    if lack == "daemon":
        mintfs.control.with_suffix(".away").rename(mintfs.control)
    assert mintfs.leases() == []


# --- what is each one's own --------------------------------------------------------------------------


def test_gitlab_closes_the_lease_of_a_script_that_fails(mintfs: Daemon, new: NewRunner) -> None:
    runner = new(GitLab)
    assert runner.start() == 0
    assert runner.step("false\ntrue").returncode == 1
    assert mintfs.leases() == []


def test_gitlab_closes_what_a_killed_job_has_left_in_its_place(
    mintfs: Daemon, server: GitServer, new: NewRunner
) -> None:
    runner = new(GitLab, "77", "100")
    assert runner.start() == 0  # and no more
    (left,) = mintfs.leases()
    runner.env["CI_JOB_ID"] = "101"
    assert runner.step(_clone(server)).stdout == "hello\n"
    assert mintfs.leases() == [] and left in [line["lease"] for line in mintfs.wait_for_audit("close", 2)]


def test_gitlab_serves_every_part_of_a_job_that_names_a_file(
    mintfs: Daemon, server: GitServer, new: NewRunner
) -> None:
    runner = new(GitLab)
    (mintfs.root / ".gitconfig").write_text("[user]\n\tname = Own Name\n")
    runner.env["GIT_CONFIG_GLOBAL"] = f"{runner.folder}/project.tmp/gitconfig"
    assert runner.start() == 0
    ask = f"git config user.name; git ls-remote --quiet {server.url}/acme/app.git HEAD"
    assert runner.part(ask).stdout.startswith("Own Name\n"), "a part without a hook"
    assert "HEAD" in runner.part(ask).stdout
    assert runner.step(_clone(server)).stdout == "hello\n"
    after = runner.part(ask)
    assert after.returncode != 0 and after.stdout == "Own Name\n", "git works on, and nothing is served"


def test_gitlab_leaves_such_a_file_alone_where_the_view_has_no_gitconfig(mintfs: Daemon, new: NewRunner, tmp_path: Path) -> None:
    runner = new(GitLab)
    (tmp_path / "ci.options").write_text("--connector=git\n--configuration=netrc\n")
    (file := runner.folder / "project.tmp/gitconfig").parent.mkdir()
    runner.env["GIT_CONFIG_GLOBAL"] = str(file)
    assert runner.start() == 0
    done = runner.step("test -r $NETRC && git config --global user.name me && git config user.name")
    assert done.stdout == "me\n", done.stderr


def test_gitlab_joins_its_lease_in_the_script(mintfs: Daemon, new: NewRunner) -> None:
    runner = new(GitLab)
    assert runner.start() == 0
    (lease,) = mintfs.leases()
    assert runner.step('echo "$MINTFS_LEASE"').stdout.strip() == lease
    assert len(mintfs.wait_for_audit("open", 1)) == 1


@pytest.mark.parametrize("kind", [kind for kind in _RUNNERS if not issubclass(kind, Drone)])
def test_the_options_may_choose_another_way_for_all_steps(
    mintfs: Daemon, server: GitServer, new: NewRunner, kind: type[Runner]
) -> None:
    runner = new(kind)
    with (runner.folder.parent / "ci.options").open("a") as options:
        options.write("--via=system")  # the last line may lack its end
    runner.env["GIT_CONFIG_NOSYSTEM"] = "0"
    if isinstance(runner, GitHub | Buildkite):
        runner.worker.run("export GIT_CONFIG_NOSYSTEM=0")
    assert runner.start() == 0
    done = runner.step(f'echo "${{GIT_CONFIG_COUNT-none}} $GIT_CONFIG_SYSTEM" && {_clone(server)}')
    (lease,) = {line["lease"] for line in mintfs.wait_for_audit("open", 1)}
    assert done.stdout == f"none {mintfs.mount / lease}/.gitconfig\nhello\n", done.stderr


@pytest.mark.parametrize("kind", [GitHub, Buildkite])
def test_the_lease_ends_with_the_process_of_the_job(mintfs: Daemon, new: NewRunner, kind: type[Runner]) -> None:
    runner = new(kind)
    assert runner.start() == 0 and len(mintfs.leases()) == 1
    runner.stop()
    eventually("the lease is closed", lambda: mintfs.leases() == [])


def test_under_another_parent_the_lease_lasts_until_the_hook_closes_it(mintfs: Daemon, new: NewRunner) -> None:
    runner = new(GitHub)
    assert runner.run("env", f"GITHUB_ENV={runner.folder}/github_env", "bash", "-e",
                      _HOOKS / "github-actions/job-started.sh").returncode == 0  # fmt: skip
    (lease,) = mintfs.control_api("GET", "/v1/leases")[1]["leases"]
    assert "pid" not in lease
    assert runner.end() == 0 and mintfs.leases() == []


def test_github_closes_its_own_whatever_the_job_wrote(mintfs: Daemon, new: NewRunner) -> None:
    one, other = new(GitHub, "1", "one"), new(GitHub, "2", "other")
    assert one.start() == 0 and other.start() == 0
    with other.file.open("a") as file:
        file.write(f"MINTFS_LEASE={one.env['MINTFS_LEASE']}\n")
    assert other.end() == 0
    assert mintfs.leases() == [one.env["MINTFS_LEASE"]]


@pytest.mark.parametrize("kind", [GitHub, Buildkite, Jenkins, BlueKing])
def test_what_the_runner_itself_sets_for_git_is_kept(
    mintfs: Daemon, server: GitServer, new: NewRunner, kind: type[Runner]
) -> None:
    already = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "mine.key", "GIT_CONFIG_VALUE_0": "kept"}
    runner = new(kind)
    runner.env |= already
    if isinstance(runner, GitHub | Buildkite):
        runner.worker.run(" ".join(f"export {name}={value};" for name, value in already.items()))
    assert runner.start() == 0
    assert runner.step(f"git config mine.key && {_clone(server)}").stdout == "kept\nhello\n"


@pytest.mark.parametrize("kind", [Drone, Woodpecker])
@pytest.mark.parametrize("configuration", ["gitconfig,netrc,maven", "netrc,maven"])
def test_the_files_of_other_tools_are_found_in_a_pipelines_home(
    mintfs: Daemon, server: GitServer, new: NewRunner, tmp_path: Path, kind: type[Runner], configuration: str
) -> None:
    runner = new(kind)
    (tmp_path / "ci.options").write_text(f"--connector=git\n--configuration={configuration}\n")
    home = Path(runner.env["HOME"])
    (home / ".m2").mkdir()
    (home / ".m2/settings.xml").write_text("of the pipeline's own")
    assert runner.start() == 0
    done = runner.step(f"curl -sSf --netrc {mintfs.url}{mintfs.path('acme/app.git/info/refs?service=git-upload-pack')} | head -c 4")
    assert done.stdout == "001e", done.stderr
    assert (home / ".m2/settings.xml").read_text() == "of the pipeline's own"
    if "gitconfig" in configuration:
        assert runner.step(_clone(server)).stdout == "hello\n"
    assert runner.end() == 0 and not (home / ".netrc").exists()


def test_drone_leaves_a_persons_home_alone(mintfs: Daemon, new: NewRunner) -> None:
    runner = new(Drone)
    home, answer = Path(runner.env["HOME"]), runner.folder / "bin/getent"  # in place of our own home
    answer.parent.mkdir()
    answer.write_text(f"#!/bin/sh\necho me:x:$2:$2::{home}/:/bin/sh\n")
    answer.chmod(0o755)
    runner.env["PATH"] = f"{answer.parent}:{runner.env['PATH']}"
    assert runner.start() == 1
    assert mintfs.leases() == [] and not list(home.iterdir())


@pytest.mark.parametrize("kind", [GitLab, BlueKing])
def test_a_remembered_lease_is_for_its_user_only_and_forgotten(
    mintfs: Daemon, new: NewRunner, kind: type[Runner]
) -> None:
    runner = new(kind)
    assert runner.start() == 0
    (lease,) = mintfs.leases()
    files = (path for path in runner.folder.parent.rglob("*") if path.is_file() and not path.is_symlink())
    (record,) = (path for path in files if path.read_bytes() == f"{lease}\n".encode())
    assert record.stat().st_mode & 0o777 == 0o600
    runner.step("true")
    runner.end()
    assert not record.exists()


def test_blueking_goes_on_after_a_failed_command_but_not_without_a_lease(mintfs: Daemon, new: NewRunner) -> None:
    runner = new(BlueKing)
    assert isinstance(runner, BlueKing)
    assert runner.step("false\necho on", "+e").stdout == "on\n"
    assert runner.end() == 0
    (runner.folder.parent / "ci.options").unlink()
    done = runner.step("echo on", "+e")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("content", ["", "nonsense\n", "--help\n", "$(touch hit)\n", "a" * 26 + "\n", "../../x\n"])
def test_a_record_that_is_none_is_not_believed(mintfs: Daemon, new: NewRunner, content: str) -> None:
    runner = new(BlueKing)
    record = Path(runner.env["HOME"]) / ".local/state/mintfs/ci/77.compile"
    record.parent.mkdir(parents=True)
    record.write_text(content)
    assert runner.start() == 0 and len(mintfs.leases()) == 1
    assert not list(runner.folder.parent.rglob("hit"))
