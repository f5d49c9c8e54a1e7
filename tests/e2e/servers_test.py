"""One server with repositories of many formats, as Nexus and Artifactory are: its connector says which is for whom.

Each file of the view is tried with its real client against a server that demands the real credential and has
packages below its repositories' paths alone.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.job import Job
from support.maven import DEPLOY, GET, POM
from support.mintfs import Daemon, connector, secret_file
from support.package_server import PackageServer
from support.raw_http import exchange, request
from support.repository_server import REPOSITORIES, RepositoryServer
from support.waiting import DEADLINE

SECRET = "the-real-credential"
# Each as one kind of server takes it.
CREDENTIALS = {
    "nexus": ({"type": "basic", "username": "bot"}, "Authorization",
              "Basic " + base64.b64encode(f"bot:{SECRET}".encode()).decode()),
    "jfrog": ({"type": "token"}, "X-JFrog-Art-Api", SECRET),
}  # fmt: skip


@pytest.fixture(params=["nexus", "jfrog"])
def server(request: pytest.FixtureRequest) -> Iterator[RepositoryServer]:
    server = RepositoryServer(request.param, *CREDENTIALS[request.param][1:])
    yield server
    server.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "secret", SECRET)


def of_server(server: RepositoryServer, secret: Path, **more: Any) -> dict[str, Any]:
    auth = CREDENTIALS[server.kind][0]
    file = "password_file" if auth["type"] == "basic" else "token_file"
    return connector("all", server.url, secret,
                     **{"class": server.kind, "auth": {**auth, file: str(secret)}, "formats": REPOSITORIES, **more})  # fmt: skip


@pytest.fixture
def mintfs(server: RepositoryServer, secret: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(of_server(server, secret))


def run_with(mintfs: Daemon, files: str, *command: str | Path, cwd: Path, check: bool = True, options: tuple[str, ...] = (),
             **env: str | Path) -> subprocess.CompletedProcess[str]:  # fmt: skip
    asked = ("run", "-c", "all", *options, "--configuration", files, "--", "env", "-C", cwd, *command)
    return mintfs.cli(*asked, check=check, env={name: str(value) for name, value in env.items()})


def never_saw_the_token(server: RepositoryServer, format_: str) -> None:
    assert server.strangers == [], "who shows another credential, or none, came past the proxy"
    assert server.seen, "the client asked"
    assert all(target.startswith(server.places[format_]) for _, target in server.seen), server.seen
    assert all("eyJ" not in head for head in server.heads), "the job's token stays at the proxy"


# --- npm, yarn -----------------------------------------------------------------------------------------


def publish_to_npm(mintfs: Daemon, folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "main": "index.js"}))
    (folder / "index.js").write_text("module.exports = 'here';\n")
    run_with(mintfs, "npmrc", "npm", "publish", "--access", "public", cwd=folder)


@pytest.mark.parametrize("name", ["left-over", "@acme/left-over"])
def test_npm_publishes_and_installs(server: RepositoryServer, mintfs: Daemon, tmp_path: Path, name: str) -> None:
    publish_to_npm(mintfs, tmp_path / "package", name)
    (work := tmp_path / "work").mkdir()
    (work / "package.json").write_text("{}")
    run_with(mintfs, "npmrc", "npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", name, cwd=work)
    assert run_with(mintfs, "npmrc", "node", "-p", f"require('{name}')", cwd=work).stdout.strip() == "here"
    never_saw_the_token(server, "npm")


@pytest.fixture(scope="session")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yarn")
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, "@yarnpkg/cli-dist@4.5.3"],
                          capture_output=True, text=True, timeout=4 * DEADLINE, env={**os.environ, "HOME": str(folder)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "node_modules/@yarnpkg/cli-dist/bin/yarn.js"


def test_yarn_installs(server: RepositoryServer, mintfs: Daemon, tmp_path: Path, yarn: Path) -> None:
    publish_to_npm(mintfs, tmp_path / "package", "left-over")
    (work := tmp_path / "work").mkdir()
    (work / "package.json").write_text(json.dumps({"name": "project", "dependencies": {"left-over": "1.0.0"}}))
    (work / "yarn.lock").write_text("")
    run_with(mintfs, "yarnrc", "sh", "-ec", 'HOME="$1/$MINTFS_LEASE" exec node "$2" install', "sh", mintfs.mount, yarn,
             cwd=work, YARN_GLOBAL_FOLDER=tmp_path / "yarn", YARN_NODE_LINKER="node-modules", YARN_ENABLE_TELEMETRY="0")  # fmt: skip
    assert (work / "node_modules/left-over/index.js").exists()
    never_saw_the_token(server, "npm")


# --- pip, twine ----------------------------------------------------------------------------------------


def test_twine_uploads_and_pip_installs(
    server: RepositoryServer, mintfs: Daemon, tmp_path: Path, new_job: Callable[..., Job]
) -> None:
    (source := tmp_path / "source").mkdir()
    (source / "left_over").mkdir()
    (source / "left_over/__init__.py").write_text("")
    (source / "setup.py").write_text("from setuptools import setup\nsetup(name='left-over', version='1.0', packages=['left_over'])\n")
    job = new_job(mintfs.open_lease("--configuration", "pypirc", connectors=["all"]))
    job.run("/usr/bin/python3", "setup.py", "-q", "sdist", cwd=source)
    assert job.lease
    job.run("/usr/bin/twine", "upload", "--non-interactive", "--config-file", job.lease.path / ".pypirc", "-r", "all",
            *(source / "dist").iterdir())  # fmt: skip
    run_with(mintfs, "pip", "/usr/bin/python3", "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-build-isolation",
             "--disable-pip-version-check", "--no-deps", "--dest", tmp_path / "site", "left-over", cwd=tmp_path)  # fmt: skip
    assert len(list((tmp_path / "site").iterdir())) == 1
    never_saw_the_token(server, "pypi")


# --- Maven ---------------------------------------------------------------------------------------------


def test_maven_deploys_and_resolves(
    server: RepositoryServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    # Named as Maven's own repository, of which the plugins are: what has come from there need not come from here.
    mintfs = start_mintfs({**of_server(server, secret), "name": "central"})
    job = new_job(mintfs.open_lease("--configuration", "maven", connectors=["central"]))
    mvn = ("mvn", "-B", "-q", f"-Dmaven.repo.local={tmp_path}/m2")
    for plugin in (DEPLOY, GET):
        job.run(*mvn, f"{plugin}:help")
    assert job.lease
    settings = job.lease.path / ".m2/settings.xml"
    (pom := tmp_path / "a.pom").write_text(POM)
    place = f"{mintfs.url}{mintfs.path(server.places['maven'].removeprefix('/'), name='central')}"
    job.run(*mvn, "-s", settings, f"{DEPLOY}:deploy-file", f"-Durl={place}", "-DrepositoryId=central", f"-Dfile={pom}",
            f"-DpomFile={pom}")  # fmt: skip
    job.run(*mvn, "-s", settings, f"{GET}:get", "-Dartifact=org.acme:a:1.0:pom")
    assert (tmp_path / "m2/org/acme/a/1.0/a-1.0.pom").exists()
    never_saw_the_token(server, "maven")


# --- cargo ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cargo() -> Path:
    """The program itself: what rustup puts in its place wants the developer's home."""
    found = shutil.which("cargo")
    if not found:
        pytest.skip("there is no cargo here")
    which = subprocess.run(["rustup", "which", "cargo"], capture_output=True, text=True) if shutil.which("rustup") else None
    cargo = Path(which.stdout.strip() if which and which.returncode == 0 else found)
    version = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if tuple(map(int, version.split(".")[:2])) < (1, 74):
        pytest.skip(f"cargo {version} cannot show a registry a token; 1.74 and newer do")
    return cargo


