"""mintfsd as a gateway: leases for pods that prove themselves, credentials from Secrets, revocation by the watch."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.api_server import CLASSES, CONNECTORS, EVENTS, LEASES, SECRETS, ApiServer, Refusal, Request
from support.gateway import Cluster, Gateway, Pod, derived_key, mint
from support.git_server import PASSWORD, GitServer
from support.mintfs import MINTFS, REPOSITORY
from support.tls import Authority
from support.waiting import eventually

PATH = "/namespaces/team-a/connectors/github/acme/app.git/info/refs?service=git-upload-pack"


@pytest.fixture
def api(authority: Authority) -> Iterator[ApiServer]:
    server = ApiServer(authority)
    yield server
    server.stop()


@pytest.fixture
def cluster(api: ApiServer, server: GitServer) -> Cluster:
    """team-a's connector for the private server; its builder may use it, and job-1 runs as builder on node-1."""
    cluster = Cluster(api)
    cluster.apply(server.url)
    cluster.allow("team-a/builder", "team-a/github")
    cluster.add(Pod())
    return cluster


Start = Callable[..., Gateway]


def ready(gateway: Gateway) -> None:
    """All collections are listed."""
    eventually("the gateway is ready", lambda: "leases of the cluster are known" in gateway.log())


@pytest.fixture
def start(tmp_path: Path, api: ApiServer, authority: Authority, cluster: Cluster) -> Iterator[Start]:
    started: list[Gateway] = []

    def begin(name: str = "gateway", until: Callable[[Gateway], None] = ready, **options: Any) -> Gateway:
        started.append(Gateway(tmp_path / name, api, authority, **options))
        started[-1].start()
        until(started[-1])
        return started[-1]

    yield begin
    for gateway in started:
        assert gateway.stop() == 0, gateway.log()


