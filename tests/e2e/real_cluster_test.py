"""Gateways against a real control plane: what the scripted API server of the other tests only plays.

Opted in, as the programs take minutes to build: MINTFS_REAL_CLUSTER=$(tools/real-api-server), or
tools/test --only real-cluster. Needs root, for the files that a pod finds its cluster by.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import real_cluster
from support.gateway import Answer, Gateway, mint
from support.git_server import PASSWORD, USER, GitServer
from support.mintfs import REPOSITORY, base_environment
from support.real_cluster import ControlPlane, Object
from support.tls import Authority
from support.waiting import eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not real_cluster.programs(), reason="was not asked for: MINTFS_REAL_CLUSTER is not set"),
]
SPACE, CONNECTOR = "connectors-git-demo", "test-connector"
OURS = "/apis/connectors.alauda.io/v1alpha1"
CONNECTORS, LEASES = f"{OURS}/namespaces/{SPACE}/connectors", f"{OURS}/connectorleases"
MANIFESTS = REPOSITORY / "tests/support/manifests/clone.yaml"
AUDIENCE = "http://connectors-proxy-service.connectors-system.svc"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With the definitions, the gateway's role and the node's account as they are deployed."""
    root = tmp_path_factory.mktemp("plane")
    plane = ControlPlane(real_cluster.programs() or Path(), root / "plane", Authority(root / "authority"))
    try:
        plane.start()
        install(plane)
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(root)


def install(plane: ControlPlane) -> None:
    deploy = REPOSITORY / "deploy/kubernetes"
    plane.kubectl("apply", "-k", deploy / "crds")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    plane.kubectl("apply", "-k", deploy / "namespace")
    plane.kubectl("apply", "-k", deploy / "gateway")
    plane.kubectl("apply", "-f", deploy / "node/account.yaml")
    plane.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
    plane.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})


@dataclass
class Site:
    """One namespace's worth of what a user applies, and the pods in it."""

    plane: ControlPlane
    builder: Object  # the pod that clones
    node: str  # the token of the node's daemon

    @property
    def token(self) -> str:
        return self.plane.token_of(self.builder, "mintfs")

    def conditions(self) -> dict[str, tuple[str, str]]:
        held = self.plane.get(f"{CONNECTORS}/{CONNECTOR}") or {}
        return {c["type"]: (c["status"], c["reason"]) for c in held.get("status", {}).get("conditions", [])}

    def leases(self) -> list[Object]:
        return self.plane.list(LEASES)


@pytest.fixture
def site(plane: ControlPlane, server: GitServer) -> Iterator[Site]:
    """The documented objects, unchanged but for the address and the password, which are the reader's to fill in."""
    plane.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    text = MANIFESTS.read_text().replace("https://github.com #", f"{server.url} #")
    text = text.replace("username: username", f"username: {USER}").replace(
        "password: password", f"password: {json.dumps(PASSWORD)}")
    text = text.replace("AlaudaDevops/connectors-git.git #", "acme/app.git #")
    plane.create(f"/api/v1/namespaces/{SPACE}/serviceaccounts",
                 {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})
    plane.kubectl("apply", "-f", "-", text=text)
    plane.kubectl("-n", SPACE, "create", "role", "uses-connectors", "--verb=get", "--resource=connectors.connectors.alauda.io")
    plane.kubectl("-n", SPACE, "create", "rolebinding", "uses-connectors", "--role=uses-connectors",
                  f"--serviceaccount={SPACE}:default")  # fmt: skip
    node = plane.run_pod("connectors-system", "mintfs-node-1", "mintfs-node", "node-1")
    yield Site(plane, plane.run_pod(SPACE, "git-clone-x", "default", "node-1"), plane.token_of(node, "mintfs-gateway"))
    plane.delete("/api/v1/namespaces/connectors-system/pods/mintfs-node-1")
    # Nobody empties a namespace here.
    for collection in ("pods", "secrets", "serviceaccounts", "events"):
        plane.ask("DELETE", f"/api/v1/namespaces/{SPACE}/{collection}", {"gracePeriodSeconds": 0})
    plane.ask("DELETE", CONNECTORS)
    plane.ask("DELETE", f"{OURS}/namespaces/{SPACE}/connectorleases")
    plane.ask("DELETE", f"/apis/batch/v1/namespaces/{SPACE}/jobs")
    plane.ask("DELETE", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SPACE}/rolebindings")
    plane.ask("DELETE", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SPACE}/roles")
    plane.ask("DELETE", f"/api/v1/namespaces/{SPACE}")
    plane.ask("PUT", f"/api/v1/namespaces/{SPACE}/finalize",
              {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}, "spec": {"finalizers": []}})


Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path, plane: ControlPlane, authority: Authority) -> Iterator[Start]:
    """A replica with the token of its own service account, bound to its own pod, as kubelet gives it."""
    started: list[Gateway] = []
    pods: list[str] = []

    def begin(name: str, *, as_pod: bool = False) -> Gateway:
        pod = plane.run_pod("connectors-system", name, "mintfs-gateway", "node-1")
        pods.append(f"/api/v1/namespaces/connectors-system/pods/{name}")
        token = plane.token_of(pod)
        folder = tmp_path / f"{name}-account"
        folder.mkdir()
        (folder / "token").write_text(token)
        (folder / "namespace").write_text("connectors-system")
        shutil.copy(plane.ca, folder / "ca.crt")
        started.append(Gateway(tmp_path / name, plane, authority, AUDIENCE, token=token, trust=plane.ca,
                               account=folder if as_pod else None, host=name))  # fmt: skip
        started[-1].start()
        eventually("the gateway is ready", lambda: "leases of the cluster are known" in started[-1].log())
        return started[-1]

    yield begin
    try:
        for gateway in started:
            assert gateway.stop() == 0, gateway.log()
    finally:
        for gateway in started:
            gateway.kill()
        for pod in pods:
            plane.delete(pod)


