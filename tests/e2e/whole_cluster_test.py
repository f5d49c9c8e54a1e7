"""The documented Job in a real Kubernetes: pods run, kubelet calls the CSI driver, gateways ask the API server.

Opted in, as the programs take minutes to build: MINTFS_REAL_CLUSTER=$(tools/real-api-server --node), or
tools/test --only real-cluster. Needs root and Podman. The manifests are those of deploy/kubernetes/overlays/kind; the Job's is
that of tests/support/manifests, with what its comments ask to replace.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import podman, whole_cluster
from support.git_server import GitServer
from support.mintfs import BUILD, REPOSITORY
from support.waiting import DEADLINE, eventually
from support.whole_cluster import BASE, MINTFS, NODE, Object, WholeCluster

PROGRAMS = os.environ.get("MINTFS_REAL_CLUSTER", "")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not PROGRAMS, reason="was not asked for: MINTFS_REAL_CLUSTER is not set"),
]
SYSTEM, SPACE, CONNECTOR = "connectors-system", "connectors-git-demo", "test-connector"
PROXY = f"http://connectors-proxy-service.{SYSTEM}.svc"
DEPLOY = REPOSITORY / "deploy/kubernetes"
REPOSITORY_PATH = "AlaudaDevops/connectors-git"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    """With mintfs in it as docs/kubernetes.md installs it."""
    if missing := podman.what_is_missing():
        pytest.skip(missing)
    root = tmp_path_factory.mktemp("whole")
    cluster = WholeCluster(Path(PROGRAMS), root / "cluster")
    try:
        cluster.start()
        things = list(rendered())
        with whole_cluster.images(root) as names:
            for name in names:
                cluster.take(name)
        show_demo(cluster)  # first, as they want a cluster without mintfs
        show_demo_of_programs(cluster, root)
        install(cluster, things)
        yield cluster
    except AssertionError:
        print(cluster.logs())
        raise
    finally:
        cluster.stop()


def install(cluster: WholeCluster, things: list[Object]) -> None:
    for part in ("namespace", "crds"):
        cluster.kubectl("apply", "-k", DEPLOY / part)
    prepared = subprocess.run([DEPLOY / "prepare"], check=True, capture_output=True, text=True).stdout
    cluster.kubectl("create", "-f", "-", text=prepared)
    cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(things))
    for each in ("deployment/mintfs-gateway", "daemonset/mintfs-node", "daemonset/mintfs-csi"):
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "--timeout=180s", each)


def rendered() -> Iterator[Object]:
    done = subprocess.run(["kubectl", "kustomize", DEPLOY / "overlays/kind"], check=True, capture_output=True, text=True)
    yield from yaml.safe_load_all(done.stdout)


DEMO = REPOSITORY / "tools/kubernetes-demo"


def show_demo(cluster: WholeCluster) -> None:
    assert_shown(cluster, cluster.enter(DEMO, "--overlay", "kind", "--git-image", BASE).stdout)


def assert_shown(cluster: WholeCluster, said: str) -> None:
    assert "Only who may see this sees it." in said and "no lease is left" in said, said
    assert_nothing_is_left(cluster, said)


def assert_nothing_is_left(cluster: WholeCluster, said: str) -> None:
    assert said.endswith("removed\n"), said
    assert SYSTEM not in cluster.kubectl("get", "namespaces", "--output=name")
    left = cluster.kubectl("get", "crd,clusterrole,clusterrolebinding,csidriver,flowschema", "--output=name")
    assert "connectors" not in left and "mintfs" not in left
    assert "mintfs" not in cluster.enter("cat", "/proc/self/mounts").stdout
    assert "mintfs" not in cluster.enter("ps", "-e", "-o", "comm").stdout
    assert "connectors-csi" not in cluster.kubectl("get", "csinodes", "--output=yaml")
    places = ["/run", "/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins_registry"]
    assert cluster.enter("find", *places, "-maxdepth", "2", "(", "-name", "mintfs-programs.*", "-o", "-type", "s", "(", "-path",
                         "*mintfs*", "-o", "-name", "*csi*", ")", ")").stdout == ""  # fmt: skip


def show_demo_of_programs(cluster: WholeCluster, scratch: Path) -> None:
    """In place of images; also when they fail, and when it is told to end in the middle."""
    demo = [DEMO, "--git-image", BASE, "--programs"]
    assert_shown(cluster, cluster.enter(*demo, BUILD).stdout)

    broken = scratch / "broken"
    broken.mkdir()
    for name in ("mintfsd", "mintfs-keeper"):
        (broken / name).symlink_to(BUILD / name)
    (broken / "mintfs-csi").write_text("#!/bin/sh\necho it is broken\nexit 1\n")
    (broken / "mintfs-csi").chmod(0o755)
    done = cluster.enter(*demo, broken, check=False)
    assert done.returncode == 1 and "it is broken" in done.stderr and "do not run" in done.stderr, done
    assert_nothing_is_left(cluster, done.stdout)

    done = cluster.enter("sh", "-c", '"$@" & demo=$!; until mount | grep -q kubernetes.io~csi/gitconfig || ! kill -0 $demo; do '
                         'sleep 0.1; done; kill $demo; wait $demo', "sh", *demo, BUILD, check=False)  # fmt: skip
    assert done.returncode == 130, done
    assert_nothing_is_left(cluster, done.stdout)


@pytest.fixture(scope="module")
def server(cluster: WholeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """Asks for the password that the manifest has. On the node, where pods reach it."""
    with cluster.network():
        server = GitServer(tmp_path_factory.mktemp("server"), users={"username": "password"}, host=NODE)
    server.create(REPOSITORY_PATH)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def job(cluster: WholeCluster, server: GitServer) -> Object:
    """What a user applies but for the Job, which is returned."""
    text = (REPOSITORY / "tests/support/manifests/clone.yaml").read_text()
    text = text.replace("https://github.com #", f"{server.url} #").replace("https://github.com/", f"{server.url}/")
    text = text.replace("image: bitnami/git:2.47.1", f"image: {BASE}")  # git, but for a registry
    things = list(yaml.safe_load_all(text))
    (job,) = [thing for thing in things if thing["kind"] == "Job"]
    cluster.kubectl("create", "namespace", SPACE)
    cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(t for t in things if t is not job))
    cluster.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "--timeout=60s", f"connector/{CONNECTOR}")
    return job


class Pod:
    """One with the Job's volume, that waits."""

    def __init__(self, cluster: WholeCluster, job: Object, name: str, **changes: Any) -> None:
        self.cluster, self.name = cluster, name
        spec = yaml.safe_load(yaml.safe_dump(job["spec"]["template"]["spec"]))
        spec["containers"][0] |= {"command": ["sleep"], "args": ["600"]}
        spec["terminationGracePeriodSeconds"] = 0
        csi = spec["volumes"][0]["csi"]
        csi["volumeAttributes"] |= changes.pop("attributes", {})
        csi |= changes.pop("csi", {})
        thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SPACE}, "spec": spec | changes}
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(thing))

    def is_ready(self) -> Pod:
        self.cluster.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "--timeout=120s", f"pod/{self.name}")
        return self

    def run(self, *command: str, check: bool = True) -> str:
        return self.cluster.kubectl("-n", SPACE, "exec", self.name, "--", *command, check=check)

    def gitconfig(self) -> str:
        return self.run("cat", "/root/.gitconfig")

    def complaint(self) -> str:
        """What kubelet says of the volume, below the pod."""

        def told() -> str:
            events = self.cluster.get("events", "-n", SPACE, f"--field-selector=involvedObject.name={self.name},reason=FailedMount")
            return " ".join(event["message"] for event in events["items"])

        return eventually(f"kubelet complains of {self.name}", told)

    def delete(self) -> None:
        self.cluster.kubectl("-n", SPACE, "delete", "pod", self.name, "--wait=true", "--ignore-not-found")

    def views(self) -> list[str]:
        uid = self.cluster.get("pod", "-n", SPACE, self.name)["metadata"]["uid"]
        return [line for line in self.cluster.enter("cat", "/proc/self/mounts").stdout.splitlines()
                if f"/pods/{uid}/volumes/kubernetes.io~csi/" in line]  # fmt: skip

    def leases(self) -> list[Object]:
        every = self.cluster.get("connectorleases", "-n", SPACE)["items"]
        return [lease for lease in every if lease["metadata"]["ownerReferences"][0]["name"] == self.name]


