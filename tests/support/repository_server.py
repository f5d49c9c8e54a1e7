"""A server of repositories of many formats that demands the real credential, with its paths as Nexus or Artifactory has them.

There is one repository of each format. Beside them it has nothing: who asks at its root is told so.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from support.package_server import PackageServer

#: The repository of each format.
REPOSITORIES = {"npm": "npm-all", "pypi": "pypi-all", "maven": "maven-public", "cargo": "crates"}

_Answer = tuple[int, str, bytes]


class RepositoryServer(PackageServer):
    def __init__(self, kind: str, header: str, value: str) -> None:
        nexus = {each: f"/repository/{name}" for each, name in REPOSITORIES.items()}
        artifactory = {each: f"/artifactory/api/{each}/{name}" for each, name in REPOSITORIES.items()}
        artifactory["maven"] = f"/artifactory/{REPOSITORIES['maven']}"
        self.kind, self.places = kind, {"nexus": nexus, "jfrog": artifactory}[kind]
        self.index: dict[str, list[dict[str, Any]]] = {}  # cargo: crate -> versions
        self.index_config: dict[str, Any] = {}  # what is otherwise in the index's config.json
        super().__init__(header, value)

    def base(self, format_: str) -> str:
        # Both link from an index to files by a relative path.
        return "../.." if format_ == "pypi" else self.url + self.places[format_]

    def answer(self, method: str, target: str, headers: object, body: bytes) -> _Answer:
        path = urlsplit(target).path
        if (method, path) in self.answers:
            return self.answers[method, path]
        for format_, place in self.places.items():
            if path != place and not path.startswith(f"{place}/"):
                continue
            below = path.removeprefix(place)
            if format_ == "cargo":
                return self._cargo(method, below, body)
            return super().answer(method, f"/maven{below}" if format_ == "maven" else below or "/", headers, body)
        return 404, "text/plain", b"no such repository"

    # --- cargo -------------------------------------------------------------------------------------

    def config_json(self) -> dict[str, Any]:
        base = self.base("cargo")
        if self.kind == "nexus":
            config = {"dl": f"{base}/crates/{{crate}}/{{version}}/download", "api": base, "auth-required": True}
        else:
            config = {"dl": f"{base}/v1/crates", "api": base}  # open to some, it seems: it does not demand a token
        return {**config, **self.index_config}

    def _cargo(self, method: str, path: str, body: bytes) -> _Answer:
        index, crates = {"nexus": ("", "/crates"), "jfrog": ("/index", "/v1/crates")}[self.kind]
        if method == "PUT" and path == "/api/v1/crates/new":
            return self._publish(crates, body)
        if method == "GET" and path == f"{index}/config.json":
            return 200, "application/json", json.dumps(self.config_json()).encode()
        if method == "GET" and path in self.files:
            return 200, "application/x-tar", self.files[path]
        lines = self.index.get(path.rpartition("/")[2])
        if method == "GET" and path.startswith(f"{index}/") and lines is not None:
            return 200, "text/plain", "".join(json.dumps(line) + "\n" for line in lines).encode()
        return 404, "text/plain", b"no such file"

    def _publish(self, crates: str, body: bytes) -> _Answer:
        """Two lengths, little-endian, each in front of what it is of: what is said of the crate, and the crate."""
        size = int.from_bytes(body[:4], "little")
        said, crate = json.loads(body[4 : 4 + size]), body[8 + size :]
        line = {"name": said["name"], "vers": said["vers"], "deps": [], "features": {}, "yanked": False,
                "cksum": hashlib.sha256(crate).hexdigest()}  # fmt: skip
        self.index.setdefault(said["name"], []).append(line)
        self.files[f"{crates}/{said['name']}/{said['vers']}/download"] = crate
        return 200, "application/json", b'{"warnings":{"invalid_categories":[],"invalid_badges":[],"other":[]}}'