def opened(gateway: Gateway, site: Site) -> dict[str, Any]:
    answer = eventually("the lease is open", lambda: (a := gateway.open_with(site.node, site.token, f"{SPACE}/{CONNECTOR}"))
                        .status not in (422, 503) and a)  # fmt: skip
    assert answer.status == 201, answer
    return answer.body


def git(gateway: Gateway, token: str, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """git as the pod runs it; where the Service would lead is said here."""
    url = f"{gateway.url}/namespaces/{SPACE}/connectors/{CONNECTOR}/"
    done = subprocess.run(["git", "-c", f"http.extraHeader=Authorization: Bearer {token}", "-c",
                           f"url.{url}.insteadOf=https://github.com/", *map(str, command)], capture_output=True,
                          text=True, env=base_environment(HOME=gateway.root), timeout=120)  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def refused(gateway: Gateway, token: str) -> bool:
    done = git(gateway, token, "ls-remote", "https://github.com/acme/app.git", check=False)
    return done.returncode != 0 and "403" in done.stderr


def test_from_the_documented_objects_to_a_clone_by_every_replica(start: Start, site: Site, tmp_path: Path) -> None:
    first, second = start("gateway-1"), start("gateway-2", as_pod=True)
    lease = opened(first, site)
    (held,) = site.leases()
    assert held["metadata"]["name"] == lease["id"] and held["metadata"]["namespace"] == SPACE
    (owner,) = held["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Pod", site.builder["metadata"]["uid"])
    assert held["spec"]["node"] == "node-1" and held["spec"]["serviceAccount"] == "default"
    token = mint(lease, f"{SPACE}/{CONNECTOR}")
    for gateway in (first, second):
        eventually("it has heard of the lease", lambda gateway=gateway: not refused(gateway, token))
        git(gateway, token, "clone", "-q", "https://github.com/acme/app.git", tmp_path / f"clone-{gateway.root.name}")
        assert (tmp_path / f"clone-{gateway.root.name}/hello.txt").read_text() == "hello\n"
    for secret in (PASSWORD, lease["key"], site.node, token):
        assert secret not in first.log() + second.log()


def test_a_deleted_pod_ends_its_lease_everywhere_by_the_real_collector(start: Start, site: Site) -> None:
    replicas = (start("gateway-1"), start("gateway-2"))
    lease = opened(replicas[0], site)
    token = mint(lease, f"{SPACE}/{CONNECTOR}")
    for gateway in replicas:
        eventually("it redeems", lambda gateway=gateway: not refused(gateway, token))
    begun = time.monotonic()
    site.plane.delete(f"/api/v1/namespaces/{SPACE}/pods/git-clone-x")
    eventually("the collector takes the lease", lambda: not site.leases())
    collected = time.monotonic() - begun
    for gateway in replicas:
        eventually("it is refused", lambda gateway=gateway: refused(gateway, token))
    print(f"pod deleted: its lease collected {collected:.3f} s, refused by all {time.monotonic() - begun:.3f} s after")


def test_a_revoked_lease_is_refused_by_the_watch(start: Start, site: Site) -> None:
    gateway = start("gateway-1")
    lease = opened(gateway, site)
    token = mint(lease, f"{SPACE}/{CONNECTOR}")
    assert not refused(gateway, token)
    site.plane.kubectl("-n", SPACE, "delete", "connectorlease", lease["id"], "--wait=false")
    deleted = time.monotonic()
    eventually("it is refused", lambda: refused(gateway, token))
    print(f"lease deleted: refused {time.monotonic() - deleted:.3f} s after kubectl has said so")


def test_who_may_not_get_the_connector_gets_no_lease(start: Start, site: Site) -> None:
    gateway = start("gateway-1")
    opened(gateway, site)
    site.plane.create(f"/api/v1/namespaces/{SPACE}/serviceaccounts",
                      {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}})  # fmt: skip
    stranger = site.plane.run_pod(SPACE, "stranger", "other", "node-1")
    elsewhere = site.plane.run_pod(SPACE, "elsewhere", "default", "node-2")

    def reason(pod: Object, audience: str = "mintfs", node: str = site.node) -> str:
        answer: Answer = gateway.open_with(node, site.plane.token_of(pod, audience), f"{SPACE}/{CONNECTOR}")
        assert answer.status == 403, answer
        return str(answer.body["reason"])

    assert reason(stranger) == "connector-denied"
    assert reason(elsewhere) == "caller-denied"  # of another node
    assert reason(site.builder, "") == "caller-denied"  # for the API server itself
    assert reason(site.builder, "mintfs", site.token) == "caller-denied"  # no node
    assert len(site.leases()) == 1
    # A token of a pod that is gone.
    token = site.token
    site.plane.delete(f"/api/v1/namespaces/{SPACE}/pods/git-clone-x")
    answer = gateway.open_with(site.node, token, f"{SPACE}/{CONNECTOR}")
    assert answer.status == 403 and answer.body["reason"] == "caller-denied"


