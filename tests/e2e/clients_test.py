"""More real clients, each against a server that demands the real credential: yarn, pnpm, flit, pip by JSON, Go."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.mintfs import Daemon, connector, secret_file
from support.package_server import PackageServer
from support.tls import Authority
from support.waiting import DEADLINE

SECRET = "the-real-credential"
NODE_CLIENTS = ("yarn@1.22.22", "@yarnpkg/cli-dist@4.5.3", "pnpm@9.15.4")
FLIT = ("flit==3.10.1", "flit_core==3.10.1", "docutils==0.21.2", "tomli_w==1.1.0")


@pytest.fixture
def server() -> Iterator[PackageServer]:
    server = PackageServer("Authorization", f"Bearer {SECRET}")
    yield server
    server.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "secret", SECRET)


def of_class(kind: str, server: PackageServer, secret: Path, **more: Any) -> dict[str, Any]:
    auth = {"type": "bearer", "token_file": str(secret)}
    return connector(kind, server.url, secret, **{"class": kind, "auth": auth, **more})


def with_https(mintfs: Daemon, authority: Authority, *connectors: dict[str, Any]) -> Daemon:
    issued = authority.issue("IP:127.0.0.1")
    mintfs.url = mintfs.url.replace("http://", "https://")
    mintfs.configure(*connectors, proxy={"tls_certificate": issued.certificate, "tls_key": issued.key,
                                         "tls_ca": authority.certificate})  # fmt: skip
    return mintfs.start()


def run_with(mintfs: Daemon, name: str, files: str, *command: str | Path, cwd: Path, **env: str | Path) -> str:
    asked = ("run", "-c", name, "--configuration", files, "--", "env", "-C", cwd, *command)
    return mintfs.cli(*asked, env={name: str(value) for name, value in env.items()}).stdout


def never_saw_the_token(server: PackageServer) -> None:
    assert server.strangers == [], "who shows another credential, or none, came past the proxy"
    assert server.seen, "the client asked"
    assert all("eyJ" not in head for head in server.heads), "the job's token stays at the proxy"


# --- yarn --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def node_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the pinned versions, which npm fetches from where the machine gets its packages."""
    folder = tmp_path_factory.mktemp("clients")
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *NODE_CLIENTS], capture_output=True,
                          text=True, timeout=4 * DEADLINE, env={**os.environ, "HOME": str(folder)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "node_modules"


def keep_npm_package(server: PackageServer, name: str, prefix: str = "") -> None:
    """Below `prefix` of the server, as npm's registry has it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, text in {"package.json": json.dumps({"name": name, "version": "1.0.0", "main": "index.js"}),
                           "index.js": "module.exports = 'here';\n"}.items():  # fmt: skip
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    base = name.rpartition("/")[2]
    path = f"{prefix}/{name}/-/{base}-1.0.0.tgz"
    dist = {"tarball": f"{server.url}{path}", "shasum": hashlib.sha1(packed.getvalue()).hexdigest()}
    version = {"name": name, "version": "1.0.0", "dist": dist}
    document = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    for asked in {name, name.replace("/", "%2f"), name.replace("/", "%2F")}:
        server.answers["GET", f"{prefix}/{asked}"] = (200, "application/json", json.dumps(document).encode())
    server.answers["GET", path] = (200, "application/octet-stream", packed.getvalue())


def a_project(folder: Path, *needs: str) -> Path:
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": "project", "dependencies": dict.fromkeys(needs, "1.0.0")}))
    return folder


@pytest.mark.parametrize("name", ["left-over", "@acme/left-over"])
def test_yarn_1_installs(
    server: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], node_clients: Path, name: str
) -> None:
    mintfs = start_mintfs(of_class("npm", server, secret))
    keep_npm_package(server, name)
    work = a_project(tmp_path / "work", name)
    run_with(mintfs, "npm", "npmrc", "node", node_clients / "yarn/bin/yarn.js", "install", "--non-interactive",
             "--cache-folder", tmp_path / "cache", cwd=work,
             # Without it yarn 1 shows a token for packages with a scope alone; newer npms complain of it.
             **({} if "@" in name else {"NPM_CONFIG_ALWAYS_AUTH": "true"}))  # fmt: skip
    assert (work / "node_modules" / name / "index.js").exists()
    never_saw_the_token(server)


@pytest.mark.parametrize("name", ["left-over", "@acme/left-over"])
def test_yarn_4_installs(
    server: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], node_clients: Path, name: str
) -> None:
    mintfs = start_mintfs(of_class("npm", server, secret, **({"repositories": ["@acme/*"]} if "@" in name else {})))
    keep_npm_package(server, name)
    work = a_project(tmp_path / "work", name)
    (work / "yarn.lock").write_text("")
    run_with(mintfs, "npm", "yarnrc", "sh", "-ec", 'HOME="$1/$MINTFS_LEASE" exec node "$2" install', "sh", mintfs.mount,
             node_clients / "@yarnpkg/cli-dist/bin/yarn.js", cwd=work, YARN_GLOBAL_FOLDER=tmp_path / "yarn", YARN_NODE_LINKER="node-modules",
             YARN_ENABLE_TELEMETRY="0")  # fmt: skip
    assert (work / "node_modules" / name / "index.js").exists()
    never_saw_the_token(server)


@pytest.mark.parametrize("name", ["left-over", "@acme/left-over"])
def test_pnpm_installs(
    server: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], node_clients: Path, name: str
) -> None:
    mintfs = start_mintfs(of_class("npm", server, secret))
    keep_npm_package(server, name)
    work = a_project(tmp_path / "work", name)
    run_with(mintfs, "npm", "npmrc", "node", node_clients / "pnpm/bin/pnpm.cjs", "install", "--no-frozen-lockfile",
             "--store-dir", tmp_path / "store", cwd=work, XDG_CACHE_HOME=tmp_path / "cache", XDG_STATE_HOME=tmp_path / "state")  # fmt: skip
    assert (work / "node_modules" / name / "index.js").exists()
    never_saw_the_token(server)


# --- flit --------------------------------------------------------------------------------------------


def test_flit_publishes(secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon]) -> None:
    flit = tmp_path / "flit"
    subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", flit, *FLIT],
                   check=True, capture_output=True, timeout=4 * DEADLINE)  # fmt: skip
    server = PackageServer("Authorization", "Basic " + base64.b64encode(f"__token__:{SECRET}".encode()).decode())
    try:
        mintfs = start_mintfs(of_class("pypi", server, secret, auth={"type": "token", "token_file": str(secret)}))
        work = tmp_path / "work"
        work.mkdir()
        (work / "left_over.py").write_text('"""What is left over."""\n__version__ = "1.0"\n')
        (work / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
            '[project]\nname = "left-over"\ndynamic = ["version", "description"]\n'
        )
        script = 'exec /usr/bin/python3 -m flit publish --pypirc "$1/$MINTFS_LEASE/.pypirc" --repository pypi'
        run_with(mintfs, "pypi", "pypirc", "sh", "-ec", script, "sh", mintfs.mount, cwd=work, PYTHONPATH=flit)
        assert "/packages/left_over-1.0-py2.py3-none-any.whl" in server.files
        never_saw_the_token(server)
    finally:
        server.stop()


# --- pip by the JSON form of the index -----------------------------------------------------------------


def test_pip_installs_by_the_json_index(
    server: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    """PEP 691, which pip prefers; links are absolute, or relative to the page."""
    mintfs = start_mintfs(of_class("pypi", server, secret))
    kind = "application/vnd.pypi.simple.v1+json"
    for project, url in (("left-over", f"{server.url}/packages/"), ("right-over", "../../packages/")):
        module = project.replace("-", "_")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"{module}/__init__.py", "")
            archive.writestr(f"{module}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
            archive.writestr(f"{module}-1.0.dist-info/WHEEL",
                             "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")  # fmt: skip
            archive.writestr(f"{module}-1.0.dist-info/RECORD", "")
        file = f"{module}-1.0-py3-none-any.whl"
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": [{"filename": file, "url": url + file, "hashes": {}}]}
        server.answers["GET", f"/simple/{project}/"] = (200, kind, json.dumps(page).encode())
        server.files[f"/packages/{file}"] = packed.getvalue()
    run_with(mintfs, "pypi", "pip", "/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-cache-dir",
             "--disable-pip-version-check", "--target", tmp_path / "site", "left-over", "right-over", cwd=tmp_path)  # fmt: skip
    assert (tmp_path / "site/left_over/__init__.py").exists() and (tmp_path / "site/right_over/__init__.py").exists()
    assert any(kind in head for head in server.heads)
    never_saw_the_token(server)


# --- Go ----------------------------------------------------------------------------------------------


def test_go_takes_modules_from_a_repository_by_its_netrc(
    server: PackageServer, secret: Path, tmp_path: Path, authority: Authority, start_mintfs: Callable[..., Daemon]
) -> None:
    """Go shows what .netrc has to https alone."""
    nexus = of_class("nexus", server, secret, repositories=["go-group"])
    mintfs = with_https(start_mintfs(nexus, ready=False), authority, nexus)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("example.com/one@v1.0.0/go.mod", "module example.com/one\n")
        archive.writestr("example.com/one@v1.0.0/one.go", "package one\n\nconst Here = \"here\"\n")
    for file, content in {"list": b"v1.0.0\n", "v1.0.0.info": b'{"Version":"v1.0.0","Time":"2024-01-01T00:00:00Z"}',
                          "v1.0.0.mod": b"module example.com/one\n", "v1.0.0.zip": packed.getvalue()}.items():  # fmt: skip
        server.answers["GET", f"/repository/go-group/example.com/one/@v/{file}"] = (200, "text/plain", content)
    work = tmp_path / "work"
    work.mkdir()
    (work / "go.mod").write_text("module example.org/main\n\ngo 1.19\n\nrequire example.com/one v1.0.0\n")
    (work / "main.go").write_text('package main\n\nimport "example.com/one"\n\nfunc main() { println(one.Here) }\n')
    run_with(mintfs, "nexus", "netrc", "/usr/bin/go", "vet", ".", cwd=work,
             GOPROXY=f"{mintfs.url}{mintfs.path('repository/go-group', 'nexus')}", SSL_CERT_FILE=authority.certificate,
             GONOSUMDB="example.com", GONOSUMCHECK="1", GOFLAGS="-mod=mod -modcacherw", GOTOOLCHAIN="local",
             GOMODCACHE=tmp_path / "mod", GOCACHE=tmp_path / "cache", CGO_ENABLED="0")  # fmt: skip
    assert (tmp_path / "mod/example.com/one@v1.0.0/one.go").exists()
    never_saw_the_token(server)
