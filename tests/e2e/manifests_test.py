"""deploy/kubernetes: it renders, says what the driver needs, and its script hands a node over to the next pod."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.git_server import GitServer
from support.job import Job
from support.mintfs import BUILD, KEEPER, MINTFSD, REPOSITORY, Daemon, base_environment, connector
from support.waiting import DEADLINE, eventually

Rendered = Callable[..., dict[str, Any]]
FOLDERS = [".", "gateway", "overlays/kind", "overlays/k3s"]


def _render(folder: str) -> list[dict[str, Any]]:
    assert shutil.which("kubectl"), "kubectl is not there: run tools/setup --test"
    done = subprocess.run(["kubectl", "kustomize", REPOSITORY / "deploy/kubernetes" / folder], capture_output=True,
                          text=True, env=base_environment(HOME="/nonexistent"), timeout=DEADLINE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in objects
            if each["kind"] in ("Deployment", "DaemonSet")}  # fmt: skip


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    """Finds one object of what `kubectl apply -k` would send."""
    objects = _render(".")

    def find(kind: str, name: str) -> dict[str, Any]:
        (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
        return found

    find.all = objects  # type: ignore[attr-defined]
    return find


def _containers(daemonset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in daemonset["spec"]["template"]["spec"]["containers"]}


def test_everything_has_a_name_and_a_place(rendered: Rendered) -> None:
    for each in rendered.all:  # type: ignore[attr-defined]
        assert each["apiVersion"] and each["kind"] and each["metadata"]["name"]
        if each["kind"] in ("DaemonSet", "ConfigMap", "Service", "ServiceAccount"):
            assert each["metadata"]["namespace"] == "connectors-system", each


def test_kubelet_is_told_what_the_driver_needs(rendered: Rendered) -> None:
    driver = rendered("CSIDriver", "connectors-csi")
    assert driver["metadata"]["labels"]["security.kubernetes.io/csi-ephemeral-volume-profile"] == "restricted"
    spec = driver["spec"]
    assert spec["volumeLifecycleModes"] == ["Ephemeral"] and spec["tokenRequests"] == [{"audience": "mintfs"}]
    assert spec["attachRequired"] is False and spec["podInfoOnMount"] is True and spec["requiresRepublish"] is True
    assert spec["fsGroupPolicy"] == "None"


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_renders_and_its_parts_find_each_other(folder: str) -> None:
    objects = _render(folder)
    names = [(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    pods = [each["spec"]["template"] for each in objects if each["kind"] in ("Deployment", "DaemonSet")]
    for each in objects:
        selector = each.get("spec", {}).get("selector", each.get("spec", {}).get("podSelector", {}))
        wanted = selector.get("matchLabels", selector) if isinstance(selector, dict) else {}
        if each["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            found = [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]
            assert wanted and len(found) == 1, each["metadata"]["name"]
    for spec in _pods(objects).values():
        accounts = [name for kind, _, name in names if kind == "ServiceAccount"]
        assert spec["serviceAccountName"] in accounts and spec["priorityClassName"].startswith("system-")
        assert all(c["image"].startswith("localhost/mintfs:") for c in spec["containers"])


def test_clusters_that_limit_the_priorities_take_the_pods(rendered: Rendered) -> None:
    (scope,) = rendered("ResourceQuota", "mintfs-priorities")["spec"]["scopeSelector"]["matchExpressions"]
    assert {spec["priorityClassName"] for spec in _pods(_render(".")).values()} == set(scope["values"])


@pytest.mark.parametrize("folder", ["overlays/kind", "overlays/k3s"])
def test_an_overlay_is_the_whole_with_images_that_were_loaded(folder: str) -> None:
    overlay, base = _render(folder), _render(".")
    assert [(e["kind"], e["metadata"]["name"]) for e in overlay] == [(e["kind"], e["metadata"]["name"]) for e in base]
    for spec in _pods(overlay).values():
        ours = [c for c in spec["containers"] if c["image"].startswith("localhost/mintfs:")]
        assert ours and all(c["imagePullPolicy"] == "Never" for c in ours)


def test_for_programs_there_is_all_but_what_runs() -> None:
    """deploy/kubernetes/programs runs it, and says where the Service leads to."""
    overlay, base = _render("overlays/programs"), _render(".")
    runs = {"DaemonSet", "Deployment", "PodDisruptionBudget", "ResourceQuota", "NetworkPolicy", "ConfigMap"}
    names = [(each["kind"], each["metadata"]["name"]) for each in base if each["kind"] not in runs]
    names.remove(("Service", "mintfs-gateway"))
    assert [(each["kind"], each["metadata"]["name"]) for each in overlay] == names
    (service,) = [each["spec"] for each in overlay if each["kind"] == "Service"]
    assert service == {"ports": [{"name": "http", "port": 80}]}


def test_what_an_installation_makes_for_itself_fits_together(tmp_path: Path) -> None:
    prepare = REPOSITORY / "deploy/kubernetes/prepare"
    done = subprocess.run([prepare, "IP:192.0.2.1", "DNS:gw.example"], check=True, capture_output=True, text=True, timeout=DEADLINE)
    made = {each["metadata"]["name"]: each for each in yaml.safe_load_all(done.stdout)}
    number, _, key = base64.b64decode(made["mintfs-master-keys"]["data"]["master-keys"]).decode().split()
    assert number == "1" and len(bytes.fromhex(key)) == 32
    authority, certificate = tmp_path / "ca.crt", tmp_path / "tls.crt"
    authority.write_text(made["mintfs-gateway-ca"]["data"]["ca.crt"])
    certificate.write_bytes(base64.b64decode(made["mintfs-gateway-tls"]["data"]["tls.crt"]))
    for name in (["-verify_hostname", "mintfs-gateway.connectors-system.svc"], ["-verify_hostname", "gw.example"],
                 ["-verify_ip", "192.0.2.1"]):  # fmt: skip
        subprocess.run(["openssl", "verify", *name, "-CAfile", authority, certificate], check=True, timeout=DEADLINE)
    for wrong in ("--help", "IP:1,DNS:*", "gw.example"):
        done = subprocess.run([prepare, wrong], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 2 and done.stderr.startswith("usage: ") and not done.stdout


def test_a_gateway_is_kept_from_what_a_cloud_tells_its_machines() -> None:
    (policy,) = [each["spec"] for each in _render("gateway") if each["kind"] == "NetworkPolicy"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    names, rest = policy["egress"]
    assert {(p["port"], p["protocol"]) for p in names["ports"]} == {(53, "UDP"), (53, "TCP")} and "to" not in names
    blocks = {block["ipBlock"]["cidr"]: block["ipBlock"]["except"] for block in rest["to"]}
    assert blocks == {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10", "fd00:ec2::/32"]}


def test_the_driver_is_kept_from_the_network_and_the_daemon_has_the_nodes(rendered: Rendered) -> None:
    policy = rendered("NetworkPolicy", "mintfs-csi")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"} and not {"ingress", "egress"} & set(policy)
    driver = rendered("DaemonSet", "mintfs-csi")["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= driver["metadata"]["labels"].items()
    assert "hostNetwork" not in driver["spec"]
    assert rendered("DaemonSet", "mintfs-node")["spec"]["template"]["spec"]["hostNetwork"], "of which no policy is"


def test_gateways_are_spread_and_restricted() -> None:
    objects = _render("gateway")
    (deployment,) = [each["spec"] for each in objects if each["kind"] == "Deployment"]
    (budget,) = [each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert deployment["replicas"] > budget["minAvailable"] >= 1
    spec = deployment["template"]["spec"]
    assert spec["affinity"]["podAntiAffinity"] and spec["topologySpreadConstraints"]
    assert spec["securityContext"]["runAsNonRoot"] and not spec.get("hostNetwork")
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]} and security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True and "privileged" not in security


@pytest.mark.parametrize("name", ["mintfs-node", "mintfs-csi"])
def test_what_runs_on_the_nodes_fits_together(rendered: Rendered, name: str) -> None:
    daemonset = rendered("DaemonSet", name)
    spec = daemonset["spec"]["template"]["spec"]
    labels = daemonset["spec"]["template"]["metadata"]["labels"]
    assert daemonset["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert spec["priorityClassName"] == "system-node-critical" and spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["automountServiceAccountToken"] is False and rendered("ServiceAccount", spec["serviceAccountName"])
    volumes = {each["name"] for each in spec["volumes"]}
    for container in spec["containers"]:
        security = container["securityContext"]
        mounts = {each["name"]: each for each in container["volumeMounts"]}
        assert set(mounts) <= volumes
        assert security["readOnlyRootFilesystem"] and "memory" in container["resources"]["limits"]
        propagates = any(each.get("mountPropagation") == "Bidirectional" for each in mounts.values())
        assert bool(security.get("privileged")) == propagates, "Kubernetes refuses the one, nothing needs the other"
        if not propagates:
            assert security["capabilities"] == {"drop": ["ALL"]} and not security["allowPrivilegeEscalation"]


def test_the_driver_sees_the_mounts_of_the_daemon_and_kubelet_those_of_the_driver(rendered: Rendered) -> None:
    csi = _containers(rendered("DaemonSet", "mintfs-csi"))
    mounts = {each["mountPath"]: each.get("mountPropagation") for each in csi["csi"]["volumeMounts"]}
    assert mounts["/run/mintfs"] == "HostToContainer" and mounts["/var/lib/kubelet/pods"] == "Bidirectional"
    # What it tells kubelet is its own name of the socket: both must know it by the same.
    hosts = {each["name"]: each["hostPath"]["path"] for each in rendered("DaemonSet", "mintfs-csi")["spec"]["template"]["spec"]["volumes"]}
    places = {each["name"]: each["mountPath"] for each in csi["csi"]["volumeMounts"]}
    assert {name: hosts[name] for name in places} == places
    assert f"--endpoint=unix://{places['plugin']}/csi.sock" in csi["csi"]["args"]
    assert f"--registration-dir={places['registration']}" in csi["csi"]["args"]
    watch = csi["csi"]["livenessProbe"]["exec"]["command"]
    assert watch[:2] == ["mintfs-csi", "--probe"] and watch[2] in csi["csi"]["args"]
    # Every option is one that the program knows.
    for options in (csi["csi"]["args"], watch[1:]):
        command = [str(BUILD / "mintfs-csi"), *options, "--version"]
        assert subprocess.run(command, capture_output=True, timeout=DEADLINE).returncode == 0


def test_a_node_finds_the_gateways_and_proves_itself(rendered: Rendered, tmp_path: Path) -> None:
    text = rendered("ConfigMap", "mintfs-config")["data"]["mintfs.toml"]
    file = tmp_path / "mintfs.toml"
    file.write_text(text)
    done = subprocess.run([BUILD / "mintfs", "config", "check", file], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr + done.stdout
    node = tomllib.loads(text)["node"]
    service = rendered("Service", "mintfs-gateway")
    (port,) = service["spec"]["ports"]
    assert node["gateway"] == f"https://mintfs-gateway.connectors-system.svc:{port['port']}"
    spec = rendered("DaemonSet", "mintfs-node")["spec"]["template"]["spec"]
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "gateway"]
    (volume,) = [each["projected"] for each in spec["volumes"] if each["name"] == "gateway"]
    token, trust = volume["sources"]
    assert token["serviceAccountToken"]["audience"] == "mintfs-gateway"
    assert node["token_file"] == f"{mount['mountPath']}/{token['serviceAccountToken']['path']}"
    assert trust["configMap"]["name"] == "mintfs-gateway-ca" and node["ca_file"] == f"{mount['mountPath']}/ca.crt"


def test_a_node_may_ask_the_api_server_for_nothing_and_reads_no_secret(rendered: Rendered) -> None:
    for each in rendered.all:  # type: ignore[attr-defined]
        subjects = [subject["name"] for subject in each.get("subjects", [])]
        assert "mintfs-node" not in subjects, each["metadata"]["name"]
    for name in ("mintfs-node", "mintfs-csi"):
        text = yaml.safe_dump(rendered("DaemonSet", name))
        assert "secretName" not in text and "secretKeyRef" not in text


@pytest.mark.root
def test_a_new_pod_takes_the_node_over_and_the_old_one_ends_without_harm(
    rendered: Rendered, server: GitServer, password: Path, start_mintfs: Callable[..., Daemon],
    new_job: Callable[..., Job], tmp_path: Path,
) -> None:  # fmt: skip
    """Both run the script of the manifest, as the old and the new pod of a surge do."""
    strategy = rendered("DaemonSet", "mintfs-node")["spec"]["updateStrategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
    container = _containers(rendered("DaemonSet", "mintfs-node"))["mintfsd"]
    assert container["command"] == ["sh", "-c"]
    mintfs = start_mintfs(connector("git", server.url, password), ready=False)
    keeper = f"{KEEPER} --socket {tmp_path}/keeper.sock"
    script = container["args"][0].replace("mintfs-keeper --", f"{keeper} -- ").replace("mintfsd --role node --", f"{MINTFSD} --")
    script = script.replace("/etc/mintfs/mintfs.toml", str(mintfs.config))

    with ExitStack() as pods:

        def start() -> subprocess.Popen[bytes]:
            with mintfs.log_file.open("ab") as log:
                pod = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=base_environment(HOME=tmp_path), start_new_session=True)  # fmt: skip
            pods.callback(_end, pod)
            return pod

        old = start()
        before = mintfs.pid
        job = new_job(mintfs.open_lease())
        mount = os.stat(mintfs.mount).st_dev
        new = start()
        eventually("the old keeper has ended", lambda: not _children(old, KEEPER.name))
        eventually("the new one serves", lambda: _children(new, KEEPER.name) and mintfs.pid)
        assert old.poll() is None, "started again it would take everything back"
        assert job.token()
        old.terminate()
        assert old.wait(DEADLINE) in (0, 128 + signal.SIGTERM)
        job.clone(f"{server.url}/acme/app.git")
        assert os.stat(mintfs.mount).st_dev == mount, "it is the mount that the running pods have"
        os.kill(before, signal.SIGKILL)  # with the old pod's processes, as a container's end does it
        mintfs.wait_for_successor_of(before)
        job.clone(f"{server.url}/acme/app.git", to="again")
        new.terminate()
        new.wait(DEADLINE)
    assert not os.path.ismount(mintfs.mount)


def _children(shell: subprocess.Popen[bytes], name: str) -> list[int]:
    """The running children of a process with this name."""
    found = subprocess.run(["ps", "-o", "pid=,stat=,comm=", "--ppid", str(shell.pid)], capture_output=True, text=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, state, command in rows if command == name[:15] and not state.startswith("Z")]


def _end(pod: subprocess.Popen[bytes]) -> None:
    if pod.poll() is None:
        os.killpg(pod.pid, signal.SIGKILL)
        pod.wait()
