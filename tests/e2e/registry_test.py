"""Images: skopeo, podman, buildah, docker and BuildKit against Debian's docker-registry, which demands the real password or a token for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.image_registry import PASSWORD, USER, ImageRegistry, TokenService
from support.job import Job
from support.mintfs import REPOSITORY, Daemon, connector, secret_file
from support.raw_http import exchange, request
from support.recorder import Recorder, Reply
from support.waiting import DEADLINE, eventually

#: Of tools/buildkit, which not every machine can build.
BUILDKIT = REPOSITORY / "build-buildkit/v0.19.0"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenService]:
    service = TokenService(tmp_path)
    yield service
    service.stop()


@pytest.fixture(params=["password", "token"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, tokens: TokenService) -> Iterator[ImageRegistry]:
    registry = ImageRegistry(tmp_path / "registry", tokens if request.param == "token" else None)
    yield registry
    registry.stop()


@pytest.fixture
def images(
    registry: ImageRegistry, tokens: TokenService, tmp_path: Path, start_mintfs: Callable[..., Daemon]
) -> Daemon:
    return start_mintfs(of_registry(registry.url, tmp_path, token_origins=[tokens.url]))


@pytest.fixture(scope="session")
def docker() -> Path:
    """Of a later Debian: this one's comes with the daemon."""
    done = subprocess.run([REPOSITORY / "tools/newer-program", "docker-cli/docker"], capture_output=True, text=True, timeout=8 * DEADLINE)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def of_registry(url: str, folder: Path, **more: Any) -> dict[str, Any]:
    file = secret_file(folder / "registry-password", PASSWORD)
    auth = {"type": "basic", "username": USER, "password_file": str(file)}
    return connector("images", url, file, **{"class": "oci", "auth": auth, "repositories": ["acme/*"], **more})


def layout(folder: Path) -> Path:
    """An image of one layer, as skopeo's "dir:" has it."""
    import gzip
    folder.mkdir()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("hello")
        entry.size = 6
        archive.addfile(entry, io.BytesIO(b"hello\n"))
    layer = gzip.compress(packed.getvalue(), mtime=0)
    diff = hashlib.sha256(packed.getvalue()).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]}}).encode()  # fmt: skip

    def described(kind: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest).write_bytes(content)
        return {"mediaType": kind, "size": len(content), "digest": f"sha256:{digest}"}

    kind = "application/vnd.docker."
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}distribution.manifest.v2+json",
                "config": described(f"{kind}container.image.v1+json", config),
                "layers": [described(f"{kind}image.rootfs.diff.tar.gzip", layer)]}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return folder


def place(mintfs: Daemon, image: str) -> str:
    return f"127.0.0.1:{mintfs.port}{mintfs.path(image, 'images')}"


def test_skopeo_pushes_and_pulls(images: Daemon, new_job: Callable[..., Job], tokens: TokenService) -> None:
    job = new_job(images.open_lease("--configuration", "netrc,docker", connectors=["images"]))
    auth = job.lease.path / ".docker/config.json" if job.lease else Path()
    options = ("--insecure-policy", "copy", "--authfile", auth)
    here = f"docker://{place(images, 'acme/app:1')}"
    image = layout(job.home / "image")
    job.run("skopeo", *options, "--dest-tls-verify=false", f"dir:{image}", here)
    job.run("skopeo", *options, "--src-tls-verify=false", here, f"dir:{job.home}/again")
    layers = json.loads((job.home / "again/manifest.json").read_text())["layers"]
    assert [layer["digest"] for layer in layers] == [
        layer["digest"] for layer in json.loads((image / "manifest.json").read_text())["layers"]
    ]
    listed = job.run("skopeo", "list-tags", "--authfile", auth, "--tls-verify=false",
                     here.rpartition(":")[0])  # fmt: skip
    assert json.loads(listed.stdout)["Tags"] == ["1"]
    assert tokens.strangers == [], "the token service is shown the real password alone"


@pytest.mark.root
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_podman_and_buildah_push_and_pull(images: Daemon, tmp_path: Path, tokens: TokenService, tool: str) -> None:
    """As a user does it: they find the file by the variable of the lease."""
    image = layout(tmp_path / "image")
    own = (tool, "--root", tmp_path / "root", "--runroot", tmp_path / "runroot", "--storage-driver", "vfs")
    here = place(images, "acme/app:1")

    def run(*command: str | Path) -> str:
        return images.cli("run", "-c", "images", "--configuration", "docker", "--", *own, *command).stdout

    local = run("pull", "--quiet", f"dir:{image}").strip()
    run("push", "--quiet", "--tls-verify=false", local, f"docker://{here}")
    run("rmi", "--all")
    assert run("pull", "--quiet", "--tls-verify=false", f"docker://{here}").strip() == local
    assert tokens.strangers == [], "the token service is shown the real password alone"


