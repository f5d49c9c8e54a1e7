"""A gateway of a cluster that a scripted API server plays, and what a node does with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from support.api_server import CLASSES, CONNECTORS, SECRETS, ApiServer, token_file
from support.git_server import PASSWORD, USER
from support.mintfs import Daemon
from support.ports import free_port
from support.tls import Authority

MASTER = bytes(range(32))
NODE_TOKEN = "node-token"


SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"  # /var/run is /run


class Reachable(Protocol):
    @property
    def url(self) -> str: ...


@dataclass
class Pod:
    """A pod and its token, as the API server knows them."""

    name: str = "job-1"
    space: str = "team-a"
    account: str = "builder"
    node: str = "node-1"
    audience: str = "mintfs"

    def object(self) -> dict[str, Any]:
        """As it stands in the API server."""
        return {"metadata": {"name": self.name, "namespace": self.space, "uid": self.uid},
                "spec": {"serviceAccountName": self.account, "nodeName": self.node}}  # fmt: skip

    @property
    def uid(self) -> str:
        return f"uid-of-{self.name}"

    @property
    def token(self) -> str:
        return f"token-of-{self.name}"

    def review(self) -> dict[str, Any]:
        claim = "authentication.kubernetes.io"
        return {"authenticated": True, "audiences": [self.audience],
                "user": {"username": f"system:serviceaccount:{self.space}:{self.account}", "uid": "u",
                         "groups": ["system:serviceaccounts", "system:authenticated"],
                         "extra": {f"{claim}/pod-name": [self.name], f"{claim}/pod-uid": [self.uid],
                                   f"{claim}/node-name": [self.node]}}}  # fmt: skip


@dataclass
class Cluster:
    """What reviews answer: pods by token, and which service accounts may get which connectors."""

    api: ApiServer
    pods: dict[str, Pod] = field(default_factory=dict)
    allowed: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.add(Pod("mintfs-node-1", "connectors-system", "mintfs-node", "node-1", "mintfs-gateway"), NODE_TOKEN)
        self.api.reviews["TokenReview"] = self._review
        self.api.reviews["SubjectAccessReview"] = self._access

    def add(self, pod: Pod, token: str = "") -> Pod:
        self.pods[token or pod.token] = pod
        return pod

    def allow(self, account: str, connector: str) -> None:
        self.allowed.add((f"system:serviceaccount:{account.replace('/', ':')}", connector))

    def _review(self, spec: dict[str, Any]) -> dict[str, Any]:
        pod = self.pods.get(spec["token"])
        if pod is None or pod.audience not in spec["audiences"]:
            return {"authenticated": False, "error": "invalid bearer token"}
        return pod.review()

    def _access(self, spec: dict[str, Any]) -> dict[str, Any]:
        asked = spec["resourceAttributes"]
        assert (asked["verb"], asked["group"], asked["resource"]) == ("get", "connectors.alauda.io", "connectors")
        return {"allowed": (spec["user"], f"{asked['namespace']}/{asked['name']}") in self.allowed}

    def apply(self, address: str, name: str = "github", space: str = "team-a", password: str = PASSWORD,
              repository: str = "acme/app.git") -> None:  # fmt: skip
        """Class, Secret and Connector, as an administrator would."""
        self.api.put(CLASSES, {"metadata": {"name": "git"}, "spec": {"auth": {"types": [
            {"name": "basicAuth", "secretType": "kubernetes.io/basic-auth", "optional": True}]}}})  # fmt: skip
        self.secret(password, name, space)
        self.api.put(CONNECTORS, {
            "metadata": {"name": name, "namespace": space, "generation": 1},
            "spec": {"connectorClassName": "git", "address": address, "auth": {
                "name": "basicAuth", "secretRef": {"name": name},
                "params": [{"name": "repository", "value": repository}]}}})  # fmt: skip

    def secret(self, password: str, name: str = "github", space: str = "team-a") -> None:
        data = {"username": USER, "password": password}
        self.api.put(SECRETS, {"metadata": {"name": name, "namespace": space}, "type": "kubernetes.io/basic-auth",
                               "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}})  # fmt: skip


@dataclass
class Answer:
    status: int
    body: dict[str, Any]


class Gateway(Daemon):
    """One replica; `audience` is what all of them are called by.

    Replicas are told apart by `host`. With `account`, a folder with `token`, `ca.crt` and `namespace` as kubelet mounts it, it finds its cluster as a
    pod does. Both take root.
    """

    def __init__(self, root: Path, api: Reachable, authority: Authority, audience: str = "", token: str = "token-1",
                 trust: Path | None = None, account: Path | None = None,
                 proxy: Mapping[str, Any] | None = None, host: str = "", **kubernetes: Any) -> None:  # fmt: skip
        certificate = authority.issue("IP:127.0.0.1", stem=f"desk-{root.name}")
        self.desk_port, self.authority = free_port(), authority
        root.mkdir(parents=True)
        state = root / "state"
        state.mkdir(mode=0o700)
        keys = state / "master-keys"
        keys.write_text(f"1 1767225600 {MASTER.hex()}\n")
        keys.chmod(0o600)
        where = {} if account else {"server": api.url, "token_file": str(token_file(root / "token", token)),
                                    "ca_file": str(trust or authority.certificate)}  # fmt: skip
        super().__init__(root, arguments=["--role", "gateway"], wrapper=[*(_on(host) if host else ()), *(_in_a_pod(api, account) if account else ())],
                         kubernetes={
            **where, "listen": f"127.0.0.1:{self.desk_port}",
            "tls_certificate": str(certificate.certificate), "tls_key": str(certificate.key), "key_wait": "1s",
            **kubernetes},
            admin={"listen": f"unix:{root / 'admin.sock'}"},
            proxy={**({"url": audience} if audience else {}), **(proxy or {})})  # fmt: skip

    def add_key(self, version: int, key: bytes) -> None:
        """As kubelet brings a changed Secret: by a rename."""
        keys = self.state / "master-keys"
        fresh = keys.with_suffix(".new")
        fresh.write_text(keys.read_text() + f"{version} 1767225601 {key.hex()}\n")
        fresh.chmod(0o600)
        fresh.rename(keys)

    @property
    def admin(self) -> Path:
        return self.root / "admin.sock"

    def ask(self, method: str, path: str, body: Any = None, bearer: str = NODE_TOKEN) -> Answer:
        trust = ssl.create_default_context(cafile=str(self.authority.certificate))
        request = urllib.request.Request(f"https://127.0.0.1:{self.desk_port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())  # fmt: skip
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust),
                                             urllib.request.ProxyHandler({}))  # fmt: skip
        try:
            with opener.open(request, timeout=60) as answer:
                text = answer.read()
                return Answer(answer.status, json.loads(text) if text else {})
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.loads(error.read()))

    def open_with(self, node: str, token: str, *connectors: str) -> Answer:
        return self.ask("POST", "/v1/leases", {"token": token, "connectors": list(connectors)}, node)

    def open(self, pod: Pod, *connectors: str, **more: Any) -> Answer:
        return self.ask("POST", "/v1/leases", {"token": pod.token, "connectors": list(connectors), **more})


def _on(host: str) -> list[str]:
    """What gives a process a host of this name, as each pod has its own."""
    return ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$@"', "sh"]


def _in_a_pod(api: Reachable, account: Path) -> list[str]:
    """What starts a process where a pod's files and variables are."""
    script = f"""mount -t tmpfs tmpfs /run && mkdir -p {SERVICE_ACCOUNT} && mount --bind {account} {SERVICE_ACCOUNT} &&
                 exec "$@" """
    host, port = api.url.removeprefix("https://").split(":")
    return ["unshare", "--mount", "sh", "-c", script, "sh", "env", f"KUBERNETES_SERVICE_HOST={host}",
            f"KUBERNETES_SERVICE_PORT={port}"]  # fmt: skip


