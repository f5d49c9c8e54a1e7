"""deploy/helm: it is what deploy/kubernetes is, with values in it."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.mintfs import REPOSITORY, base_environment
from support.waiting import DEADLINE

CHART = REPOSITORY / "deploy/helm"
Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def program() -> Path:
    done = subprocess.run([REPOSITORY / "tools/helm"], capture_output=True, text=True, timeout=40 * DEADLINE)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def _run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=DEADLINE, env=base_environment(HOME="/nonexistent"))


def _objects(text: str) -> Objects:
    """By kind and name; where they are is a matter of the objects themselves."""
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each}


def _render(program: Path, *options: str | Path, namespace: str = "connectors-system") -> subprocess.CompletedProcess[str]:
    return _run(program, "template", "mintfs", CHART, "--namespace", namespace, "--include-crds", "--kube-version", "1.30", *options)


def _rendered(program: Path, *options: str | Path) -> Objects:
    done = _render(program, *options)
    assert done.returncode == 0, done.stderr
    return _objects(done.stdout)


def _containers(each: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in each["spec"]["template"]["spec"]["containers"]}


def test_the_linter_finds_nothing(program: Path) -> None:
    done = _run(program, "lint", "--strict", "--namespace", "connectors-system", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


def test_as_it_is_it_installs_what_kubectl_does(program: Path) -> None:
    done = subprocess.run(["kubectl", "kustomize", REPOSITORY / "deploy/kubernetes"], capture_output=True, text=True,
                          env=base_environment(HOME="/nonexistent"), timeout=DEADLINE)  # fmt: skip
    of_kubectl, of_helm = _objects(done.stdout), _rendered(program)
    # Helm does not own the namespace of a release; its label stands in the guide.
    del of_kubectl["Namespace", "connectors-system"]
    for kind, name in (("ConnectorClass", "git"), ("FlowSchema", "mintfs-gateway")):
        del of_kubectl[kind, name]["metadata"]["namespace"]  # kustomize does not know them; they are of no namespace
    for objects in (of_kubectl, of_helm):
        for each in objects.values():
            if each["kind"] in ("DaemonSet", "Deployment"):
                for container in _containers(each).values():
                    container.pop("imagePullPolicy", None)
    assert of_helm == of_kubectl


def test_values_go_where_they_belong(program: Path, tmp_path: Path) -> None:
    values = {
        "image": {"repository": "registry.example.com/mintfs", "tag": 1.5, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "gateway": {"replicas": 3, "config": "[daemon]\n", "resources": {"limits": {"memory": "2Gi"}}, "nodeSelector": {"a": "b"}},
        "node": {"config": "[node]\n", "resources": {"csi": {"limits": {"memory": "1Gi"}}}, "tolerations": [{"key": "only"}],
                 "kubeletDirectory": "/data/kubelet"},
        "connectorClass": False, "flowSchema": False, "networkPolicy": False, "podDisruptionBudget": False,
    }  # fmt: skip
    (tmp_path / "values.json").write_text(json.dumps(values))
    plain, objects = _rendered(program), _rendered(program, "--values", tmp_path / "values.json")
    left_out = {("ConnectorClass", "git"), ("FlowSchema", "mintfs-gateway"), ("NetworkPolicy", "mintfs-gateway"),
                ("NetworkPolicy", "mintfs-csi"), ("PodDisruptionBudget", "mintfs-gateway")}  # fmt: skip
    assert set(plain) - set(objects) == left_out and not set(objects) - set(plain)
    gateway = objects["Deployment", "mintfs-gateway"]
    daemon, csi = objects["DaemonSet", "mintfs-node"], objects["DaemonSet", "mintfs-csi"]
    for each in (gateway, daemon, csi):
        assert each["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "pull"}]
        ours = next(iter(_containers(each).values()))
        assert (ours["image"], ours["imagePullPolicy"]) == ("registry.example.com/mintfs:1.5", "Always")
    assert gateway["spec"]["replicas"] == 3 and gateway["spec"]["template"]["spec"]["nodeSelector"] == {"a": "b"}
    assert _containers(gateway)["gateway"]["resources"] == {"limits": {"memory": "2Gi"}}
    assert _containers(csi)["csi"]["resources"] == {"limits": {"memory": "1Gi"}}
    assert _containers(daemon)["mintfsd"]["resources"] == _containers(plain["DaemonSet", "mintfs-node"])["mintfsd"]["resources"]
    for each in (daemon, csi):
        assert each["spec"]["template"]["spec"]["tolerations"] == [{"key": "only"}]
    assert objects["ConfigMap", "mintfs-gateway"]["data"]["mintfs.toml"] == "[daemon]\n"
    assert objects["ConfigMap", "mintfs-config"]["data"]["mintfs.toml"] == "[node]\n"
    assert "/var/lib/kubelet" not in json.dumps(csi) and "/data/kubelet/pods" in json.dumps(csi)


@pytest.mark.parametrize(
    "option, word",
    [("gateway.replica=3", "replica"), ("image.pullPolicy=Sometimes", "pullPolicy"), ("node.resources.liveness.limits=1", "liveness"),
     ("gateway.replicas=0", "replicas")],
)  # fmt: skip
def test_a_value_that_means_nothing_is_refused(program: Path, option: str, word: str) -> None:
    done = _render(program, "--set", option)
    assert done.returncode != 0 and word in done.stderr


def test_another_namespace_is_refused_with_the_reason(program: Path) -> None:
    done = _render(program, namespace="elsewhere")
    assert done.returncode != 0 and "connectors-system, by whose name pods know its Service" in done.stderr


def test_the_package_stands_alone(program: Path, tmp_path: Path) -> None:
    done = _run(program, "package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("mintfs-*.tgz")
    with tarfile.open(package) as archive:
        assert all(member.isfile() for member in archive.getmembers())
        assert {"mintfs/crds/connectors.yaml", "mintfs/manifests/gateway/deployment.yaml"} <= set(archive.getnames())
    unpacked = _run(program, "template", "mintfs", package, "--namespace", "connectors-system", "--include-crds", "--kube-version", "1.30")
    assert _objects(unpacked.stdout) == _rendered(program)