def fetch(gateway: Gateway, token: str, path: str = PATH) -> tuple[int, str]:
    """Status and text; status 0 where the answer was cut, as that of a lease which ends meanwhile is."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (http.client.HTTPException, ConnectionError):
        return 0, ""
    finally:
        connection.close()


def opened(gateway: Gateway, pod: Pod | None = None, **more: Any) -> dict[str, Any]:
    answer = eventually("the lease is open", lambda: (a := gateway.open(pod or Pod(), "team-a/github", **more)).status
                        not in (422, 503) and a)  # fmt: skip
    assert answer.status == 201, answer
    return answer.body


def test_a_pod_that_proves_itself_gets_a_lease_and_its_tokens_open_the_server(start: Start, api: ApiServer) -> None:
    gateway = start()
    lease = opened(gateway)
    assert lease["connectors"] == [{"name": "team-a/github", "class": "git", "address":
                                    api.get(CONNECTORS, "github", "team-a")["spec"]["address"]}]  # fmt: skip
    status, text = fetch(gateway, mint(lease, "team-a/github"))
    assert (status, "git-upload-pack" in text) == (200, True), text
    (made,) = api.objects(LEASES)
    assert made["metadata"]["name"] == lease["id"] and made["metadata"]["namespace"] == "team-a"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "job-1", "uid-of-job-1")
    assert lease["key"] not in json.dumps(made), "whoever reads leases could mint"
    for secret in (PASSWORD, lease["key"], "node-token", "token-of-job-1"):
        assert secret not in gateway.log() + (gateway.state / "audit.log").read_text()


def test_git_clones_through_the_gateway(start: Start, tmp_path: Path) -> None:
    gateway = start()
    token = mint(opened(gateway), "team-a/github")
    subprocess.run(["git", "-c", f"http.extraHeader=Authorization: Bearer {token}", "clone", "-q",
                    f"{gateway.url}/namespaces/team-a/connectors/github/acme/app.git", str(tmp_path / "clone")],
                   check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})  # fmt: skip
    assert (tmp_path / "clone/hello.txt").read_text() == "hello\n"


def test_every_replica_redeems_what_one_has_opened(start: Start) -> None:
    first, second = (start(name, audience="http://connectors-proxy-service") for name in ("one", "two"))
    lease = opened(first)
    token = mint(lease, "team-a/github")
    assert fetch(first, token)[0] == 200
    eventually("the other has heard of it", lambda: fetch(second, token)[0] == 200)


def test_a_token_of_another_key_opens_nothing(start: Start) -> None:
    gateway = start()
    lease = opened(gateway)
    other = derived_key("a" * 26)
    assert derived_key(lease["id"]).hex() != other.hex()
    assert fetch(gateway, mint(lease, "team-a/github", key=derived_key(lease["id"])))[0] == 200
    status, text = fetch(gateway, mint(lease, "team-a/github", key=other))
    assert status == 403 and "token-signature" in text


def test_a_deleted_lease_ends_at_once_everywhere(start: Start, api: ApiServer) -> None:
    first, second = (start(name, audience="http://connectors-proxy-service") for name in ("one", "two"))
    lease = opened(first)
    token = mint(lease, "team-a/github")
    eventually("both redeem", lambda: fetch(first, token)[0] == fetch(second, token)[0] == 200)
    api.delete(LEASES, lease["id"], "team-a")  # as the garbage collector does when the pod is gone
    for gateway in (first, second):
        eventually("it is refused", lambda gateway=gateway: "lease-closed" in fetch(gateway, token)[1])


def test_a_lease_that_went_while_the_watch_was_gone_is_missed_in_the_list(start: Start, api: ApiServer) -> None:
    gateway = start()
    lease = opened(gateway)
    token = mint(lease, "team-a/github")
    watches = api.wait_for_watch(LEASES)
    api._state.objects[LEASES].clear()  # nobody is told
    api.compact()
    watches.drop()
    eventually("it is refused", lambda: "lease-closed" in fetch(gateway, token)[1])


def test_the_node_closes_a_lease_of_its_own_and_no_other(start: Start, api: ApiServer, cluster: Cluster) -> None:
    gateway = start()
    lease = opened(gateway)
    cluster.add(Pod("mintfs-node-2", "connectors-system", "mintfs-node", "node-2", "mintfs-gateway"), "other-node")
    assert gateway.ask("DELETE", f"/v1/leases/{lease['id']}", bearer="other-node").status == 404
    assert gateway.ask("DELETE", f"/v1/leases/{'a' * 26}").status == 404
    assert fetch(gateway, mint(lease, "team-a/github"))[0] == 200
    assert gateway.ask("DELETE", f"/v1/leases/{lease['id']}").status == 204
    assert "lease-closed" in fetch(gateway, mint(lease, "team-a/github"))[1]
    assert api.objects(LEASES) == []


def test_a_lease_is_renewed_for_its_own_pod_on_its_own_node(start: Start, api: ApiServer, cluster: Cluster) -> None:
    first, second = (start(name, audience="http://connectors-proxy-service") for name in ("one", "two"))
    lease = opened(first, ttl_seconds=60)
    cluster.add(Pod("mintfs-node-2", "connectors-system", "mintfs-node", "node-2", "mintfs-gateway"), "other-node")
    other = cluster.add(Pod("job-2"))
    path = f"/v1/leases/{lease['id']}/renew"

    def renew(gateway: Gateway, token: str, bearer: str = "node-token", ttl: Any = 3600) -> tuple[int, str]:
        answer = gateway.ask("POST", path, {"token": token, "ttl_seconds": ttl}, bearer)
        return answer.status, answer.body.get("reason", "")

    def end() -> str:
        held = api.get(LEASES, lease["id"], "team-a")
        assert held
        return str(held["spec"]["expires"])

    before = end()
    for token, bearer, expected in ((other.token, "node-token", (404, "lease-closed")),
                                    (Pod().token, "other-node", (404, "lease-closed")),
                                    ("nonsense", "node-token", (403, "caller-denied")),
                                    (Pod().token, "nonsense", (403, "caller-denied"))):  # fmt: skip
        assert renew(first, token, bearer) == expected
    assert renew(first, Pod().token, ttl=10**9)[0] == 400
    allowed = set(cluster.allowed)
    cluster.allowed.clear()
    assert renew(first, Pod().token) == (403, "connector-denied")
    cluster.allowed |= allowed
    assert end() == before
    eventually("any replica renews it", lambda: renew(second, Pod().token) == (200, ""))
    assert end() > before
    later = opened(second, other)  # changes are heard of in their order
    eventually("the first has heard of it", lambda: fetch(first, mint(later, "team-a/github"))[0] == 200)
    assert renew(first, Pod().token, ttl=1) == (200, "") and end() > before, "it is never made shorter"
    assert second.ask("DELETE", f"/v1/leases/{later['id']}").status == 204
    api.delete(LEASES, lease["id"], "team-a")
    eventually("one that is gone does not come back", lambda: renew(first, Pod().token) == (404, "lease-closed"))
    assert api.objects(LEASES) == []


@pytest.mark.parametrize(
    "pod, reason",
    [
        (Pod("unknown"), "caller-denied"),
        (Pod("elsewhere", node="node-2"), "caller-denied"),
        (Pod("other-audience", audience="https://kubernetes.default.svc"), "caller-denied"),
        (Pod("not-allowed", account="default"), "connector-denied"),
    ],
)
def test_a_pod_that_does_not_prove_itself_gets_nothing(
    start: Start, api: ApiServer, cluster: Cluster, pod: Pod, reason: str
) -> None:
    gateway = start()
    opened(gateway)  # it works for who does
    if pod.name != "unknown":
        cluster.add(pod)
    before = len(api.objects(LEASES))
    answer = gateway.open(pod, "team-a/github")
    assert (answer.status, answer.body["reason"]) == (403, reason)
    assert len(api.objects(LEASES)) == before


@pytest.mark.parametrize("bearer", ["", "nonsense", "token-of-job-1"])
def test_only_the_node_daemon_is_answered(start: Start, api: ApiServer, bearer: str) -> None:
    gateway = start()
    answer = gateway.ask("POST", "/v1/leases", {"token": "token-of-job-1", "connectors": ["team-a/github"]}, bearer)
    assert (answer.status, answer.body["reason"]) == (403, "caller-denied")
    assert api.objects(LEASES) == []


def test_strangers_cannot_keep_the_nodes_out(start: Start, authority: Authority) -> None:
    """Any pod may connect: those who say nothing, who greet and say nothing, and who ask again and again."""
    gateway = start()
    trust = ssl.create_default_context(cafile=str(authority.certificate))
    trust.check_hostname = False
    with contextlib.ExitStack() as strangers:
        for number in range(300):
            stranger = strangers.enter_context(socket.create_connection(("127.0.0.1", gateway.desk_port), timeout=60))
            if number % 8 == 0:
                spoken = strangers.enter_context(trust.wrap_socket(stranger))
                if number % 16 == 0:
                    spoken.sendall(b"POST /v1/leases HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
                    assert spoken.recv(64).startswith(b"HTTP/1.1 403")
        lease = opened(gateway)
        answer = gateway.ask("DELETE", f"/v1/leases/{lease['id']}")
        assert answer.status == 204


def test_strangers_have_the_api_server_asked_in_bounds(start: Start, api: ApiServer) -> None:
    gateway = start()
    lease = opened(gateway)["id"]

    def reviews() -> int:
        return sum(asked(request)[1] == "tokenreviews" for request in list(api.requests))

    before, refused, answer = reviews(), 0, None
    for number in range(1000):
        answer = gateway.ask("DELETE", f"/v1/leases/{lease}", bearer=f"junk-{number}")
        if answer.status != 403:
            break
        refused += 1
    assert answer and (answer.status, answer.body["reason"]) == (429, "too-many")
    assert reviews() - before == refused
    assert gateway.ask("DELETE", f"/v1/leases/{lease}").status == 204, "a node that is known is asked about"


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"token": "token-of-job-1"}, {"token": 7, "connectors": ["team-a/github"]},
        {"token": "token-of-job-1", "connectors": []}, {"token": "token-of-job-1", "connectors": ["../x"]},
        {"token": "token-of-job-1", "connectors": ["team-a/github"], "operations": []},
        {"token": "token-of-job-1", "connectors": ["team-a/github"], "repositories": ["../x"]},
        {"token": "token-of-job-1", "connectors": ["team-a/github"], "ttl_seconds": 10**9},
        {"token": "token-of-job-1", "connectors": ["team-a/github"], "read_only": True},
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused(start: Start, api: ApiServer, body: Any) -> None:
    answer = start().ask("POST", "/v1/leases", body)
    assert (answer.status, answer.body["reason"]) == (400, "request-malformed")
    assert api.objects(LEASES) == []


def test_a_lease_is_narrowed_as_was_asked(start: Start) -> None:
    gateway = start()
    token = mint(opened(gateway, repositories=["other/*"], operations=["fetch"]), "team-a/github")
    status, text = fetch(gateway, token)
    assert status == 403 and "repository-denied" in text
    assert fetch(gateway, token, PATH.replace("acme/app", "other/secret"))[0] == 200
    status, text = fetch(gateway, token, PATH.replace("acme/app", "other/secret").replace("upload", "receive"))
    assert status == 403 and "operation-denied" in text


def test_a_replica_that_has_not_seen_all_connectors_misses_none(start: Start, api: ApiServer) -> None:
    """As every replica is when it has just started; the others serve."""
    lease = opened(start("one", audience="http://connectors-proxy-service"))
    token = mint(lease, "team-a/github")
    for _ in range(1000):
        api.script(Refusal(500, "etcd is away"), f"GET {SECRETS}")
    late = start("two", lambda gateway: api.wait_for_watch(LEASES, 2), audience="http://connectors-proxy-service")
    assert late.ask_admin("/readyz")[0] == 503 and "cluster: " in late.ask_admin("/readyz")[1], "no Service leads to it"
    answer = late.open(Pod(), "team-a/github")
    assert (answer.status, answer.body["reason"]) == (503, "leases-unconfirmed")
    renewed = late.ask("POST", f"/v1/leases/{lease['id']}/renew", {"token": Pod().token, "ttl_seconds": 3600})
    assert (renewed.status, renewed.body["reason"]) == (503, "leases-unconfirmed"), "no node gives it up"
    status, text = fetch(late, token)
    assert status == 503 and "leases-unconfirmed" in text
    api.unscript()
    eventually("it knows them", lambda: fetch(late, token)[0] == 200)
    assert late.ask_admin("/readyz")[0] == 200


def test_an_api_server_that_cannot_be_asked_is_no_yes(start: Start, api: ApiServer) -> None:
    gateway = start()
    opened(gateway)
    for where in ("POST /apis/authentication", "POST /apis/authorization", f"POST {LEASES.rsplit('/', 1)[0]}"):
        before = len(api.objects(LEASES))
        api.script(Refusal(500, "etcd is away"), where)
        answer = gateway.open(Pod(), "team-a/github")
        assert (answer.status, answer.body["reason"]) == (503, "leases-unconfirmed"), where
        assert len(api.objects(LEASES)) == before


def test_a_connector_follows_its_objects(start: Start, api: ApiServer, cluster: Cluster) -> None:
    gateway = start()
    token = mint(opened(gateway), "team-a/github")
    assert fetch(gateway, token)[0] == 200
    cluster.secret("wrong")
    eventually("the new password is used", lambda: "upstream-refused" in fetch(gateway, token)[1])
    cluster.secret(PASSWORD)
    eventually("and the next", lambda: fetch(gateway, token)[0] == 200)
    api.delete(SECRETS, "github", "team-a")
    eventually("it is withdrawn", lambda: "connector-unknown" in fetch(gateway, token)[1])
    cluster.secret(PASSWORD)
    eventually("it is back", lambda: fetch(gateway, token)[0] == 200)
    api.delete(CLASSES, "git")
    eventually("it is withdrawn", lambda: "connector-unknown" in fetch(gateway, token)[1])


def test_a_secret_of_another_namespace_is_not_used(start: Start, api: ApiServer, cluster: Cluster) -> None:
    gateway = start()
    token = mint(opened(gateway), "team-a/github")
    cluster.secret(PASSWORD, "stolen", "team-b")
    held = api.get(CONNECTORS, "github", "team-a")
    held["spec"]["auth"]["secretRef"] = {"name": "stolen", "namespace": "team-b"}
    api.put(CONNECTORS, held)
    eventually("it is withdrawn", lambda: "connector-unknown" in fetch(gateway, token)[1])


def test_a_replica_that_reads_a_new_key_late_takes_its_leases_then(start: Start) -> None:
    first, second = (start(name, audience="http://connectors-proxy-service") for name in ("one", "two"))
    old = opened(first)
    first.add_key(2, bytes(32))
    eventually("the key is read", lambda: "read again" in first.log())

    def signed_anew() -> Any:
        lease = opened(first)
        return lease["key_version"] == 2 and lease or first.ask("DELETE", f"/v1/leases/{lease['id']}").status == 0

    lease = eventually("it signs", signed_anew)
    assert old["key_version"] == 1
    token = mint(lease, "team-a/github")
    eventually("the other cannot use it yet", lambda: "its key version is not known" in second.log())
    assert fetch(second, token)[0] == 403
    second.add_key(2, bytes(32))
    eventually("now it can", lambda: fetch(second, token)[0] == 200)
    assert fetch(second, mint(old, "team-a/github"))[0] == 200


def test_a_new_key_signs_only_after_a_while(start: Start) -> None:
    """By default when kubelet has brought it to every replica; for longer here than the test takes."""
    gateway = start(key_wait="1h")
    gateway.add_key(2, bytes(32))
    eventually("the key is read", lambda: "read again" in gateway.log())
    lease = opened(gateway)
    assert lease["key_version"] == 1
    assert fetch(gateway, mint(lease, "team-a/github"))[0] == 200


def conditions(api: ApiServer) -> dict[str, tuple[str, str]]:
    connector = api.get(CONNECTORS, "github", "team-a")
    assert connector
    return {c["type"]: (c["status"], c["reason"]) for c in connector.get("status", {}).get("conditions", [])}


def test_the_status_tells_an_administrator_what_is_wrong(start: Start, api: ApiServer, cluster: Cluster) -> None:
    start(audience="http://connectors-proxy-service.connectors-system.svc")
    eventually("it is ready", lambda: conditions(api).get("Ready") == ("True", "Ready"))
    status = api.get(CONNECTORS, "github", "team-a")["status"]
    assert status["proxy"]["httpAddress"]["url"] == (
        "http://connectors-proxy-service.connectors-system.svc/namespaces/team-a/connectors/github")
    assert status["observedGeneration"] == 1
    api.delete(SECRETS, "github", "team-a")
    eventually("it is not", lambda: conditions(api)["Ready"] == ("False", "SecretNotFound"))
    assert conditions(api)["ConnectorClassReady"][0] == "True"
    (event,) = eventually("an event tells it", lambda: api.objects(EVENTS))
    assert (event["reason"], event["involvedObject"]["name"]) == ("SecretNotFound", "github")
    cluster.secret(PASSWORD)
    eventually("it is ready again", lambda: conditions(api)["Ready"] == ("True", "Ready"))


def rules(kind: str) -> set[tuple[str, str, str]]:
    documents = yaml.safe_load_all((REPOSITORY / "deploy/kubernetes/gateway/rbac.yaml").read_text())
    return {(group, resource, verb) for role in documents if role["kind"] == kind for rule in role["rules"]
            for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}  # fmt: skip


def asked(request: Request) -> tuple[str, str, str]:
    """(group, resource, verb) as RBAC names a request."""
    parts = request.path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    rest = rest[2:] if rest[0] == "namespaces" and len(rest) > 2 else rest
    verbs = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
    verb = verbs.get(request.method) or ("watch" if "watch" in request.query else "get" if len(rest) > 1 else "list")
    return group, "/".join([rest[0], *rest[2:]]), verb


def test_its_role_gives_what_it_asks_for_and_no_more(start: Start, api: ApiServer) -> None:
    gateway = start()
    lease = opened(gateway)["id"]
    renewal = {"token": Pod().token, "ttl_seconds": 60}
    assert gateway.ask("POST", f"/v1/leases/{lease}/renew", renewal).status == 200
    assert gateway.ask("DELETE", f"/v1/leases/{lease}").status == 204
    api.delete(SECRETS, "github", "team-a")
    given = rules("ClusterRole") | rules("Role")
    eventually("all is asked for", lambda: {asked(r) for r in list(api.requests)} == given)


def test_what_its_role_gives_is_documented_with_its_reason() -> None:
    text = (REPOSITORY / "docs/kubernetes.md").read_text()
    rows = re.findall(r"^\| (.*:.*) \| .+ \|$", text.partition("## What a gateway may")[2].partition("\n## ")[0], re.MULTILINE)
    documented = set()
    for part in "; ".join(rows).replace("leases of coordination.k8s.io", "leases").replace("`mintfs-status`", "leases").split("; "):
        resources, verbs = part.removeprefix("in its own namespace, ").split(": ")
        documented |= {(resource, verb) for resource in resources.split(", ") for verb in verbs.split(", ")}
    assert documented == {(resource, verb) for _, resource, verb in rules("ClusterRole") | rules("Role")}


def test_the_configuration_of_its_manifests_is_one(tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "deploy/kubernetes/gateway/config.yaml").read_text())
    file = tmp_path / "mintfs.toml"
    file.write_text(config["data"]["mintfs.toml"])
    checked = subprocess.run([MINTFS, "config", "check", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_without_master_keys_it_does_not_start(tmp_path: Path, api: ApiServer, authority: Authority) -> None:
    gateway = Gateway(tmp_path / "gateway", api, authority)
    (gateway.state / "master-keys").unlink()
    assert "mount the Secret" in gateway.refuses_to_start()
    assert not (gateway.state / "master-keys").exists(), "each replica would have a key of its own"