def test_the_status_and_an_event_tell_an_administrator_what_is_wrong(start: Start, site: Site) -> None:
    start("gateway-1")
    eventually("it is ready", lambda: site.conditions().get("Ready") == ("True", "Ready"))
    status = (site.plane.get(f"{CONNECTORS}/{CONNECTOR}") or {})["status"]
    assert status["proxy"]["httpAddress"]["url"] == f"{AUDIENCE}/namespaces/{SPACE}/connectors/{CONNECTOR}"
    shown = site.plane.kubectl("-n", SPACE, "get", "connectors").stdout
    assert "True" in shown and "test-connector" in shown
    site.plane.delete(f"/api/v1/namespaces/{SPACE}/secrets/test-secret")
    eventually("it is not", lambda: site.conditions().get("Ready") == ("False", "SecretNotFound"))
    (event,) = eventually("an event tells it", lambda: site.plane.list(f"/api/v1/namespaces/{SPACE}/events"))
    assert (event["reason"], event["involvedObject"]["name"]) == ("SecretNotFound", CONNECTOR)
    assert "SecretNotFound" in site.plane.kubectl("-n", SPACE, "describe", "connector", CONNECTOR).stdout


def test_the_role_gives_nothing_else(start: Start, site: Site, tmp_path: Path) -> None:
    gateway = start("gateway-1")
    opened(gateway, site)
    token = (gateway.root / "token").read_text()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}}
    system = "/api/v1/namespaces/connectors-system"
    for method, path, body in (
        ("GET", f"/api/v1/namespaces/{SPACE}/secrets/test-secret", None),
        ("POST", f"/api/v1/namespaces/{SPACE}/secrets", secret),
        ("DELETE", f"/api/v1/namespaces/{SPACE}/secrets/test-secret", None),
        ("GET", f"/api/v1/namespaces/{SPACE}/pods", None),
        ("POST", f"{system}/serviceaccounts/mintfs-node/token", {}),
        ("PATCH", f"{CONNECTORS}/{CONNECTOR}", {"spec": {"address": "https://elsewhere.invalid"}}),
        ("DELETE", f"{CONNECTORS}/{CONNECTOR}", None),
        ("DELETE", LEASES.replace("/connectorleases", f"/namespaces/{SPACE}/connectorleases"), None),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", None),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/connectors-system/leases", None),
        ("DELETE", "/apis/coordination.k8s.io/v1/namespaces/connectors-system/leases/mintfs-status", None),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", None),
        ("GET", "/api/v1/nodes", None),
    ):
        assert site.plane.ask(method, path, body, token).status == 403, (method, path)
    for path in ("/api/v1/secrets", f"{CONNECTORS}/{CONNECTOR}"):
        assert site.plane.ask("GET", path, token=site.node).status == 401, "the node's token is for gateways only"
    # Nothing that a gateway asks for is refused to it.
    assert "403" not in gateway.log() and "forbidden" not in gateway.log()


