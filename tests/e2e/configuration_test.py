"""The files of other tools in the view: real clients, exact sizes, the same over a restart."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.git_server import PASSWORD, GitServer
from support.job import Job
from support.mintfs import REPOSITORY, Daemon, Lease, base_environment, connector, secret_file
from support.recorder import Recorder, Reply
from support.tls import Authority

#: The machine's, and a newer one where tools/newer-git has built it.
_GITS = [Path("/usr/bin"), *(f for f in [REPOSITORY / "build-git/bin"] if (f / "git").exists())]
ALL = ("gitconfig", "git-credentials", "netrc", "npmrc", "yarnrc", "pip", "pypirc", "maven", "docker", "buildkitd",
       "cargo", "gh", "glab", "sonar", "kubeconfig")  # fmt: skip
PLACES = {
    ".gitconfig", "git/config", ".git-credentials", ".netrc", ".npmrc", ".yarnrc.yml", "pip/pip.conf",
    ".config/pip/pip.conf", ".pypirc", ".m2/settings.xml", ".docker/config.json", "buildkit/buildkitd.toml",
    ".config/buildkit/buildkitd.toml", ".cargo/credentials.toml", ".cargo/config.toml", "gh/hosts.yml",
    ".config/gh/hosts.yml", "gh/config.yml", ".config/gh/config.yml", "glab-cli/config.yml",
    ".config/glab-cli/config.yml", "sonar-project.properties", ".kube/config",
}  # fmt: skip


def _with(daemon: Daemon, *names: str) -> Lease:
    return daemon.open_lease("--configuration", ",".join(names))


def _files(view: Path) -> dict[str, Path]:
    return {str(path.relative_to(view)): path for path in view.rglob("*") if path.is_file()}


def _run(command: list[str], env: dict[str, str], cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def _with_https(start: Callable[..., Daemon], authority: Authority, *connectors: dict[str, Any]) -> Daemon:
    """A daemon whose proxy listens with https, vouched for by `authority`."""
    issued = authority.issue("IP:127.0.0.1")
    daemon = start(*connectors, ready=False)
    daemon.url = daemon.url.replace("http://", "https://")
    daemon.configure(*connectors, proxy={"tls_certificate": issued.certificate, "tls_key": issued.key,
                                         "tls_ca": authority.certificate})  # fmt: skip
    return daemon.start()


# --- the view ----------------------------------------------------------------------------------------


def test_a_view_holds_what_its_lease_has_asked_for_and_nothing_else(recorded: Daemon) -> None:
    assert set(_files(_with(recorded, *ALL).path)) == PLACES
    assert set(_files(_with(recorded, "npmrc", "pip").path)) == {".npmrc", "pip/pip.conf", ".config/pip/pip.conf"}
    assert set(_files(recorded.open_lease().path)) == {".gitconfig", "git/config"}


def test_every_file_is_as_long_as_it_says_and_fresh_at_each_open(recorded: Daemon) -> None:
    for name, path in _files(_with(recorded, *ALL).path).items():
        texts = [path.read_bytes() for _ in range(3)]
        assert {len(text) for text in texts} == {path.stat().st_size}, name
        if name in (".netrc", ".git-credentials"):  # which are for the recorded connector's class
            assert len(set(texts)) == 3, name
        with pytest.raises(OSError):
            path.open("ab")


def test_every_file_is_the_same_node_after_a_restart(kept: Daemon) -> None:
    lease = _with(kept, *ALL)
    with contextlib.ExitStack() as handles:
        opened = {name: handles.enter_context(path.open()) for name, path in _files(lease.path).items()}
        before = {name: (os.fstat(handle.fileno()).st_ino, handle.read()) for name, handle in opened.items()}
        served = kept.kill_served()
        kept.wait_for_successor_of(served)
        for name, handle in opened.items():
            handle.seek(0)
            assert handle.read() == before[name][1], f"{name}: one handle is one snapshot"
    for name, path in _files(lease.path).items():
        assert path.stat().st_ino == before[name][0], name
        assert len(path.read_text()) == len(before[name][1]) == path.stat().st_size, name


def test_the_configurations_of_a_lease_outlive_a_restart(recorded: Daemon) -> None:
    lease = _with(recorded, "npmrc", "netrc")
    recorded.kill()
    recorded.start()
    assert set(_files(lease.path)) == {".npmrc", ".netrc"}
    assert recorded.control_api("GET", f"/v1/leases/{lease.id}")[1]["configurations"] == ["npmrc", "netrc"]
    assert "npmrc, netrc" in recorded.cli("lease", "show", lease.id).stdout


def test_an_unknown_configuration_is_refused_and_the_known_are_listed(recorded: Daemon) -> None:
    done = recorded.cli("lease", "open", "-c", "git", "--configuration", "gitconfig,mavn", check=False)
    assert done.returncode == 1 and "'mavn'" in done.stderr
    assert all(name in done.stderr for name in ALL)
    assert recorded.cli("lease", "open", "-c", "git", "--configuration", "a,,b", check=False).returncode == 2
    assert recorded.leases() == []


def test_no_variable_that_points_a_tool_at_its_file_holds_a_token(mintfs: Daemon) -> None:
    lease = _with(mintfs, *ALL)
    tokens = [line.rsplit(" ", 1)[1] for line in (lease.path / ".netrc").read_text().splitlines()]
    for form in ("env", "podman", "docker", "json"):
        said = mintfs.cli("lease", "show", lease.id, "--format", form).stdout
        assert not any(token in said for token in tokens) and "eyJ" not in said
        for name in ("NETRC", "NPM_CONFIG_USERCONFIG", "PIP_CONFIG_FILE", "KUBECONFIG", "DOCKER_CONFIG"):
            assert name in said or form == "json"
    assert json.loads(said)["configurations"] == list(ALL)


# --- netrc -------------------------------------------------------------------------------------------


def test_curl_authenticates_by_the_netrc(mintfs: Daemon, server: GitServer) -> None:
    lease = _with(mintfs, "netrc")
    url = f"{mintfs.url}{mintfs.path('acme/app.git/info/refs?service=git-upload-pack')}"
    options = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    done = _run(["curl", *options, "--netrc-file", str(lease.path / ".netrc"), url], base_environment(), mintfs.root)
    assert done.stdout == "200"
    home = base_environment(HOME=lease.path)
    assert _run(["curl", *options, "--netrc", url], home, mintfs.root).stdout == "200", "the view as HOME"
    assert _run(["curl", *options, url], home, mintfs.root).stdout == "403"
    mintfs.close_lease(lease)
    assert all(access.authorization.startswith("Basic ") and access.status == 200 for access in server.accesses())


def test_pythons_requests_finds_the_netrc_by_its_variable(mintfs: Daemon) -> None:
    program = (
        "import requests, sys; sys.exit(requests.get(sys.argv[1]).status_code != 200)",
        f"{mintfs.url}{mintfs.path('acme/app.git/info/refs?service=git-upload-pack')}",
    )
    asked = ["run", "-c", "git", "--configuration", "netrc", "--", "/usr/bin/python3", "-c", *program]
    mintfs.cli(*asked)


# --- .git-credentials --------------------------------------------------------------------------------


# The proxy answers git 403 and not 401, so that it never prompts; then git asks its helpers only where it is told to
# do so at once (http.proactiveAuth, git 2.46).
@pytest.mark.parametrize("folder", _GITS, ids=lambda folder: folder.parent.name)
def test_git_takes_its_credentials_from_the_view(mintfs: Daemon, folder: Path) -> None:
    asked = ["run", "-c", "git", "--configuration", "git-credentials", "--", "git", "-c", "http.proactiveAuth=basic"]
    env = {"GIT_TERMINAL_PROMPT": "0", "PATH": f"{folder}:{os.environ['PATH']}"}
    done = mintfs.cli(*asked, "ls-remote", f"{mintfs.url}{mintfs.path('acme/app.git')}", "HEAD", env=env, check=False)
    if folder == _GITS[0]:
        assert "token-missing" in done.stderr
    else:
        assert "HEAD" in done.stdout and done.stderr == "", "nothing is written back to a view"


def test_gits_own_store_reads_the_file(mintfs: Daemon) -> None:
    lease = _with(mintfs, "git-credentials")
    helper = f"credential.helper=store --file={lease.path}/.git-credentials"
    done = subprocess.run(
        ["git", "-c", helper, "credential", "fill"], input=f"url={mintfs.url}/\n\n", capture_output=True, text=True,
        env=base_environment(HOME=mintfs.root, GIT_TERMINAL_PROMPT="0"), check=True,
    )  # fmt: skip
    assert "username=git\n" in done.stdout and "password=ey" in done.stdout


def test_a_gitconfig_beside_them_goes_on_to_work(mintfs: Daemon, server: GitServer, new_job: object) -> None:
    lease = _with(mintfs, "git-credentials", "gitconfig")
    job = Job(mintfs.root / "home", lease)
    job.clone(f"{server.url}/acme/app.git")


# --- gh ----------------------------------------------------------------------------------------------


def test_gh_authenticates_by_its_hosts_file(
    upstream: Recorder, password: Path, authority: Authority, start_mintfs: Callable[..., Daemon]
) -> None:
    forge = connector("forge", upstream.url, password, **{"class": "github", "plain_get": True})
    mintfs = _with_https(start_mintfs, authority, forge)
    upstream.when("GET", "/api/v3/user", Reply(200, {"Content-Type": "application/json"}, b'{"login": "octo"}'))
    asked = ["run", "-c", "forge", "--configuration", "gh", "--", "gh", "api", "user", "--jq", ".login"]
    host = f"127.0.0.1:{mintfs.port}/namespaces/default/connectors/forge"
    env = {"SSL_CERT_FILE": str(authority.certificate), "GH_HOST": host, "GH_NO_UPDATE_NOTIFIER": "1"}
    assert mintfs.cli(*asked, env=env).stdout == "octo\n"
    assert PASSWORD in base64.b64decode(upstream.requests[-1].all("Authorization")[0].split()[1]).decode()


# --- files of the administrator ----------------------------------------------------------------------

_OWN = """
[[file]]
name = "own"
path = ".config/own/config.json"
variable = "OWN_CONFIG"
escape = "json"
template = '''
{"lease": "{{lease}}", "servers": [{{#connectors}}{"url": "{{url}}", "header": "Basic {{basic}}"}{{^last}},{{/last}}{{/connectors}}]}
'''
"""


def test_a_file_of_the_administrators_is_rendered_and_works(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password), ready=False)
    with mintfs.config.open("a") as config:
        config.write(_OWN)
    mintfs.start()
    asked = ["run", "-c", "git", "--configuration", "own", "--", "sh", "-c", 'cat "$OWN_CONFIG"']
    assert json.loads(mintfs.cli(*asked).stdout)["servers"][0]["url"] == f"{mintfs.url}{mintfs.path()}".rstrip("/")

    lease = _with(mintfs, "own")
    file = lease.path / ".config/own/config.json"
    first, second = json.loads(file.read_text()), json.loads(file.read_text())
    assert first["lease"] == lease.id and first["servers"] != second["servers"], "minted at each open"
    assert file.stat().st_size == len(file.read_text())
    url, header = first["servers"][0]["url"], first["servers"][0]["header"]
    url += "/acme/app.git/info/refs?service=git-upload-pack"
    done = _run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: {header}", url],
                base_environment(), mintfs.root)  # fmt: skip
    assert done.stdout == "200"
    node = file.stat().st_ino
    mintfs.kill()
    mintfs.start()
    assert file.stat().st_ino == node and len(file.read_text()) == file.stat().st_size


def test_a_mistake_in_a_template_is_told_at_start_by_its_key(
    upstream: Recorder, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(connector("git", upstream.url, password), ready=False)
    with mintfs.config.open("a") as config:
        config.write(_OWN.replace("{{lease}}", "{{password}}"))
    said = mintfs.refuses_to_start()
    assert "file.template: knows no 'password'; known here are proxy_url" in said
    assert "file.template" in mintfs.cli("config", "check", mintfs.config, check=False).stdout + said


# --- two connectors, one address ---------------------------------------------------------------------


def test_two_connectors_for_one_address_are_refused_or_ordered_by_priority(
    server: GitServer, password: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    wrong = secret_file(tmp_path / "wrong", "not it")
    pair = [connector("other", server.url, wrong), connector("git", server.url, password)]
    mintfs = start_mintfs(*pair)
    done = mintfs.cli("lease", "open", "-c", "other", "-c", "git", check=False)
    assert done.returncode == 1 and mintfs.leases() == []
    assert f"'default/other' and 'default/git' both claim https://{server.url.split('://')[1]}/" in done.stderr

    mintfs.configure(pair[0], {**pair[1], "priority": 1})
    mintfs.stop()
    mintfs.start()
    job = new_job(mintfs.open_lease(connectors=("other", "git")))
    job.clone(f"{server.url}/acme/app.git")