def test_docker_looks_at_an_image(
    images: Daemon, new_job: Callable[..., Job], tokens: TokenService, docker: Path, tmp_path: Path
) -> None:
    """The client alone, which needs no dockerd for this."""
    image = layout(tmp_path / "image")
    here = place(images, "acme/app:1")
    job = new_job(images.open_lease("--configuration", "docker", connectors=["images"]))
    auth = job.lease.path / ".docker/config.json" if job.lease else Path()
    job.run("skopeo", "--insecure-policy", "copy", "--authfile", auth, "--dest-tls-verify=false", f"dir:{image}", f"docker://{here}")
    asked = ("run", "-c", "images", "--configuration", "docker", "--", docker, "manifest", "inspect", "--insecure", here)
    seen = json.loads(images.cli(*asked).stdout)
    assert [layer["digest"] for layer in seen["layers"]] == [
        layer["digest"] for layer in json.loads((image / "manifest.json").read_text())["layers"]
    ]
    assert tokens.strangers == []


@pytest.mark.root
@pytest.mark.skipif(not (BUILDKIT / "buildkitd").exists(), reason="tools/buildkit was not run")
@pytest.mark.parametrize("named", ["itself", "proxy"])
def test_buildkitd_pulls_what_a_build_begins_with(
    images: Daemon, registry: ImageRegistry, tokens: TokenService, tmp_path: Path, named: str
) -> None:
    """It asks who builds for the credential, and the registry's own name leads it to the proxy."""
    image, here = layout(tmp_path / "image"), place(images, "acme/app:1")
    view = images.open_lease("--configuration", "docker,buildkitd", connectors=["images"]).path
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", "--authfile", view / ".docker/config.json",
                    "--dest-tls-verify=false", f"dir:{image}", f"docker://{here}"], check=True, timeout=DEADLINE)  # fmt: skip
    source = f"{registry.url.removeprefix('http://')}/acme/app:1" if named == "itself" else here
    (tmp_path / "Dockerfile").write_text(f"FROM {source}\nCOPY Dockerfile /copied\n")
    log, socket = tmp_path / "buildkitd.log", tmp_path / "buildkitd.sock"
    with log.open("w") as file:
        daemon = subprocess.Popen(
            [BUILDKIT / "buildkitd", "--config", view / "buildkit/buildkitd.toml", "--root", tmp_path / "buildkit", "--addr", f"unix://{socket}",
             "--oci-worker-snapshotter", "native", "--oci-worker-binary", "runc", "--oci-worker-net", "host"],
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        eventually("it listens", lambda: socket.exists() or daemon.poll() is not None)
        done = subprocess.run(
            [BUILDKIT / "buildctl", "--addr", f"unix://{socket}", "build", "--frontend", "dockerfile.v0", "--local", f"context={tmp_path}",
             "--local", f"dockerfile={tmp_path}", "--output", f"type=local,dest={tmp_path}/out"],
            capture_output=True, text=True, env={**os.environ, "DOCKER_CONFIG": str(view / ".docker")}, timeout=2 * DEADLINE,
        )  # fmt: skip
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE)
    assert done.returncode == 0, done.stderr + log.read_text()
    assert (tmp_path / "out/hello").read_text() == "hello\n" and (tmp_path / "out/copied").exists()
    assert tokens.strangers == []


