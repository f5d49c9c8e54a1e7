"""A job that sees the proxy under another name, or its view in another place, than this machine does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import podman
from support.git_server import GitServer
from support.job import Job
from support.mintfs import MINTFS, Daemon, connector
from support.raw_http import exchange, request
from support.recorder import Recorder, Reply
from support.tls import Authority
from support.waiting import DEADLINE

SEEN = "/srv/seen-here"
_FILES = ("gitconfig", "git-credentials", "netrc", "npmrc", "yarnrc", "pip", "pypirc", "maven", "docker", "buildkitd",
          "cargo", "gh", "glab", "sonar", "kubeconfig")  # fmt: skip
_CLASSES = ("git", "github", "gitlab", "npm", "pypi", "maven", "nexus", "oci", "sonarqube", "k8s")


def _listening_at(start: Callable[..., Daemon], *connectors: dict[str, Any], **proxy: Any) -> Daemon:
    """At an address of its own beside the usual one."""
    mintfs = start(*connectors, ready=False)
    mintfs.configure(*connectors, proxy={"listen": [f"127.0.0.1:{mintfs.port}", f"127.0.0.2:{mintfs.port}"], **proxy})
    return mintfs.start()


# --- the proxy's URL -----------------------------------------------------------------------------------


def test_a_lease_names_only_urls_that_the_configuration_gives_out(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = _listening_at(start_mintfs, connector("git", upstream.url, password), other_urls=["http://mint.example/git/"])
    port = mintfs.port
    for url in (f"http://127.0.0.1:{port}", f"http://127.0.0.2:{port}/", "http://MINT.example:80/git", mintfs.url):
        lease = mintfs.open_lease("--proxy-url", url)
        assert f'[credential "{url.lower().rstrip("/").replace(":80/", "/")}"]' in lease.gitconfig.read_text(), url
        mintfs.close_lease(lease)
    opened = len(mintfs.wait_for_audit("open", 4))
    for url in ("http://evil.example", f"https://127.0.0.2:{port}", f"http://127.0.0.3:{port}", "http://mint.example",
                "http://mint.example/git/x", "http://mint.example/gi", "http://mint.example.evil/git",
                f"http://localhost:{port}"):  # fmt: skip
        done = mintfs.cli("lease", "open", "-c", "git", "--proxy-url", url, check=False)
        assert done.returncode == 1, url
        assert f"known are {mintfs.url}" in done.stderr and "proxy.other_urls" in done.stderr
        assert mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"], "proxy_url": url})[0] == 400
    for url in ("evil.example", "http://u:p@mint.example/git", "http://mint.example/git?x", "http://mint.example/\n",
                f"http://127.0.0.2:{port}.evil.example"):  # fmt: skip
        assert mintfs.cli("lease", "open", "-c", "git", "--proxy-url", url, check=False).returncode == 2, url
        assert mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"], "proxy_url": url})[0] == 400
    assert mintfs.leases() == [] and len(mintfs.audit("open")) == opened


def test_a_job_reaches_the_proxy_by_the_url_of_its_lease(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    mintfs = _listening_at(start_mintfs, connector("git", server.url, password))
    url = f"http://127.0.0.2:{mintfs.port}"
    lease = mintfs.open_lease("--proxy-url", url)
    job = new_job(lease)
    assert mintfs.url not in job.gitconfig() and url in job.gitconfig()
    said = job.git("clone", f"{server.url}/acme/app.git", env={"GIT_CURL_VERBOSE": "1"}).stderr
    assert "Trying 127.0.0.2" in said and "Trying 127.0.0.1" not in said
    assert json.loads(mintfs.cli("lease", "show", lease.id, "--format", "json").stdout)["proxy_url"] == url
    # The token is the proxy's, by whatever name that is reached, and no other lease's URL changes.
    target = mintfs.path("acme/app.git/info/refs?service=git-upload-pack")
    assert exchange(mintfs.port, request("GET", target, job.authorization())).status == 200
    assert url not in mintfs.open_lease().gitconfig.read_text()


def test_links_lead_back_by_the_url_of_the_lease(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    packages = connector("packages", upstream.url, password, **{"class": "npm"})
    mintfs = _listening_at(start_mintfs, packages, connector("git", upstream.url, password))
    url = f"http://127.0.0.2:{mintfs.port}"
    document = json.dumps({"name": "one", "dist": {"tarball": f"{upstream.url}/one/-/one-1.0.tgz"}}).encode()
    upstream.when("GET", "/one", Reply(200, {"Content-Type": "application/json"}, document))
    batch = {"objects": [{"oid": "0" * 64, "size": 1, "actions": {"download": {"href": f"{upstream.url}/acme/app.git/x"}}}]}
    upstream.when("POST", "/acme/app.git/info/lfs/objects/batch",
                  Reply(200, {"Content-Type": "application/vnd.git-lfs+json"}, json.dumps(batch).encode()))  # fmt: skip
    for options, base in ((["--proxy-url", url], url), ([], mintfs.url)):
        job = new_job(mintfs.open_lease("--configuration", "netrc", *options, connectors=["packages"]))
        got = exchange(mintfs.port, request("GET", mintfs.path("one", "packages"), job.authorization()))
        assert json.loads(got.body)["dist"]["tarball"].startswith(f"{base}/namespaces/")
        job = new_job(mintfs.open_lease(*options))
        body = json.dumps({"operation": "download", "objects": [{"oid": "0" * 64, "size": 1}]})
        asked = request("POST", mintfs.path("acme/app.git/info/lfs/objects/batch"), job.authorization(),
                        "Content-Type: application/vnd.git-lfs+json", body=body.encode())  # fmt: skip
        href = json.loads(exchange(mintfs.port, asked).body)["objects"][0]["actions"]["download"]["href"]
        assert href.startswith(f"{base}/namespaces/")


def test_the_helper_knows_the_proxy_by_the_url_of_the_lease(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = _listening_at(start_mintfs, connector("git", upstream.url, password))
    lease = mintfs.open_lease("--proxy-url", f"http://127.0.0.2:{mintfs.port}")

    def ask(host: str, of: str) -> str:
        asked = {"protocol": "http", "host": f"{host}:{mintfs.port}"}
        return str(mintfs.control_api("POST", f"/v1/leases/{of}/credentials/get", asked))

    assert "password" in ask("127.0.0.2", lease.id) and "password" in ask("127.0.0.1", lease.id)
    assert "password" not in ask("127.0.0.3", lease.id)
    assert "password" not in ask("127.0.0.2", mintfs.open_lease().id)


def test_a_url_that_is_taken_away_is_told_no_more(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    git = connector("git", upstream.url, password)
    mintfs = _listening_at(start_mintfs, git, other_urls=["http://mint.example"])
    lease, other = mintfs.open_lease("--proxy-url", "http://mint.example"), mintfs.open_lease()
    mintfs.kill()
    mintfs.start()
    assert "http://mint.example/" in lease.gitconfig.read_text()
    mintfs.stop()
    mintfs.configure(git)
    mintfs.start()
    with pytest.raises(PermissionError):
        lease.gitconfig.read_text()
    assert mintfs.url in other.gitconfig.read_text()


# --- the view's place ----------------------------------------------------------------------------------


def _with_https(start: Callable[..., Daemon], authority: Authority, *connectors: dict[str, Any]) -> Daemon:
    issued = authority.issue("IP:127.0.0.1")
    mintfs = start(*connectors, ready=False)
    mintfs.url = mintfs.url.replace("http://", "https://")
    mintfs.configure(*connectors, proxy={"tls_certificate": issued.certificate, "tls_key": issued.key,
                                         "tls_ca": authority.certificate})  # fmt: skip
    return mintfs.start()


def test_every_path_in_every_file_is_the_one_that_the_job_sees(
    upstream: Recorder, password: Path, authority: Authority, start_mintfs: Callable[..., Daemon]
) -> None:
    kinds = [connector(kind, f"http://127.0.0.1:{10000 + i}", password, **{"class": kind}) for i, kind in enumerate(_CLASSES)]
    mintfs = _with_https(start_mintfs, authority, *kinds)
    lease = mintfs.open_lease("--configuration", ",".join(_FILES), "--seen-at", SEEN, connectors=_CLASSES)
    named = 0
    for path in lease.path.rglob("*"):
        if path.is_file() and path.name != "ca.crt":
            text = path.read_text()
            assert str(mintfs.mount) not in text, path
            named += f"{SEEN}/ca.crt" in text
    assert named == 10, "each file whose format can name authorities; four of them are in two places"
    for form in ("env", "podman"):
        printed = mintfs.cli("lease", "show", lease.id, "--format", form).stdout
        assert f"{SEEN}/.gitconfig" in printed
        assert str(mintfs.mount) not in printed.replace(f"--volume={lease.path}:{SEEN}:ro", "")
    assert mintfs.cli("lease", "show", lease.id).stdout.count(SEEN) == 1


def test_a_place_that_could_be_read_in_two_ways_is_refused(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password))
    for place in ("relative", "/", "/a/../b", "/a/.", "//a", "/a//b", "/a/", "/a b", "/a:b", "/a,b", '/a"b', "/a'b", "/a\\b",
                  "/a#b", "/a;b", "/a\nb", "/a$b", "/é", "/" + "a" * 255):  # fmt: skip
        assert mintfs.cli("lease", "open", "-c", "git", "--seen-at", place, check=False).returncode == 2, place
        assert mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"], "seen_at": place})[0] == 400, place
    assert mintfs.leases() == []


@pytest.mark.root
def test_a_job_in_another_mount_namespace_trusts_the_proxy(
    server: GitServer, password: Path, authority: Authority, start_mintfs: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Where this machine's path to the view leads nowhere, as in a container."""
    mintfs = _with_https(start_mintfs, authority, connector("git", server.url, password))
    seen = tmp_path / "seen"
    seen.mkdir()
    variables = mintfs.cli("lease", "open", "-c", "git", "--seen-at", seen, "--format", "env").stdout
    view = mintfs.mount / mintfs.leases()[0]
    script = f"""
        mount --bind {view} {seen}
        mount -t tmpfs none {mintfs.runtime}
        {variables}
        git clone --quiet {server.url}/acme/app.git {tmp_path}/app
        cat {tmp_path}/app/hello.txt"""
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, timeout=DEADLINE,
                          env=mintfs.environment())  # fmt: skip
    assert done.stdout == "hello\n", done.stderr


