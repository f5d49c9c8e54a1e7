"""LivenessReady and AuthReady: what a gateway says about the servers of its connectors, and what to do about them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api_server import CONNECTORS, ApiServer
from support.gateway import Cluster, Gateway
from support.git_server import PASSWORD, GitServer
from support.ports import free_port
from support.recorder import Recorder, Reply
from support.tls import Authority
from support.waiting import eventually

Start = Callable[..., Gateway]


@pytest.fixture
def api(authority: Authority) -> Iterator[ApiServer]:
    server = ApiServer(authority)
    yield server
    server.stop()


@pytest.fixture
def cluster(api: ApiServer) -> Cluster:
    return Cluster(api)


@pytest.fixture
def start(tmp_path: Path, api: ApiServer, authority: Authority) -> Iterator[Start]:
    started: list[Gateway] = []

    def begin(name: str = "gateway", **options: Any) -> Gateway:
        started.append(Gateway(tmp_path / name, api, authority, **options))
        started[-1].start()
        return started[-1]

    yield begin
    for gateway in started:
        assert gateway.stop() == 0, gateway.log()
        assert PASSWORD not in gateway.log()


def condition(api: ApiServer, kind: str) -> dict[str, str]:
    connector = api.get(CONNECTORS, "github", "team-a") or {}
    found = [c for c in connector.get("status", {}).get("conditions", []) if c["type"] == kind]
    return found[0] if found else {"status": "", "reason": "", "message": ""}


def told(api: ApiServer, kind: str, status: str, reason: str) -> str:
    """Waits for it and returns the message; never one with a secret in it."""
    found = eventually(f"{kind} is {status}: {reason}",
                       lambda: ((c := condition(api, kind))["status"], c["reason"]) == (status, reason) and c)  # fmt: skip
    assert PASSWORD not in str(api.get(CONNECTORS, "github", "team-a")["status"])  # type: ignore[index]
    return found["message"]


def test_a_server_that_takes_the_credential_is_ready(start: Start, api: ApiServer, cluster: Cluster, server: GitServer) -> None:
    cluster.apply(server.url)
    start()
    told(api, "AuthReady", "True", "CredentialAccepted")
    told(api, "LivenessReady", "True", "Answered")
    told(api, "Ready", "True", "Ready")
    asked = [a for a in server.accesses() if a.query == "service=git-upload-pack"]
    assert [(a.path, a.status) for a in asked] == [("/acme/app.git/info/refs", 200)], "one probe, and no second one"


def test_a_wrong_password_is_told_and_a_right_one_is_tried_at_once(
    start: Start, api: ApiServer, cluster: Cluster, server: GitServer
) -> None:
    cluster.apply(server.url, password="wrong")
    start()
    assert "Secret 'github'" in told(api, "AuthReady", "False", "CredentialRefused")
    told(api, "LivenessReady", "True", "Answered")
    told(api, "Ready", "False", "CredentialRefused")
    cluster.secret(PASSWORD)
    told(api, "Ready", "True", "Ready")


def test_a_repository_that_is_not_there_is_told(start: Start, api: ApiServer, cluster: Cluster, server: GitServer) -> None:
    cluster.apply(server.url, repository="acme/nothing.git")
    start()
    assert "'acme/nothing.git'" in told(api, "AuthReady", "False", "RepositoryNotFound")


def test_a_repository_that_is_none_is_not_asked_for(start: Start, api: ApiServer, cluster: Cluster, upstream: Recorder) -> None:
    upstream.when("GET", "/", Reply(200))
    cluster.apply(upstream.url, repository="../x\r\nHost: evil")
    start()
    told(api, "AuthReady", "Unknown", "NotTried")
    told(api, "Ready", "True", "Ready")
    assert [(r.target, r.all("Authorization")) for r in upstream.requests] == [("/", [])]


def test_a_dead_address_is_told(start: Start, api: ApiServer, cluster: Cluster) -> None:
    cluster.apply(f"http://127.0.0.1:{free_port()}")
    start()
    assert "cannot be reached" in told(api, "LivenessReady", "False", "Unreachable")
    told(api, "AuthReady", "Unknown", "NotTried")
    told(api, "Ready", "False", "Unreachable")


def test_an_address_that_hangs_is_given_up_and_holds_no_other_up(
    start: Start, api: ApiServer, cluster: Cluster, server: GitServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for number in range(20):  # more than are asked at once
            cluster.apply(f"http://127.0.0.1:{silent.getsockname()[1]}", f"dead-{number}")
        cluster.apply(server.url)
        start(proxy={"connect_timeout": "1s", "upstream_timeout": "1s"})
        told(api, "Ready", "True", "Ready")
        dead = [f"dead-{number}" for number in range(20)]
        eventually("all are told", lambda: {_ready(api, name) for name in dead} == {("False", "TimedOut")})


def _ready(api: ApiServer, name: str) -> tuple[str, str]:
    conditions = (api.get(CONNECTORS, name, "team-a") or {}).get("status", {}).get("conditions", [])
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), ("", ""))


def test_a_certificate_that_is_not_trusted_gets_no_credential(
    start: Start, api: ApiServer, cluster: Cluster, authority: Authority, start_upstream: Callable[..., Recorder]
) -> None:
    upstream = start_upstream(tls=authority.issue("IP:127.0.0.1", stem="upstream"))
    cluster.apply(upstream.url)
    start()
    assert "certificate" in told(api, "LivenessReady", "False", "CertificateUntrusted")
    assert upstream.requests == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"])
def test_a_metadata_address_is_not_asked(start: Start, api: ApiServer, cluster: Cluster, host: str) -> None:
    cluster.apply(f"http://{host}/latest")
    start()
    told(api, "LivenessReady", "False", "AddressDenied")


def test_a_redirect_to_another_server_takes_no_credential_there(
    start: Start, api: ApiServer, cluster: Cluster, start_upstream: Callable[..., Recorder]
) -> None:
    elsewhere, upstream = start_upstream(), start_upstream()
    upstream.when("GET", "/acme/app.git", Reply(302, {"Location": f"{elsewhere.url}/acme/app.git/info/refs"}))
    cluster.apply(upstream.url)
    start()
    told(api, "AuthReady", "False", "Redirected")
    assert elsewhere.requests == []


@pytest.mark.root
def test_only_the_elected_replica_asks(start: Start, api: ApiServer, cluster: Cluster, upstream: Recorder) -> None:
    upstream.when("GET", "/", Reply(200))
    cluster.apply(upstream.url)
    replicas = [start(name, audience="http://connectors-proxy-service", host=name) for name in ("one", "two", "three")]
    told(api, "Ready", "True", "Ready")
    for gateway in replicas:
        eventually("each knows the connector", lambda gateway=gateway: "leases of the cluster are known" in gateway.log())
    assert len(upstream.requests) == 1


def test_a_connector_without_a_secret_is_served(start: Start, api: ApiServer, cluster: Cluster, start_server: Callable[..., GitServer]) -> None:
    public = start_server("public", users={})
    public.create("acme/app")
    cluster.apply(public.url)
    held = api.get(CONNECTORS, "github", "team-a")
    assert held
    del held["spec"]["auth"]["secretRef"]
    api.put(CONNECTORS, held)
    start()
    told(api, "AuthReady", "True", "CredentialNotNeeded")
    assert condition(api, "SecretReady")["reason"] == "SecretNotNeeded"
    told(api, "Ready", "True", "Ready")
