"""Tools that a job's later steps run, each of which calls git: modules of Go, git dependencies of npm and cargo, submodules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon
from support.waiting import DEADLINE


@pytest.fixture
def libraries(server: GitServer) -> GitServer:
    """A private library for each tool."""
    server.create("acme/golib", {"go.mod": "module git.example.test/acme/golib.git\n",
                                 "lib.go": 'package lib\n\nfunc Hello() string { return "hello" }\n'})  # fmt: skip
    server.create("acme/jslib", {"package.json": '{"name": "jslib", "version": "1.0.0"}', "index.js": 'exports.hello = "hello"\n'})
    server.create("acme/rustlib", {"Cargo.toml": '[package]\nname = "rustlib"\nversion = "1.0.0"\n',
                                   "src/lib.rs": 'pub fn hello() -> &\'static str { "hello" }\n'})  # fmt: skip
    return server


def _later_step(job: Job, *command: str, cwd: Path, **environment: str | Path) -> str:
    """A step of its own: what it shares with the one before is the lease's variables."""
    done = subprocess.run(
        command, cwd=cwd, env={**job.env, **{name: str(value) for name, value in environment.items()}}, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=8 * DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert job.prompts == []
    return done.stdout


def test_go_build_gets_a_private_module(libraries: GitServer, mintfs: Daemon, job: Job) -> None:
    """The module's name is of another host, which the user's own insteadOf leads to the connector."""
    work = job.home / "work"
    work.mkdir()
    (work / "go.mod").write_text("module example.test/app\n")
    (work / "main.go").write_text('package main\n\nimport lib "git.example.test/acme/golib.git"\n\nfunc main() { println(lib.Hello()) }\n')
    job.git("config", "--global", f"url.{mintfs.url}{mintfs.path()}.insteadOf", "https://git.example.test/")
    go = {"GOPRIVATE": "git.example.test", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPATH": job.home / "go",
          "GOCACHE": job.home / "cache", "GOVCS": "*:git", "GONOSUMDB": "*", "GOPROXY": "direct"}  # fmt: skip
    _later_step(job, "go", "get", "git.example.test/acme/golib.git", cwd=work, **go)
    _later_step(job, "go", "build", "-o", "app", cwd=work, **go)
    assert subprocess.run([work / "app"], capture_output=True, text=True, check=True).stderr == "hello\n"
    assert any("/acme/golib" in access.path and access.status == 200 for access in libraries.accesses())
    # Go keeps its modules read-only.
    subprocess.run(["chmod", "-R", "u+w", job.home / "go"], check=True)


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm here")
def test_npm_gets_a_private_git_dependency(libraries: GitServer, mintfs: Daemon, job: Job) -> None:
    work = job.home / "work"
    work.mkdir()
    (work / "package.json").write_text(
        '{"name": "app", "version": "1.0.0", "dependencies": {"jslib": "git+%s/acme/jslib.git"}}' % libraries.url
    )
    _later_step(job, "npm", "install", "--no-audit", "--no-fund", "--registry", "http://127.0.0.1:9", cwd=work)
    assert _later_step(job, "node", "-p", "require('jslib').hello", cwd=work) == "hello\n"
    assert mintfs.url not in (work / "package-lock.json").read_text(), "the lock file is good elsewhere"


@pytest.fixture
def cargo(tmp_path: Path) -> tuple[str, dict[str, Path]]:
    """The first of the PATH that gets a git dependency at all, and what it needs in another home.

    Debian's cargo-web 1.96 does not get one from a folder either: its libgit2 is older than what it was written for.
    """
    library, probe = tmp_path / "library", tmp_path / "probe"
    for folder, more in ((library, ""), (probe, f'[dependencies]\nlibrary = {{ git = "file://{library}" }}\n')):
        (folder / "src").mkdir(parents=True)
        (folder / "src/lib.rs").touch()
        (folder / "Cargo.toml").write_text(f'[package]\nname = "{folder.name}"\nversion = "1.0.0"\nedition = "2021"\n{more}')
    for command in (("init", "-q"), ("add", "."), ("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "x")):
        subprocess.run(["git", *command], cwd=library, check=True, capture_output=True)
    home = Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))
    rust = {"RUSTUP_HOME": home} if home.exists() else {}
    for folder in os.environ["PATH"].split(":"):
        if program := shutil.which("cargo", path=folder):
            tried = subprocess.run([program, "fetch", "--quiet"], cwd=probe, capture_output=True, text=True, timeout=8 * DEADLINE,
                                   env={**os.environ, **rust, "CARGO_HOME": str(tmp_path / "cargo-of-probe")})  # fmt: skip
            if tried.returncode == 0:
                return program, rust
    pytest.skip("there is no cargo here that gets a git dependency")


def test_cargo_gets_a_private_git_dependency(
    libraries: GitServer, mintfs: Daemon, job: Job, cargo: tuple[str, dict[str, Path]]
) -> None:
    """With the git of the machine: cargo's own library knows no insteadOf of an include and no header of a URL."""
    work = job.home / "work"
    (work / "src").mkdir(parents=True)
    (work / "Cargo.toml").write_text('[package]\nname = "app"\nversion = "1.0.0"\n\n[dependencies]\nrustlib = { git = "%s/acme/rustlib.git" }\n' % libraries.url)
    (work / "src/main.rs").write_text('fn main() { println!("{}", rustlib::hello()); }\n')
    program, rust = cargo
    rust |= {"CARGO_HOME": job.home / "cargo", "CARGO_NET_GIT_FETCH_WITH_CLI": "true"}
    assert _later_step(job, program, "run", "--quiet", cwd=work, **rust) == "hello\n"
    assert mintfs.url not in (work / "Cargo.lock").read_text()


def test_submodules_of_a_clone_come_in_a_later_step(libraries: GitServer, mintfs: Daemon, job: Job) -> None:
    libraries.create("acme/whole", {".gitmodules": '[submodule "lib"]\n\tpath = lib\n\turl = ../jslib.git\n'},
                     submodules={"lib": libraries.head("acme/jslib")})  # fmt: skip
    work = job.clone(f"{libraries.url}/acme/whole.git", to="whole")
    _later_step(job, "git", "submodule", "update", "--init", "--quiet", cwd=work)
    assert (work / "lib/index.js").exists()


@pytest.mark.parametrize("tool", ["git", "npm"])
def test_after_the_end_of_the_job_no_tool_gets_anything(libraries: GitServer, mintfs: Daemon, job: Job, tool: str) -> None:
    assert job.lease
    mintfs.close_lease(job.lease)
    url = f"{libraries.url}/acme/jslib.git"
    command = ["git", "ls-remote", url] if tool == "git" else ["npm", "install", "--no-audit", "--registry", "http://127.0.0.1:9", f"git+{url}"]
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {tool} here")
    done = job.run(*command, check=False, env={"GIT_TERMINAL_PROMPT": "0"})
    assert done.returncode != 0 and all(access.status == 401 for access in libraries.accesses())
