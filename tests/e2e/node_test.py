"""The whole of a cluster but its API server: gateways, a node's daemon under its keeper, and the CSI driver.

The objects are those of tests/support/manifests/clone.yaml, which a user applies; what is replaced in them is what
their comments ask to replace.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from support import csi, gateway
from support.api_server import CLASSES, CONNECTORS, LEASES, PODS, SECRETS, ApiServer
from support.csi import Driver, Kubelet, mounts_below, running
from support.gateway import MASTER, Cluster, Gateway, Node
from support.git_server import GitServer
from support.mintfs import REPOSITORY, STRANGER, connector, secret_file, token_in
from support.ports import own_loopback_address
from support.raw_http import exchange, request
from support.tls import Authority
from support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.root

SERVICE = "connectors-proxy-service.connectors-system.svc"
SPACE, CONNECTOR = "connectors-git-demo", "test-connector"
USER, PASSWORD = "username", "password"  # as the manifest has them
REPOSITORY_PATH = "AlaudaDevops/connectors-git"


@dataclass
class World:
    """A cluster with two gateways and one node."""

    api: ApiServer
    cluster: Cluster
    server: GitServer
    gateways: list[Gateway]
    hosts: list[str]
    node: Node
    kubelet: Kubelet
    manifests: dict[str, dict[str, Any]]
    pods: list[csi.Pod] = field(default_factory=list)

    def pod(self, name: str = "git-clone", **more: Any) -> csi.Pod:
        """One of the Job: it is in the API server, and kubelet has its volume and its token."""
        known = self.cluster.add(gateway.Pod(name, SPACE, "default", more.pop("runs_on", "node-1")))
        self.api.put(PODS, known.object())
        (volume,) = self.manifests["Job"]["spec"]["template"]["spec"]["volumes"]
        assert volume["csi"]["driver"] == "connectors-csi" and volume["csi"]["readOnly"] is True
        attributes = {name.replace(".", "_"): value for name, value in volume["csi"]["volumeAttributes"].items()}
        return csi.Pod(self.kubelet, name, SPACE, volume["name"], known.uid, token=known.token,
                       **{**attributes, **more})  # fmt: skip

    def delete(self, pod: csi.Pod) -> None:
        """`kubectl delete pod`, and the garbage collector after it."""
        self.api.delete(PODS, pod.name, pod.space)
        self.api.collect(pod.uid)

    def clone(self, pod: csi.Pod, replica: int, to: Path) -> None:
        """The Job's command, in a container whose DNS knows the service."""
        (container,) = self.manifests["Job"]["spec"]["template"]["spec"]["containers"]
        assert container["volumeMounts"] == [{"name": "gitconfig", "mountPath": "/root/"}]
        command = [*container["command"], *container["args"]]
        assert command[-1] == "/tmp/demo"
        resolve = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.curloptResolve",
                   "GIT_CONFIG_VALUE_0": f"{SERVICE}:80:{self.hosts[replica]}"}  # fmt: skip
        subprocess.run([*command[:-1], str(to)], env=pod.environment(**resolve), check=True, capture_output=True,
                       timeout=DEADLINE)  # fmt: skip

    def ask(self, replica: int, token: str) -> tuple[int, str]:
        """What a replica's proxy says to a token."""
        basic = base64.b64encode(f":{token}".encode()).decode()
        path = f"/namespaces/{SPACE}/connectors/{CONNECTOR}/{REPOSITORY_PATH}.git/info/refs?service=git-upload-pack"
        answer = exchange(80, request("GET", path, f"Authorization: Basic {basic}", host=SERVICE), host=self.hosts[replica])
        return answer.status, answer.body.decode(errors="replace")

    def leases(self) -> list[dict[str, Any]]:
        return self.api.objects(LEASES)


def manifests(server: GitServer) -> dict[str, dict[str, Any]]:
    text = (REPOSITORY / "tests/support/manifests/clone.yaml").read_text().replace("https://github.com", server.url)
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def apply(api: ApiServer, objects: dict[str, dict[str, Any]]) -> None:
    """As the API server takes them; what stringData is to a Secret, it makes of it."""
    (git,) = yaml.safe_load_all((REPOSITORY / "deploy/kubernetes/gateway/class-git.yaml").read_text())
    api.put(CLASSES, git)
    secret = dict(objects["Secret"])
    written = secret.pop("stringData")
    api.put(SECRETS, {**secret, "data": {k: base64.b64encode(v.encode()).decode() for k, v in written.items()}})
    connector = objects["Connector"]
    api.put(CONNECTORS, {**connector, "metadata": {**connector["metadata"], "generation": 1}})