@pytest.fixture
def pods(cluster: WholeCluster, job: Object) -> Iterator[Any]:
    made: list[Pod] = []

    def make(name: str, **changes: Any) -> Pod:
        made.append(Pod(cluster, job, name, **changes))
        return made[-1]

    yield make
    for pod in made:
        pod.delete()


def token_in(gitconfig: str) -> str:
    (token,) = re.findall(r"Authorization: Basic (\S+)", gitconfig)
    return token


def test_the_documented_job_clones(cluster: WholeCluster, job: Object) -> None:
    cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(job))
    cluster.kubectl("-n", SPACE, "wait", "--for=condition=Complete", "--timeout=180s", "job/git-clone")
    assert "Cloning into '/tmp/demo'" in cluster.kubectl("-n", SPACE, "logs", "job/git-clone")
    eventually("its lease is gone", lambda: not cluster.get("connectorleases", "-n", SPACE)["items"])


def test_each_look_at_the_file_shows_another_token_for_the_proxy_in_the_cluster(pods: Any) -> None:
    pod = pods("looks").is_ready()
    seen = [pod.gitconfig() for _ in range(3)]
    assert all(f"{PROXY}/namespaces/{SPACE}/connectors/{CONNECTOR}" in each for each in seen)
    assert len({token_in(each) for each in seen}) == 3
    assert "password" not in "".join(seen)
    assert pod.run("sh", "-c", "touch /root/x 2>&1; true").strip().endswith("Read-only file system")
    (lease,) = pod.leases()
    assert lease["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    (view,) = pod.views()
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(view.split()[3].split(","))


def test_a_pod_that_ends_takes_its_tokens_with_it(cluster: WholeCluster, server: GitServer, pods: Any) -> None:
    leaver, stays = pods("leaves").is_ready(), pods("stays").is_ready()
    kept = leaver.gitconfig()
    use = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Basic {token_in(kept)}",
           f"http://{address(cluster)}/namespaces/{SPACE}/connectors/{CONNECTOR}/{REPOSITORY_PATH}.git/info/refs"
           "?service=git-upload-pack"]  # fmt: skip

    def answer() -> str:
        return cluster.enter(*use).stdout

    assert answer() == "200"
    leaver.delete()
    eventually("every replica refuses", lambda: all(answer() in ("401", "403") for _ in range(8)))
    stays.run("git", "clone", "-q", f"{server.url}/{REPOSITORY_PATH}.git", "/tmp/again")