class Node(Daemon):
    """The daemon of a node, under its keeper, that asks a gateway's desk."""

    def __init__(self, root: Path, gateway: Gateway, token: str = NODE_TOKEN, **options: Any) -> None:
        root.mkdir(parents=True)
        self.token = token_file(root / "token", token)
        options = {"keeper": True, **options}
        super().__init__(root, arguments=["--role", "node"], node={
            "gateway": f"https://127.0.0.1:{gateway.desk_port}", "ca_file": str(gateway.authority.certificate),
            "token_file": str(self.token)}, **options)  # fmt: skip


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def derived_key(lease: str, master: bytes = MASTER) -> bytes:
    """HKDF-SHA256 (RFC 5869), written down again."""
    extracted = hmac.new(bytes(32), master, hashlib.sha256).digest()
    return hmac.new(extracted, f"mintfs lease {lease}".encode() + b"\x01", hashlib.sha256).digest()


def mint(lease: Mapping[str, Any], connector: str, key: bytes | None = None) -> str:
    """A token as a node mints it, with what the gateway gave and nothing else."""
    now = int(time.time())
    header = json.dumps({"alg": "HS256", "kid": str(lease["key_version"]), "typ": "JWT"}, separators=(",", ":"))
    claims = json.dumps({"iss": "mintfs", "aud": lease["audience"], "sub": lease["subject"], "lease": lease["id"],
                         "con": connector, "iat": now, "exp": now + 600, "jti": _part(os.urandom(12))},
                        separators=(",", ":"))  # fmt: skip
    text = f"{_part(header.encode())}.{_part(claims.encode())}"
    secret = base64.b64decode(lease["key"]) if key is None else key
    return f"{text}.{_part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"
