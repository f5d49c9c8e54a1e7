"""The clients of package servers, each against one that demands the real credential: npm, pip, twine, Maven."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.job import Job
from support.maven import DEPLOY, GET, POM
from support.mintfs import Daemon, connector, secret_file
from support.package_server import PackageServer
from support.raw_http import exchange, request

SECRET = "the-real-credential"


@pytest.fixture
def start_packages() -> Iterator[Callable[..., PackageServer]]:
    started: list[PackageServer] = []

    def start(header: str, value: str, **options: Any) -> PackageServer:
        started.append(PackageServer(header, value, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "secret", SECRET)


def of_class(name: str, kind: str, server: PackageServer, secret: Path, **more: Any) -> dict[str, Any]:
    auth = {"type": "token", "token_file": str(secret)}
    return connector(name, server.url, secret, **{"class": kind, "auth": auth, **more})


def never_saw_the_token(server: PackageServer) -> None:
    assert server.strangers == [], "who shows another credential, or none, came past the proxy"
    assert server.seen, "the client asked"
    assert all("eyJ" not in head for head in server.heads), "the job's token stays at the proxy"


def run_with(mintfs: Daemon, name: str, files: str, *command: str | Path, cwd: Path) -> str:
    """As a user does it: the tool finds its files in the view of a lease that ends with it."""
    asked = ("run", "-c", name, "--configuration", files, "--", "env", "-C", cwd, *command)
    return mintfs.cli(*asked).stdout


# --- npm -------------------------------------------------------------------------------------------


@pytest.fixture
def npm(start_packages: Callable[..., PackageServer]) -> PackageServer:
    return start_packages("Authorization", f"Bearer {SECRET}")


def npm_package(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "main": "index.js"}))
    (folder / "index.js").write_text("module.exports = 'here';\n")
    return folder


@pytest.mark.parametrize("name", ["left-over", "@acme/left-over"])
def test_npm_publishes_and_installs(
    npm: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], name: str
) -> None:
    mintfs = start_mintfs(of_class("npm", "npm", npm, secret, repositories=["@acme/*" if "@" in name else name]))
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier")
    run_with(mintfs, "npm", "npmrc", "npm", "publish", "--access", "public", cwd=npm_package(tmp_path / "package", name))
    (work := tmp_path / "work").mkdir()
    (work / "package.json").write_text("{}")
    run_with(mintfs, "npm", "npmrc", "npm", "install", *quiet, name, cwd=work)
    said = run_with(mintfs, "npm", "npmrc", "node", "-p", f"require('{name}')", cwd=work)
    assert said.strip() == "here"
    never_saw_the_token(npm)
    lock = json.loads((work / "package-lock.json").read_text())
    assert lock["packages"][f"node_modules/{name}"]["resolved"].startswith(f"{mintfs.url}{mintfs.path(name='npm')}")


def test_npm_is_held_to_the_packages_of_its_lease(
    npm: PackageServer, secret: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(of_class("npm", "npm", npm, secret))
    job = new_job(mintfs.open_lease("--configuration", "netrc", "--repository", "@acme/*", "--read-only", connectors=["npm"]))
    npm.packages["other"] = {"name": "other"}
    npm.packages["@acme/one"] = {"name": "@acme/one"}

    def ask(method: str, path: str) -> tuple[int, str]:
        answer = exchange(mintfs.port, request(method, mintfs.path(path, "npm"), job.authorization()))
        return answer.status, answer.reason_word if answer.status != 200 else ""

    assert ask("GET", "@acme%2fone") == (200, "")
    assert ask("GET", "@acme/one") == (200, "")
    assert ask("GET", "other") == (403, "repository-denied")
    for path in ("@acme%2f..%2fother", "@acme%2f%2e%2e%2fother", "@acme%252fone", "%40acme%2f..", "other%2f@acme"):
        assert ask("GET", path)[0] == 400, path
    assert ask("PUT", "@acme%2fone") == (403, "operation-denied")
    for path in ("-/npm/v1/tokens", "-/whoami", "-/user/org.couchdb.user:x", "-/npm/v1/user"):
        assert ask("GET", path) == (403, "operation-denied"), path
        assert ask("PUT", path) == (403, "operation-denied"), path
    assert [target for _, target in npm.seen] == ["/@acme%2fone", "/@acme/one"]


def test_npm_tells_why_it_was_refused(npm: PackageServer, secret: Path, start_mintfs: Callable[..., Daemon]) -> None:
    mintfs = start_mintfs(of_class("npm", "npm", npm, secret))
    refused = mintfs.cli("run", "-c", "npm", "--repository", "@acme/*", "--configuration", "npmrc", "--",
                         "npm", "view", "--registry", f"{mintfs.url}{mintfs.path(name='npm')}", "other", check=False)  # fmt: skip
    assert "403 Forbidden, mintfs: repository-denied" in refused.stderr and npm.seen == []


# --- PyPI ------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str) -> Path:
    """The smallest wheel there is."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {
        f"{name}/__init__.py": "HERE = True\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }

    def digest(text: str) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")

    record = "".join(f"{file},sha256={digest(text)},{len(text)}\n" for file, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{name}-1.0.dist-info/RECORD", record + f"{name}-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture
def pypi(start_packages: Callable[..., PackageServer]) -> PackageServer:
    return start_packages("Authorization", "Basic " + base64.b64encode(f"__token__:{SECRET}".encode()).decode())


def test_twine_uploads_and_pip_installs(
    pypi: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(of_class("pypi", "pypi", pypi, secret))
    job = new_job(mintfs.open_lease("--configuration", "pypirc", connectors=["pypi"]))
    assert job.lease
    job.run("/usr/bin/twine", "upload", "--non-interactive", "--config-file", job.lease.path / ".pypirc", "-r", "pypi",
            wheel(tmp_path, "left_over"))  # fmt: skip
    pip = ("/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check",
           "--target")  # fmt: skip
    run_with(mintfs, "pypi", "pip", *pip, tmp_path / "site", "Left.Over", cwd=tmp_path)
    assert (tmp_path / "site/left_over/__init__.py").exists()
    # A link that does not say where it leads is resolved here too.
    file = next(iter(pypi.files)).rpartition("/")[2]
    pypi.project_links["left-over"] = [f"../../packages/{file}"]
    run_with(mintfs, "pypi", "pip", *pip, tmp_path / "again", "left-over", cwd=tmp_path)
    assert (tmp_path / "again/left_over/__init__.py").exists()
    never_saw_the_token(pypi)


def test_twine_tells_why_it_was_refused(
    pypi: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(of_class("pypi", "pypi", pypi, secret))
    job = new_job(mintfs.open_lease("--configuration", "pypirc", "--read-only", connectors=["pypi"]))
    assert job.lease
    refused = job.run("/usr/bin/twine", "upload", "--non-interactive", "--config-file", job.lease.path / ".pypirc",
                      "-r", "pypi", wheel(tmp_path, "left_over"), check=False)  # fmt: skip
    assert refused.returncode != 0 and "operation-denied" in refused.stdout + refused.stderr
    assert pypi.seen == []


def test_pip_is_held_to_the_projects_of_its_lease(
    pypi: PackageServer, secret: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = start_mintfs(of_class("pypi", "pypi", pypi, secret))
    job = new_job(mintfs.open_lease("--configuration", "netrc", "--repository", "acme-*", connectors=["pypi"]))
    pypi.project_links |= {"acme-one": [], "other": []}
    pypi.files["/packages/acme_one-1.0-py3-none-any.whl"] = b"here"

    def status(method: str, path: str) -> int:
        return exchange(mintfs.port, request(method, mintfs.path(path, "pypi"), job.authorization())).status

    assert [status("GET", path) for path in ("simple/acme-one/", "simple/Acme_One/")] == [200, 404]
    assert status("GET", "packages/acme_one-1.0-py3-none-any.whl") == 200
    for path in ("simple/other/", "simple/", "packages/other-1.0.tar.gz", "packages/acme-secret-x-1.0-py3-none-any.whl",
                 "packages/x/acme-one", "pypi/other/json", "account/"):  # fmt: skip
        assert status("GET", path) == 403, path
    assert status("POST", "") == 403, "which project an upload is for stands in its body"


# --- Maven -----------------------------------------------------------------------------------------


@pytest.fixture
def maven(start_packages: Callable[..., PackageServer]) -> PackageServer:
    return start_packages("Authorization", "Basic " + base64.b64encode(f"bot:{SECRET}".encode()).decode())


def test_maven_deploys_and_resolves(
    maven: PackageServer, secret: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    auth = {"type": "basic", "username": "bot", "password_file": str(secret)}
    # Named as Maven's own repository, of which the plugins are: what has come from there need not come from here.
    mintfs = start_mintfs(connector("central", f"{maven.url}/maven", secret, **{"class": "maven", "auth": auth},
                                    repositories=["org/acme/**"]))  # fmt: skip
    job = new_job(mintfs.open_lease("--configuration", "maven,netrc", connectors=["central"]))
    mvn = ("mvn", "-B", "-q", f"-Dmaven.repo.local={tmp_path}/m2")
    for plugin in (DEPLOY, GET):
        job.run(*mvn, f"{plugin}:help")
    assert maven.seen == []
    settings = job.lease.path / ".m2/settings.xml" if job.lease else Path()
    pom = tmp_path / "a.pom"
    pom.write_text(POM)
    place = f"{mintfs.url}{mintfs.path(name='central')}"
    job.run(*mvn, "-s", settings, f"{DEPLOY}:deploy-file", f"-Durl={place}", "-DrepositoryId=central",
            f"-Dfile={pom}", f"-DpomFile={pom}")  # fmt: skip
    assert "/maven/org/acme/a/1.0/a-1.0.pom" in maven.files
    job.run(*mvn, "-s", settings, f"{GET}:get", "-Dartifact=org.acme:a:1.0:pom")
    assert (tmp_path / "m2/org/acme/a/1.0/a-1.0.pom").exists()
    never_saw_the_token(maven)
    refused = job.run(*mvn, "-s", settings, f"{GET}:get", "-Dartifact=org.other:b:1.0:pom", check=False)
    assert "403 Forbidden, mintfs: repository-denied" in refused.stdout + refused.stderr
    outside = exchange(mintfs.port, request("GET", mintfs.path("org/other/b.pom", "central"), job.authorization()))
    assert outside.status == 403
    # Maven shows what it has to who asks.
    asked = exchange(mintfs.port, request("GET", mintfs.path("org/acme/a/1.0/a-1.0.pom", "central")))
    assert (asked.status, asked.headers["WWW-Authenticate"]) == (401, 'Basic realm="mintfs"')


# --- forms of the credential -----------------------------------------------------------------------


@pytest.mark.parametrize("kind, auth, header, value, path", [
    ("gitlab", {"type": "token"}, "PRIVATE-TOKEN", SECRET, "api/v4/version"),
    ("github", {"type": "token"}, "Authorization", f"Bearer {SECRET}", "api/v3/user"),
    ("jfrog", {"type": "token"}, "X-JFrog-Art-Api", SECRET, "artifactory/libs/a.jar"),
    ("jfrog", {"type": "bearer"}, "Authorization", f"Bearer {SECRET}", "artifactory/libs/a.jar"),
    ("nexus", {"type": "token"}, "Authorization", f"Bearer {SECRET}", "repository/raw/a"),
    ("sonarqube", {"type": "token"}, "Authorization",
     "Basic " + base64.b64encode(f"{SECRET}:".encode()).decode(), "api/server/version"),
    ("sonarqube", {"type": "bearer"}, "Authorization", f"Bearer {SECRET}", "api/server/version"),
    ("maven", {"type": "header", "name": "X-Deploy-Key"}, "X-Deploy-Key", SECRET, "org/acme/a.jar"),
])  # fmt: skip
def test_a_class_s_server_gets_the_credential_in_its_form(
    start_packages: Callable[..., PackageServer], secret: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], kind: str, auth: dict[str, str], header: str, value: str, path: str,
) -> None:  # fmt: skip
    server = start_packages(header, value)
    server.answers["GET", f"/{path}"] = (200, "text/plain", b"here")
    file = "value_file" if auth["type"] == "header" else "token_file"
    mintfs = start_mintfs(of_class("x", kind, server, secret, auth={**auth, file: str(secret)}, plain_get=True))
    job = new_job(mintfs.open_lease("--configuration", "netrc", connectors=["x"]))
    # The client's own field of that name is not what goes on.
    extra = [f"{header}: forged"] if header != "Authorization" else []
    answer = exchange(mintfs.port, request("GET", mintfs.path(path, "x"), job.authorization(), *extra))
    assert (answer.status, answer.body) == (200, b"here")
    never_saw_the_token(server)


def test_a_token_comes_in_the_form_of_each_client(
    start_packages: Callable[..., PackageServer], secret: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job],
) -> None:  # fmt: skip
    server = start_packages("PRIVATE-TOKEN", SECRET)
    server.answers["GET", "/api/v4/version"] = (200, "application/json", b"{}")
    mintfs = start_mintfs(of_class("x", "gitlab", server, secret, plain_get=True))
    job = new_job(mintfs.open_lease("--configuration", "netrc", connectors=["x"]))
    token = job.token()
    target = mintfs.path("api/v4/version", "x")
    as_user = "Authorization: Basic " + base64.b64encode(f"{token}:".encode()).decode()
    for header in (f"Authorization: Bearer {token}", as_user, f"Private-Token: {token}"):
        assert exchange(mintfs.port, request("GET", target, header)).status == 200, header
    for headers in ([f"Private-Token: {token}"] * 2, ["Private-Token: x"], ["Private-Token:"], [f"X-Token: {token}"]):
        assert exchange(mintfs.port, request("GET", target, *headers)).status == 403, headers
    never_saw_the_token(server)


# --- Kubernetes ------------------------------------------------------------------------------------


def test_kubectl_is_held_to_its_namespace(
    start_packages: Callable[..., PackageServer], secret: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], authority: Any,
) -> None:  # fmt: skip
    """kubectl shows a token to https alone."""
    server = start_packages("Authorization", f"Bearer {SECRET}", tls=authority.issue("IP:127.0.0.1", stem="api"))
    pods = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}
    resources = {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "shortNames": ["po"],
         "verbs": ["get", "list", "delete"]}]}  # fmt: skip
    answers = {
        "/version": {"major": "1", "minor": "28", "gitVersion": "v1.28.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/api/v1": resources,
        "/api/v1/namespaces/acme/pods": pods,
    }
    for path, answer in answers.items():
        server.answers["GET", path] = (200, "application/json", json.dumps(answer).encode())
    front = authority.issue("IP:127.0.0.1", stem="front")
    mintfs = start_mintfs(
        of_class("k8s", "k8s", server, secret, ca_file=str(authority.certificate), repositories=["acme"]),
        ready=False,
    )
    url = f"https://127.0.0.1:{mintfs.port}"
    mintfs.configure(
        of_class("k8s", "k8s", server, secret, ca_file=str(authority.certificate), repositories=["acme"]),
        proxy={"url": url, "tls_certificate": str(front.certificate), "tls_key": str(front.key),
               "tls_ca": str(authority.certificate)},
    )  # fmt: skip
    mintfs.start()
    lease = mintfs.open_lease("--configuration", "kubeconfig", connectors=["k8s"])
    job = new_job(lease)
    kubectl = ("kubectl", "--kubeconfig", lease.path / ".kube/config", "--cache-dir", job.home / "cache", "get", "pods")
    assert "No resources found" in job.run(*kubectl, "-n", "acme").stderr
    denied = job.run(*kubectl, "-n", "other", check=False)
    assert denied.returncode != 0 and "repository-denied" in denied.stderr + denied.stdout
    never_saw_the_token(server)