def address(cluster: WholeCluster) -> str:
    return cluster.get("service", "-n", SYSTEM, "connectors-proxy-service")["spec"]["clusterIP"]


def test_a_pod_reads_on_while_the_node_daemon_is_replaced(cluster: WholeCluster, server: GitServer, pods: Any) -> None:
    """The DaemonSet surges: the new pod's keeper takes the mount over from the old one's."""
    pod = pods("reads").is_ready()
    pod.run("sh", "-c", "(i=0; while [ ! -e /tmp/end ]; do cat /root/.gitconfig >/tmp/seen || echo failed >>/tmp/failed; "
            "grep -q Authorization /tmp/seen || echo empty >>/tmp/failed; i=$((i + 1)); echo $i >/tmp/count; done; touch /tmp/ended) "
            ">/dev/null 2>&1 &")  # fmt: skip

    def daemons() -> list[str]:
        found = cluster.get("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=mintfs-node")["items"]
        return [each["metadata"]["name"] for each in found]

    (before,) = daemons()
    cluster.kubectl("-n", SYSTEM, "rollout", "restart", "daemonset/mintfs-node")
    cluster.kubectl("-n", SYSTEM, "rollout", "status", "--timeout=180s", "daemonset/mintfs-node")
    eventually("the old one is gone", lambda: before not in daemons(), 3 * DEADLINE)
    pod.run("sh", "-c", "touch /tmp/end; until [ -e /tmp/ended ]; do sleep 0.1; done")
    assert pod.run("sh", "-c", "cat /tmp/failed 2>/dev/null; true") == ""
    assert int(pod.run("cat", "/tmp/count")) > 10
    pod.run("git", "clone", "-q", f"{server.url}/{REPOSITORY_PATH}.git", "/tmp/after")


@pytest.mark.parametrize(("name", "changes", "says"), [
    ("unknown", {"attributes": {"connector.name": "no-such"}}, "no-such"),
    ("stranger", {"attributes": {"connector.namespace": "another"}}, "may not use connectors of another one"),
    ("misnamed", {"attributes": {"configuration.names": "gitkonfig"}}, "gitkonfig"),
    ("writable", {"csi": {"readOnly": False}}, "readOnly: true"),
])  # fmt: skip
def test_what_is_wrong_is_said_below_the_pod(cluster: WholeCluster, pods: Any, name: str, changes: Object, says: str) -> None:
    pod = pods(name, **changes)
    assert says in pod.complaint()
    assert not pod.leases() and not pod.views()