def test_a_token_for_the_registry_is_asked_for_once_and_never_shown(
    tmp_path: Path, tokens: TokenService, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    registry = ImageRegistry(tmp_path / "registry", tokens)
    try:
        mintfs = start_mintfs(of_registry(registry.url, tmp_path, token_origins=[tokens.url]))
        job = new_job(mintfs.open_lease("--configuration", "netrc,docker", "--read-only", connectors=["images"]))
        answers = [ask(mintfs, job, "GET", "acme/app/tags/list") for _ in range(3)]
        assert [answer.status for answer in answers] == [404, 404, 404]
        assert tokens.scopes == ["repository:acme/app:pull"]
        assert all(token.encode() not in answer.body for answer in answers for token in tokens.tokens)
        assert ask(mintfs, job, "POST", "acme/app/blobs/uploads/").status == 403
        assert ask(mintfs, job, "GET", "other/app/tags/list").status == 403
        assert tokens.scopes == ["repository:acme/app:pull"], "no token is asked for what is refused"
    finally:
        registry.stop()


def test_the_password_goes_to_no_token_service_that_was_not_named(
    tmp_path: Path, tokens: TokenService, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    registry = ImageRegistry(tmp_path / "registry", tokens)
    try:
        mintfs = start_mintfs(of_registry(registry.url, tmp_path))
        job = new_job(mintfs.open_lease("--configuration", "netrc,docker", connectors=["images"]))
        answer = ask(mintfs, job, "GET", "acme/app/tags/list")
        assert (answer.status, answer.reason_word) == (502, "upstream-redirect")
        assert tokens.scopes == [] and tokens.strangers == []
    finally:
        registry.stop()


def ask(mintfs: Daemon, job: Job, method: str, path: str, *, token: str | None = None) -> Any:
    """As a registry's client asks."""
    header = [job.authorization()] if token is None else [token] if token else []
    return exchange(mintfs.port, request(method, f"/v2{mintfs.path(path, 'images')}", *header))


# --- against a registry by hand --------------------------------------------------------------------


@pytest.fixture
def by_hand(upstream: Recorder, tmp_path: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(
        of_registry(upstream.url, tmp_path, redirect_origins=["https://blobs.example"]),
        connector("git", upstream.url, secret_file(tmp_path / "git-password", "x")),
    )


def test_a_password_is_asked_for_below_v2_and_nowhere_else(by_hand: Daemon, new_job: Callable[..., Job]) -> None:
    job = new_job(by_hand.open_lease("--configuration", "netrc,docker", connectors=["images"]))
    for target in ("/v2/", f"/v2{by_hand.path('acme/app/tags/list', 'images')}"):
        answer = exchange(by_hand.port, request("GET", target))
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="mintfs"'), target
    root = exchange(by_hand.port, request("GET", "/v2/", job.authorization()))
    assert (root.status, root.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")
    for target in (by_hand.path("acme/app/info/refs?service=git-upload-pack"), by_hand.path("v2/", "images"), "/v2", "/"):
        answer = exchange(by_hand.port, request("GET", target))
        assert answer.status in (403, 404) and answer.headers["WWW-Authenticate"] is None, target
    for bad in ("Authorization: Bearer x", "Authorization: Basic eA=="):
        answer = exchange(by_hand.port, request("GET", "/v2/", bad))
        assert answer.status == 403 and answer.headers["WWW-Authenticate"] is None


def test_below_v2_there_are_registries_only(by_hand: Daemon, new_job: Callable[..., Job], upstream: Recorder) -> None:
    job = new_job(by_hand.open_lease())
    answer = exchange(by_hand.port, request("GET", f"/v2{by_hand.path('acme/app/manifests/1')}", job.authorization()))
    assert answer.status == 404 and upstream.requests == []
    assert exchange(by_hand.port, request("GET", "/v2/", job.authorization())).status == 404


def test_an_upload_goes_on_at_the_proxy(by_hand: Daemon, new_job: Callable[..., Job], upstream: Recorder) -> None:
    job = new_job(by_hand.open_lease("--configuration", "netrc,docker", connectors=["images"]))
    upload = "/v2/acme/app/blobs/uploads/"
    for location in (f"{upstream.url}{upload}0a?_state=x", f"{upload}0a?_state=x"):
        upstream.when("POST", upload, Reply(202, {"Location": location}, b""))
        answer = ask(by_hand, job, "POST", "acme/app/blobs/uploads/")
        assert answer.headers["Location"] == f"/v2{by_hand.path('acme/app/blobs/uploads/0a?_state=x', 'images')}"
    upstream.when("POST", upload, Reply(202, {"Location": "https://elsewhere.example/v2/acme/app/blobs/uploads/0a"}, b""))
    assert ask(by_hand, job, "POST", "acme/app/blobs/uploads/").status == 502
    upstream.requests.clear()
    ask(by_hand, job, "POST", "acme/app/blobs/uploads/?mount=sha256:0a&from=other/secret")
    assert upstream.requests[-1].target == upload, "no layer is taken from a repository that was not asked about"


def test_a_blob_is_fetched_where_the_administrator_says(
    by_hand: Daemon, new_job: Callable[..., Job], upstream: Recorder
) -> None:
    job = new_job(by_hand.open_lease("--configuration", "netrc,docker", connectors=["images"]))
    blob = "/v2/acme/app/blobs/sha256:0a"
    upstream.when("GET", blob, Reply(307, {"Location": "https://blobs.example/0a?signed=1"}, b""))
    answer = ask(by_hand, job, "GET", "acme/app/blobs/sha256:0a")
    assert (answer.status, answer.headers["Location"]) == (307, "https://blobs.example/0a?signed=1")
    upstream.when("GET", blob, Reply(307, {"Location": "https://elsewhere.example/0a"}, b""))
    assert ask(by_hand, job, "GET", "acme/app/blobs/sha256:0a").status == 502