def test_the_definition_refuses_a_changed_lease(start: Start, site: Site) -> None:
    lease = opened(start("gateway-1"), site)
    path = f"{OURS}/namespaces/{SPACE}/connectorleases/{lease['id']}"
    for change in ({"connectors": ["other/one"]}, {"operations": ["push"]}, {"pod": {"name": "x", "uid": "y"}},
                   {"keyVersion": 2}, {"repositories": None}):  # fmt: skip
        answer = site.plane.ask("PATCH", path, {"spec": change})
        assert answer.status == 422, (change, answer)
    later = {"spec": {"expires": "2030-01-01T00:00:00Z"}}
    held = (site.plane.get(path) or {})["metadata"]["resourceVersion"]
    assert site.plane.ask("PATCH", path, later).status == 200
    late = {"metadata": {"resourceVersion": held}, "spec": {"expires": "2029-01-01T00:00:00Z"}}
    assert site.plane.ask("PATCH", path, late).status == 409, "who has not heard of a renewal must not cut it short"


def test_what_is_deployed_is_taken_whole(plane: ControlPlane) -> None:
    """Strictly validated, and the gateway by the restricted profile."""
    for folder in (".", "gateway", "overlays/kind", "overlays/k3s"):
        plane.kubectl("apply", "--dry-run=server", "-k", REPOSITORY / "deploy/kubernetes" / folder)
    rendered = plane.kubectl("kustomize", REPOSITORY / "deploy/kubernetes/gateway").stdout
    (template,) = [each["spec"]["template"] for each in yaml.safe_load_all(rendered) if each["kind"] == "Deployment"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "restricted", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}  # fmt: skip
    plane.create("/api/v1/namespaces", space)
    plane.create("/api/v1/namespaces/restricted/serviceaccounts",
                 {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mintfs-gateway"}})  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gateway"}, "spec": template["spec"]}
    answer = plane.ask("POST", "/api/v1/namespaces/restricted/pods?dryRun=All", pod)
    assert answer.status == 201, answer
    pod["spec"]["containers"][0]["securityContext"].pop("capabilities")
    assert plane.ask("POST", "/api/v1/namespaces/restricted/pods?dryRun=All", pod).status == 403


def test_gateways_do_not_queue_behind_everybody(plane: ControlPlane) -> None:
    def level(pod: str, account: str) -> str:
        token = plane.token_of(plane.run_pod("connectors-system", pod, account, "node-1"))
        answer = plane.ask("GET", "/api/v1/secrets?limit=1" if account == "mintfs-gateway" else "/version", token=token)
        plane.delete(f"/api/v1/namespaces/connectors-system/pods/{pod}")
        assert answer.status == 200, answer
        return answer.headers["X-Kubernetes-Pf-Prioritylevel-Uid"]

    levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
    high = (plane.get(f"{levels}/workload-high") or {})["metadata"]["uid"]
    assert level("asks", "mintfs-gateway") == high
    assert level("other", "mintfs-node") != high


def test_a_quiet_cluster_stays_confirmed(tmp_path: Path, authority: Authority) -> None:
    """No lease was ever opened, and for longer than a gateway trusts an old picture nothing happens."""
    plane = ControlPlane(real_cluster.programs() or Path(), tmp_path / "plane", authority)
    try:
        plane.start()
        install(plane)
        token = plane.token_of(plane.run_pod("connectors-system", "gateway", "mintfs-gateway", "node-1"))
        gateway = Gateway(tmp_path / "gateway", plane, authority, AUDIENCE, token=token)
        gateway.start()
        try:
            eventually("the leases are known", lambda: "leases of the cluster are known" in gateway.log())
            over = time.monotonic() + 4 * 60
            while time.monotonic() < over:
                assert "was not confirmed" not in gateway.log()
                time.sleep(1)
        finally:
            assert gateway.stop() == 0, gateway.log()
    finally:
        plane.stop()


def test_an_api_server_that_restarts_is_found_again(start: Start, site: Site) -> None:
    gateway = start("gateway-1")
    lease = opened(gateway, site)
    token = mint(lease, f"{SPACE}/{CONNECTOR}")
    site.plane.kill_api_server()
    assert not refused(gateway, token), "what is known serves for a while"
    answer = gateway.open_with(site.node, "whatever", f"{SPACE}/{CONNECTOR}")
    assert answer.status == 503
    site.plane.start_api_server()
    eventually("it serves again", lambda: site.plane.is_ready())
    site.plane.kubectl("-n", SPACE, "delete", "connectorlease", lease["id"], "--wait=false")
    eventually("and is heard", lambda: refused(gateway, token))