@pytest.fixture
def api(authority: Authority) -> Iterator[ApiServer]:
    server = ApiServer(authority)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stubs")


Start = Callable[..., World]


@pytest.fixture
def start(
    tmp_path: Path, stubs: Path, api: ApiServer, authority: Authority, start_server: Callable[..., GitServer]
) -> Iterator[Start]:
    with ExitStack() as started:

        def ends_well(daemon: Gateway | Node) -> None:
            assert daemon.stop() == 0, daemon.log()

        def begin(*csi_options: str, open_own_namespace: bool = True, **node_options: Any) -> World:
            server = start_server(users={USER: PASSWORD})
            server.create(REPOSITORY_PATH, {"hello.txt": "hello\n"})
            cluster, objects = Cluster(api), manifests(server)
            apply(api, objects)
            hosts = [own_loopback_address(80) for _ in range(2)]
            gateways = [Gateway(tmp_path / f"gateway-{number}", api, authority, f"http://{SERVICE}", proxy={"listen": f"{host}:80"}, open_own_namespace=open_own_namespace)
                        for number, host in enumerate(hosts)]  # fmt: skip
            for each in gateways:
                started.callback(ends_well, each)
                each.start()
            for each in gateways:
                eventually("the gateway is ready", lambda each=each: "leases of the cluster are known" in each.log())
                eventually("it serves the connector", lambda each=each: each.ask_admin("/readyz")[0] == 200)
            node = Node(tmp_path / "node", gateways[0], **node_options)
            started.callback(ends_well, node)
            node.start()
            kubelet = Kubelet(started.enter_context(running(Driver(tmp_path, node.control, *csi_options))).start(), stubs)
            return World(api, cluster, server, gateways, hosts, node, kubelet, objects)

        yield begin


# --- what a user sees ---------------------------------------------------------------------------------


def test_the_documented_job_clones_through_either_gateway(start: Start, tmp_path: Path) -> None:
    world = start()
    pod = world.pod().publish()
    first, second = pod.gitconfig.read_text(), pod.gitconfig.read_text()
    assert token_in(first) != token_in(second), "each cat shows another token"
    assert f"http://{SERVICE}/namespaces/{SPACE}/connectors/{CONNECTOR}/" in first
    assert "Authorization: Basic " in first and world.server.url in first
    for replica in range(2):
        eventually("it has heard of the lease", lambda replica=replica: world.ask(replica, token_in(first))[0] == 200)
        world.clone(pod, replica, tmp_path / f"clone-{replica}")
        assert (tmp_path / f"clone-{replica}/hello.txt").read_text() == "hello\n"
    (lease,) = world.leases()
    assert lease["metadata"]["ownerReferences"][0]["uid"] == pod.uid
    assert [lease["metadata"]["name"]] == world.node.leases()
    pod.unpublish()
    eventually("it is closed in the cluster", lambda: world.leases() == [])
    assert not mounts_below(world.kubelet.driver.kubelet) and not pod.target.exists() and world.node.leases() == []


def test_a_deleted_pod_is_refused_by_both_replicas(start: Start) -> None:
    world = start()
    pod = world.pod().publish()
    token = token_in(pod.gitconfig.read_text())
    for replica in range(2):
        eventually("it redeems", lambda replica=replica: world.ask(replica, token)[0] == 200)
    began = time.monotonic()
    world.delete(pod)
    for replica in range(2):
        eventually("it refuses", lambda replica=replica: "lease-closed" in world.ask(replica, token)[1])
    print(f"both replicas refused {1000 * (time.monotonic() - began):.0f} ms after the deletion")
    assert world.ask(0, token_in(pod.gitconfig.read_text()))[0] == 403, "nor does a fresh one help"


