"""A real control plane on the loopback: etcd, kube-apiserver and the garbage collector of kube-controller-manager.

No kubelet and no scheduler: what runs "in" a pod here is a process that has the pod's token. The programs are those
of tools/real-api-server.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.mintfs import base_environment
from support.ports import free_port
from support.tls import Authority
from support.waiting import eventually

Object = dict[str, Any]
NOTHING_LEFT = ("--controllers=garbage-collector-controller", "--leader-elect=false", "--profiling=false")


@dataclass
class Answer:
    status: int
    body: Object
    headers: Mapping[str, str] = field(default_factory=dict)


class ControlPlane:
    """Everything it owns is under `root`; `stop()` ends it. With `etcd_options` it is another etcd's habits."""

    def __init__(self, programs: Path, root: Path, authority: Authority, *, etcd_options: Sequence[str] = ()) -> None:
        root.mkdir()
        self.programs, self.root, self.ca = programs, root, authority.certificate
        self._certificate = authority.issue("IP:127.0.0.1", "DNS:kubernetes.default.svc", stem="kube-apiserver")
        self._etcd_options = etcd_options
        self.port, self._etcd_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.admin = secrets.token_hex(16)
        self._trust = ssl.create_default_context(cafile=str(self.ca))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = root / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": "admin", "user": {"token": self.admin}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}))  # fmt: skip

    # --- life --------------------------------------------------------------------------------------

    def start(self) -> ControlPlane:
        peer, data = free_port(), self.root / "etcd"
        self._run("etcd", f"--data-dir={data}", f"--listen-client-urls=http://127.0.0.1:{self._etcd_port}",
                  f"--advertise-client-urls=http://127.0.0.1:{self._etcd_port}",
                  f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync",
                  *self._etcd_options)  # fmt: skip
        self.start_api_server()
        eventually("the API server is ready", self.is_ready)
        self._run("kube-controller-manager", f"--kubeconfig={self.kubeconfig}", *NOTHING_LEFT,
                  "--bind-address=127.0.0.1", f"--secure-port={free_port()}", f"--cert-dir={self.root / 'kcm'}",
                  f"--authentication-kubeconfig={self.kubeconfig}", f"--authorization-kubeconfig={self.kubeconfig}")  # fmt: skip
        return self

    def start_api_server(self) -> None:
        tokens, key = self.root / "tokens.csv", self.root / "service-accounts.key"
        if not key.exists():
            tokens.write_text(f"{self.admin},admin,admin,system:masters\n")
            subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        issuer = "https://kubernetes.default.svc"
        self._run("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd_port}", "--bind-address=127.0.0.1",
                  f"--secure-port={self.port}", "--endpoint-reconciler-type=none", "--allow-privileged=true",
                  f"--tls-cert-file={self._certificate.certificate}",
                  f"--tls-private-key-file={self._certificate.key}", f"--cert-dir={self.root / 'kas'}",
                  f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
                  f"--service-account-issuer={issuer}", f"--service-account-key-file={key}",
                  f"--service-account-signing-key-file={key}", "--profiling=false")  # fmt: skip

    def kill_api_server(self) -> None:
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in reversed(list(self._processes.values())):
            process.send_signal(signal.SIGKILL)  # nothing of it is kept
            process.wait()
        self._processes.clear()

    def pid(self, program: str) -> int:
        return self._processes[program].pid

    def log(self, program: str) -> str:
        return (self.root / f"{program}.log").read_text(errors="replace")

    def _run(self, program: str, *options: str) -> None:
        with (self.root / f"{program}.log").open("ab") as log:
            self._processes[program] = subprocess.Popen(
                [str(self.programs / program), *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=base_environment(HOME=self.root), cwd=self.root, start_new_session=True)  # fmt: skip

    def is_ready(self) -> bool:
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} ended:\n{self.log(name)[-3000:]}"
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return False

    # --- use ---------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Answer:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(self.url + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": f"Bearer {token or self.admin}",
                                                  "Content-Type": kind})  # fmt: skip
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self._trust),
                                             urllib.request.ProxyHandler({}))  # fmt: skip
        try:
            with opener.open(request, timeout=60) as answer:
                return Answer(answer.status, _object(answer.read()), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _object(error.read()))

    def get(self, path: str) -> Object | None:
        answer = self.ask("GET", path)
        assert answer.status in (200, 404), answer
        return answer.body if answer.status == 200 else None

    def list(self, path: str) -> list[Object]:
        return self.ask("GET", path).body["items"]

    def create(self, path: str, thing: Object) -> Object:
        answer = self.ask("POST", path, thing)
        assert answer.status == 201, answer
        return answer.body

    def delete(self, path: str) -> None:
        """At once, as there is no kubelet that would end a pod."""
        answer = self.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
        assert answer.status in (200, 202), answer

    def kubectl(self, *args: str | Path, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["kubectl", "--kubeconfig", str(self.kubeconfig), *map(str, args)], input=text,
                              capture_output=True, text=True, timeout=120,
                              env=base_environment(HOME=self.root))  # fmt: skip
        assert not check or done.returncode == 0, f"kubectl {args}: {done.stderr}"
        return done

    def run_pod(self, space: str, name: str, account: str, node: str) -> Object:
        return self.create(f"/api/v1/namespaces/{space}/pods", {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"serviceAccountName": account, "nodeName": node,
                     "containers": [{"name": "main", "image": "nothing.invalid/nothing"}]}})  # fmt: skip

    def token_of(self, pod: Object, audience: str = "") -> str:
        """As kubelet asks for it: bound to the pod."""
        metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
        spec: Object = {"expirationSeconds": 3600, "boundObjectRef": {
            "kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}}  # fmt: skip
        if audience:
            spec["audiences"] = [audience]
        return self.create(f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token",
                           {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
                           )["status"]["token"]  # fmt: skip


def _object(text: bytes) -> Object:
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text.decode(errors="replace")}


def programs() -> Path | None:
    """Where tools/real-api-server has left them; nothing where the test was not asked for."""
    folder = os.environ.get("MINTFS_REAL_CLUSTER")
    return Path(folder) if folder else None