@pytest.mark.root
def test_run_puts_the_view_and_the_proxy_where_a_container_sees_them(
    server: GitServer, password: Path, authority: Authority, start_mintfs: Callable[..., Daemon]
) -> None:
    """A real one, with a network of its own: the proxy is there by one of its addresses alone, and by https."""
    if missing := podman.what_is_missing():
        pytest.skip(missing)
    git = connector("git", server.url, password)
    with podman.network(8) as wire:
        issued = authority.issue("IP:127.0.0.1", f"IP:{wire.host}")
        mintfs = start_mintfs(git, ready=False)
        mintfs.configure(git, proxy={
            "listen": [f"127.0.0.1:{mintfs.port}", f"{wire.host}:{mintfs.port}"], "url": f"https://127.0.0.1:{mintfs.port}",
            "tls_certificate": issued.certificate, "tls_key": issued.key, "tls_ca": authority.certificate,
        })  # fmt: skip
        mintfs.start()
        inside = podman.start("--network", f"ns:{wire.path}", "--env", "HOME=/tmp", "--workdir", "/tmp")
        script = f"git clone --quiet {server.url}/acme/app.git app && cat app/hello.txt && ls -A /run/git; echo $GIT_CONFIG_VALUE_0"
        done = subprocess.run(
            [MINTFS, "run", "-c", "git", "--seen-at", "/run/git", "--proxy-url", f"https://{wire.host}:{mintfs.port}",
             "--podman", "--", *inside, podman.ROOTFS, "sh", "-ec", script],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * DEADLINE, env=mintfs.environment(),
        )  # fmt: skip
    assert done.stdout == "hello\n.gitconfig\nca.crt\ngit\n/run/git/.gitconfig\n", done.stderr