@pytest.fixture
def run_cargo(mintfs: Daemon, tmp_path: Path, cargo: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """In a home of its own each time, where nothing was downloaded before: the view's files are linked into it."""

    def run(*command: str, cwd: Path, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        script = 'CARGO_HOME=$(mktemp -d -p "$1"); export CARGO_HOME; ln -s "$2/$MINTFS_LEASE/.cargo/"* "$CARGO_HOME"; shift 2; "$@"'
        return run_with(mintfs, "cargo", "sh", "-ec", script, "sh", tmp_path, mintfs.mount, cargo, *command, cwd=cwd,
                        check=check, RUSTC=cargo.with_name("rustc"), HOME=tmp_path, **more)  # fmt: skip

    return run


def a_crate(folder: Path, name: str, needs: str = "") -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src/lib.rs").write_text("pub const HERE: bool = true;\n")
    (folder / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n'
                                       f'description = "x"\nlicense = "MIT"\n[dependencies]\n{needs}')  # fmt: skip
    return folder


NEEDS = 'left-over = { version = "1.0", registry = "all" }\n'


def test_cargo_publishes_and_builds(server: RepositoryServer, tmp_path: Path, run_cargo: Callable[..., Any]) -> None:
    """Its index, the crate and the API: each asked with the token, which the index tells cargo to show."""
    run_cargo("publish", "--registry", "all", "--no-verify", cwd=a_crate(tmp_path / "left-over", "left-over"))
    work = a_crate(tmp_path / "work", "work", NEEDS)
    (work / "src/lib.rs").write_text("pub fn here() -> bool { left_over::HERE }\n")
    run_cargo("check", cwd=work)
    assert any(target.endswith("/left-over/1.0.0/download") for _, target in server.seen)
    never_saw_the_token(server, "cargo")


def test_cargo_is_not_sent_elsewhere_with_its_token(
    server: RepositoryServer, tmp_path: Path, run_cargo: Callable[..., Any]
) -> None:
    elsewhere = RepositoryServer(server.kind, "Authorization", "nobody has it")
    try:
        server.index["left-over"] = [{"name": "left-over", "vers": "1.0.0", "deps": [], "features": {}, "yanked": False,
                                      "cksum": "0" * 64}]  # fmt: skip
        server.index_config = {"dl": elsewhere.base("cargo")}
        done = run_cargo("fetch", cwd=a_crate(tmp_path / "work", "work", NEEDS), check=False)
        assert done.returncode != 0 and "upstream-redirect" in done.stderr
        server.index_config = {"api": elsewhere.base("cargo")}
        done = run_cargo("publish", "--registry", "all", "--no-verify", cwd=a_crate(tmp_path / "left-over", "left-over"),
                         check=False)  # fmt: skip
        assert done.returncode != 0 and "does not support API commands" in done.stderr
        assert elsewhere.heads == []
    finally:
        elsewhere.stop()
    never_saw_the_token(server, "cargo")


def test_an_index_that_a_redirect_leads_to_is_held_to_the_same(
    server: RepositoryServer, secret: Path, tmp_path: Path, mintfs: Daemon, run_cargo: Callable[..., Any]
) -> None:
    """Its path is then another, and cargo still reads it for the index's configuration."""
    elsewhere = RepositoryServer(server.kind, "Authorization", "nobody has it")
    try:
        index = "" if server.kind == "nexus" else "/index"
        config, other = f"{server.places['cargo']}{index}/config.json", f"{server.places['cargo']}{index}/x/other.json"
        document = json.dumps({"dl": elsewhere.base("cargo"), "auth-required": True}).encode()
        server.answers["GET", other] = (200, "application/json", document)
        for target in (server.url + other, f"{elsewhere.url}/config.json"):
            server.answers["GET", config] = (302, "text/plain", target.encode())
            mintfs.configure(of_server(server, secret, redirect_origins=[elsewhere.url]))
            mintfs.stop()
            mintfs.start()
            done = run_cargo("fetch", cwd=a_crate(tmp_path / target.rpartition("/")[2], "work", NEEDS), check=False)
            assert done.returncode != 0 and "upstream-redirect" in done.stderr, done.stderr
        assert elsewhere.heads == []
    finally:
        elsewhere.stop()
    never_saw_the_token(server, "cargo")


def test_cargo_shows_no_token_where_a_crate_is_redirected_to(
    server: RepositoryServer, secret: Path, tmp_path: Path, mintfs: Daemon, run_cargo: Callable[..., Any]
) -> None:
    """As a server does that keeps its files in an object store, which the administrator names."""
    run_cargo("publish", "--registry", "all", "--no-verify", cwd=a_crate(tmp_path / "left-over", "left-over"))
    [(path, crate)] = server.files.items()
    store = PackageServer("Host", "")  # for everybody
    try:
        store.value = store.url.removeprefix("http://")
        store.files["/blob"] = crate
        server.answers["GET", server.places["cargo"] + path] = (302, "text/plain", f"{store.url}/blob".encode())
        work = a_crate(tmp_path / "work", "work", NEEDS)
        assert "upstream-redirect" in run_cargo("fetch", cwd=work, check=False).stderr
        assert store.heads == []
        mintfs.configure(of_server(server, secret, redirect_origins=[store.url]))
        mintfs.stop()
        mintfs.start()
        run_cargo("fetch", cwd=work)
        assert [head.split()[1] for head in store.heads] == ["/blob"]
        assert all("authorization" not in head.lower() and "eyJ" not in head for head in store.heads)
    finally:
        store.stop()
    never_saw_the_token(server, "cargo")


def test_a_file_that_is_called_as_an_index_but_is_none_stays_as_it_is(
    server: RepositoryServer, mintfs: Daemon, new_job: Callable[..., Job]
) -> None:
    job = new_job(mintfs.open_lease("--configuration", "netrc", connectors=["all"]))
    index = "" if server.kind == "nexus" else "/index"
    path = f"{server.places['cargo']}{index}/config.json"
    for content in (b'{"downloads": "%s/x"}\n' % server.url.encode(), b"\x1f\x8b\0 no text", b""):
        server.answers["GET", path] = (200, "text/plain", content)
        answer = exchange(mintfs.port, request("GET", mintfs.path(path.removeprefix("/"), "all"), job.authorization()))
        assert (answer.status, answer.body) == (200, content)


# --- nobody says -----------------------------------------------------------------------------------------


def test_a_lease_with_one_repository_needs_no_format(
    server: RepositoryServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    whole = of_server(server, secret)
    del whole["formats"]
    mintfs = start_mintfs(whole)
    said = run_with(mintfs, "npmrc", "sh", "-c", 'cat "$NPM_CONFIG_USERCONFIG"', cwd=tmp_path).stdout
    assert said.startswith("# Left out: ") and "_authToken" not in said
    (package := tmp_path / "package").mkdir()
    (package / "package.json").write_text(json.dumps({"name": "left-over", "version": "1.0.0"}))
    run_with(mintfs, "npmrc", "npm", "publish", cwd=package, options=("--repository", REPOSITORIES["npm"]))
    assert "left-over" in server.packages
    never_saw_the_token(server, "npm")


def test_a_mistake_in_formats_is_told_by_its_place(
    server: RepositoryServer, secret: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(of_server(server, secret, formats={"npm": "a/b"}), ready=False)
    said = mintfs.cli("config", "check", mintfs.config, check=False)
    assert said.returncode == 1 and "connector.formats.npm: 'a/b' is not the name of a repository" in said.stderr