def test_a_node_that_was_killed_goes_on_minting_also_while_the_gateways_are_away(start: Start, tmp_path: Path) -> None:
    world = start()
    pod = world.pod().publish()
    mount, before = pod.mount(), pod.gitconfig.read_text()
    eventually("the other has heard of the lease", lambda: world.ask(1, token_in(before))[0] == 200)
    world.gateways[0].kill()  # whom it asks
    world.node.wait_for_successor_of(world.node.kill_served())
    after = pod.gitconfig.read_text()
    assert token_in(after) != token_in(before) and pod.mount() == mount
    world.clone(pod, 1, tmp_path / "clone")
    world.node.cli("upgrade")
    world.clone(pod, 1, tmp_path / "upgraded")
    world.gateways[0].start()


def test_the_node_holds_nothing_of_the_connectors_secret_and_no_master_key(start: Start) -> None:
    world = start()
    pod = world.pod().publish()
    (lease,) = world.node.leases()
    pod.gitconfig.read_text()
    secrets = [PASSWORD, base64.b64encode(PASSWORD.encode()).decode(),
               base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), MASTER.hex()]  # fmt: skip
    held = [file for file in world.node.root.rglob("*") if file.is_file() and world.node.mount not in file.parents]
    assert world.node.runtime / "leases" / f"{lease}.json" in held
    places = {str(file): file.read_bytes() for file in held}
    for pid in world.node.processes():
        for name in ("environ", "cmdline"):
            places[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    for where, content in places.items():
        for secret in (secret.encode() for secret in secrets):
            assert secret not in content, where
        if not where.endswith("/token"):
            assert gateway.NODE_TOKEN.encode() not in content and pod.token.encode() not in content, where
    assert os.stat(world.node.runtime / "leases" / f"{lease}.json").st_mode & 0o777 == 0o600
    assert not (world.node.state / "master-keys").exists()
    key = base64.b64encode(gateway.derived_key(lease)).decode().encode()
    assert [where for where, content in places.items() if key in content] == [str(world.node.runtime / f"leases/{lease}.json")]


# --- while a pod runs ---------------------------------------------------------------------------------


def test_a_republish_renews_the_lease_with_the_fresh_token(start: Start) -> None:
    world = start("--lease-ttl", "1h")
    pod = world.pod().publish()
    (before,) = world.leases()
    driver = world.kubelet.driver
    driver.stop()
    driver.options[:] = ["--lease-ttl", "20h"]
    driver.start()
    known = world.cluster.pods.pop(pod.token)  # it has expired
    pod.token = "fresh-token"
    world.cluster.add(known, pod.token)
    pod.publish()
    (after,) = world.leases()
    assert after["metadata"]["name"] == before["metadata"]["name"]
    assert after["spec"]["expires"] > before["spec"]["expires"]
    (held,) = world.node.control_api("GET", "/v1/leases")[1]["leases"]
    assert held["expires"][:16] == after["spec"]["expires"][:16]
    assert "renewed lease" in driver.log() and pod.token not in driver.log() + world.node.log()


def test_a_lease_that_the_administrator_deleted_is_given_up_and_opened_anew(start: Start) -> None:
    world = start("--lease-ttl", "1h")
    pod = world.pod().publish()
    (lease,) = world.leases()
    world.api.delete(LEASES, lease["metadata"]["name"], SPACE)
    driver = world.kubelet.driver
    driver.stop()
    driver.options[:] = ["--lease-ttl", "20h"]
    driver.start()
    eventually("it is given up", lambda: pod.publish() and lease["metadata"]["name"] not in world.node.leases())
    pod.publish()
    (fresh,) = world.leases()
    assert fresh["metadata"]["name"] != lease["metadata"]["name"]
    token = token_in(pod.gitconfig.read_text())
    eventually("the new one is redeemed", lambda: world.ask(1, token)[0] == 200)


def test_what_is_closed_while_the_gateway_is_away_is_closed_when_it_is_back(start: Start) -> None:
    world = start()
    pod = world.pod().publish()
    world.gateways[0].kill()
    pod.unpublish()
    assert world.node.leases() == [] and len(world.leases()) == 1
    eventually("it is told", lambda: "as soon as they can be asked" in world.node.log())
    world.gateways[0].start()
    eventually("it is closed there too", lambda: world.leases() == [])


# --- bad input: the event says which and what to do, and nothing is left --------------------------------------


def nothing_is_left(world: World, pod: csi.Pod) -> None:
    assert not mounts_below(world.kubelet.driver.kubelet) and not pod.target.exists()
    assert world.node.leases() == []
    # What a gateway opened before the node refused is given back beside the answer.
    eventually("the gateways' leases are gone", lambda: world.leases() == [])


def test_what_a_pod_cannot_have_is_told_in_its_event(start: Start) -> None:
    world = start(open_own_namespace=False)
    allowed = (f"system:serviceaccount:{SPACE}:default", f"{SPACE}/{CONNECTOR}")
    pod = world.pod()

    def told(code: str, *words: str, asked: csi.Pod = pod, **fields: Any) -> None:
        got, message = asked.refusal(**fields)
        assert got == code, message
        for word in words:
            assert word in message, message
        nothing_is_left(world, asked)

    told("PERMISSION_DENIED", f"{SPACE}/default", f"{SPACE}/{CONNECTOR}", "bind a role")
    world.cluster.allowed.add(allowed)
    told("INVALID_ARGUMENT", "readOnly: true", readonly=False)
    told("INVALID_ARGUMENT", "npmrc-of-old", "gitconfig", asked=world.pod("other", configuration_names="npmrc-of-old"))
    told("PERMISSION_DENIED", "node", asked=world.pod("elsewhere", runs_on="node-2"))
    wrong = world.pod("audience")
    world.cluster.pods[wrong.token].audience = "https://kubernetes.default.svc"
    told("PERMISSION_DENIED", "token", asked=wrong)
    context = dict(pod.request().volume_context)
    context[csi.TOKENS] = pod.tokens("vault")
    told("PERMISSION_DENIED", "no token", "tokenRequests", volume_context=context)
    other = world.cluster.pods[world.pod("victim").token]
    pod.token, own = other.token, pod.token
    told("PERMISSION_DENIED", "victim", "git-clone")
    pod.token = own
    secret = world.api.get(SECRETS, "test-secret", SPACE)
    world.api.delete(SECRETS, "test-secret", SPACE)
    eventually("the gateway has heard", lambda: pod.is_refused("There is no Secret 'test-secret'"))
    told("NOT_FOUND", f"{SPACE}/{CONNECTOR}", "test-secret", "describe connector")
    assert secret
    world.api.put(SECRETS, {**secret, "type": "Opaque"})
    eventually("the gateway has heard", lambda: pod.is_refused("'test-secret' cannot be used: type is not"))
    world.api.delete(CONNECTORS, CONNECTOR, SPACE)
    eventually("the gateway has heard", lambda: pod.is_refused("There is none in the namespace"))
    nothing_is_left(world, pod)


def test_a_gateway_that_cannot_be_asked_is_told_and_kubelet_comes_again(start: Start) -> None:
    world = start()
    pod = world.pod()
    world.gateways[0].kill()
    code, message = pod.refusal()
    assert code == "UNAVAILABLE" and "gateway-unreachable" in message and "kubectl" in message
    nothing_is_left(world, pod)
    world.gateways[0].start()
    eventually("it is published", lambda: _published(pod))


def _published(pod: csi.Pod) -> bool:
    try:
        return pod.publish().is_published()
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()
        return False


def test_a_node_with_a_credential_or_without_a_gateway_does_not_start(start: Start, tmp_path: Path) -> None:
    world = start()
    told = Node(tmp_path / "second", world.gateways[0], keeper=False)
    told.configure(connector("git", world.server.url, secret_file(tmp_path / "password", "x")))
    assert "--role node holds no credential: remove [[connector]] 'default/git'" in told.refuses_to_start()
    told.configure()
    assert "[node]" in told.refuses_to_start()


def test_a_node_opens_leases_for_pods_only(start: Start) -> None:
    world = start()
    status, answer = world.node.control_api("POST", "/v1/leases", {"connectors": [f"{SPACE}/{CONNECTOR}"]})
    assert (status, answer["reason"]) == (403, "lease-denied")
    body = {"connectors": [f"{SPACE}/{CONNECTOR}"], "pod": f"{SPACE}/git-clone", "pod_token": world.pod().token}
    status, answer = world.node.control_api("POST", "/v1/leases", body, uid=STRANGER)
    assert (status, answer["reason"]) == (403, "lease-denied")
    assert world.leases() == []