def test_a_connector_without_its_secret_is_said_below_the_pod_until_it_is_there(cluster: WholeCluster, pods: Any) -> None:
    held = cluster.get("connector", "-n", SPACE, CONNECTOR)["spec"]
    held["auth"]["secretRef"] = {"name": "late"}
    thing = {"apiVersion": "connectors.alauda.io/v1alpha1", "kind": "Connector",
             "metadata": {"name": "secretless", "namespace": SPACE}, "spec": held}  # fmt: skip
    cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(thing))
    pod = pods("waits", attributes={"connector.name": "secretless"})
    assert "There is no Secret 'late' of type kubernetes.io/basic-auth" in pod.complaint()
    assert not pod.leases() and not pod.views()
    make = ["create", "secret", "generic", "late", "--type=kubernetes.io/basic-auth"]
    cluster.kubectl("-n", SPACE, *make, "--from-literal=username=username", "--from-literal=password=password\n")
    assert "Authorization" in pod.is_ready().gitconfig()
    cluster.kubectl("-n", SPACE, "delete", "secret/late", "connector/secretless")


def test_gateways_that_are_away_are_said_below_the_pod_until_they_are_back(cluster: WholeCluster, pods: Any) -> None:
    scale = ["-n", SYSTEM, "scale", "deployment/mintfs-gateway"]
    cluster.kubectl(*scale, "--replicas=0")
    try:
        cluster.kubectl("-n", SYSTEM, "wait", "--for=delete", "--timeout=120s", "pod", "-l", "app.kubernetes.io/name=mintfs-gateway")
        pod = pods("early")
        assert "gateway-unreachable" in pod.complaint()
        assert not pod.views()
    finally:
        cluster.kubectl(*scale, "--replicas=2")
        cluster.kubectl("-n", SYSTEM, "rollout", "status", "--timeout=180s", "deployment/mintfs-gateway")
    assert "Authorization" in pod.is_ready().gitconfig()


def test_the_node_holds_nothing_of_the_credential(cluster: WholeCluster, pods: Any) -> None:
    pods("holds").is_ready()
    found = cluster.enter("grep", "-rlE", "username|password", "/run/mintfs", "/var/lib/mintfs", check=False).stdout.split()
    assert not [each for each in found if "/fs/" not in each]
    may = cluster.kubectl("auth", "can-i", "--list", f"--as=system:serviceaccount:{SYSTEM}:mintfs-node")
    assert "secrets" not in may and "connectors" not in may


def test_the_status_tells_what_is_wrong_with_a_connector(cluster: WholeCluster, job: Object) -> None:
    cluster.kubectl("-n", SPACE, "patch", "secret", "test-secret", "--type=merge", "-p", '{"stringData": {"password": "wrong"}}')
    try:
        eventually("its status says so", lambda: "False" in cluster.kubectl("-n", SPACE, "get", f"connector/{CONNECTOR}"), 3 * DEADLINE)
        assert "AuthReady" in cluster.kubectl("-n", SPACE, "get", f"connector/{CONNECTOR}", "-o", "yaml")
    finally:
        cluster.kubectl("-n", SPACE, "patch", "secret", "test-secret", "--type=merge", "-p", '{"stringData": {"password": "password"}}')
        cluster.kubectl("-n", SPACE, "wait", "--for=condition=Ready", "--timeout=120s", f"connector/{CONNECTOR}")


def test_kubelet_sees_that_the_driver_lives(cluster: WholeCluster) -> None:
    (pod,) = cluster.get("-n", SYSTEM, "pods", "--selector=app.kubernetes.io/name=mintfs-csi")["items"]
    (container,) = pod["spec"]["containers"]
    cluster.kubectl("-n", SYSTEM, "exec", pod["metadata"]["name"], "--", *container["livenessProbe"]["exec"]["command"])
    (state,) = pod["status"]["containerStatuses"]
    assert state["ready"] and state["restartCount"] == 0, state
    events = cluster.get("-n", SYSTEM, "events", f"--field-selector=involvedObject.name={pod['metadata']['name']}")["items"]
    assert not [event["message"] for event in events if event["reason"] == "Unhealthy"]
