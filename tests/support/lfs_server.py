"""A Git LFS server: the batch API with basic transfers, private by HTTP Basic.

Objects live at `/<owner>/<name>.git/gitlab-lfs/objects/<oid>` and each action hands the Authorization
header of the batch request back to the client, both as GitLab does. A client of the real server needs
that; a job behind mintfs must never see it. It listens on loopback for a web server in front of it,
whose origin it must be told.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_MEDIA_TYPE = "application/vnd.git-lfs+json"
_REPOSITORY = r"^/(?P<repository>[^?]+?\.git)"
_BATCH = re.compile(_REPOSITORY + r"/info/lfs/objects/batch$")
_LOCKS = re.compile(_REPOSITORY + r"/info/lfs/locks/verify$")
_OBJECT = re.compile(_REPOSITORY + r"/gitlab-lfs/objects/(?P<oid>[0-9a-f]{64})(?P<verify>/verify)?$")


class LfsServer:
    """Runs in a thread from construction to `stop()`."""

    def __init__(self, root: Path, users: Mapping[str, str]) -> None:
        self.root, self.origin = root, ""
        self.allowed = {"Basic " + base64.b64encode(f"{u}:{p}".encode()).decode() for u, p in users.items()}
        root.mkdir(parents=True)
        handler = type("Handler", (_Handler,), {"lfs": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def stored(self, oid: str) -> Path:
        return self.root / oid


class _Handler(BaseHTTPRequestHandler):
    lfs: LfsServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        if self._refused():
            return
        if batch := _BATCH.match(self.path):
            self._batch(batch["repository"], json.loads(body))
        elif _LOCKS.match(self.path):
            self._answer(200, {"ours": [], "theirs": []})
        elif (found := _OBJECT.match(self.path)) and found["verify"]:
            wanted = json.loads(body)
            stored = self.lfs.stored(found["oid"])
            good = wanted["oid"] == found["oid"] and stored.exists() and stored.stat().st_size == wanted["size"]
            self._answer(200 if good else 404, {})
        else:
            self._answer(404, {"message": "no such service"})

    def do_PUT(self) -> None:
        body, found = self._body(), _OBJECT.match(self.path)
        if self._refused():
            return
        if not found or hashlib.sha256(body).hexdigest() != found["oid"]:
            return self._answer(422, {"message": "the content is not what its name says"})
        self.lfs.stored(found["oid"]).write_bytes(body)
        self._answer(200, {})

    def do_GET(self) -> None:
        found = _OBJECT.match(self.path)
        if self._refused():
            return
        if not found or not self.lfs.stored(found["oid"]).exists():
            return self._answer(404, {"message": "no such object"})
        self._send(200, "application/octet-stream", self.lfs.stored(found["oid"]).read_bytes())

    def _batch(self, repository: str, request: dict[str, Any]) -> None:
        upload = request["operation"] == "upload"
        answers = []
        for wanted in request["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"], "authenticated": True}
            href = f"{self.lfs.origin}/{repository}/gitlab-lfs/objects/{wanted['oid']}"
            header = {"Authorization": self.headers["Authorization"]}
            exists = self.lfs.stored(wanted["oid"]).exists()
            if upload and not exists:
                answer["actions"] = {"upload": {"href": href, "header": header},
                                     "verify": {"href": f"{href}/verify", "header": header}}  # fmt: skip
            elif not upload and exists:
                answer["actions"] = {"download": {"href": href, "header": header}}
            elif not upload:
                answer["error"] = {"code": 404, "message": "no such object"}
            answers.append(answer)
        self._answer(200, {"transfer": "basic", "objects": answers})

    def _refused(self) -> bool:
        if self.headers.get("Authorization") in self.lfs.allowed:
            return False
        self._answer(401, {"message": "a password is needed"}, {"LFS-Authenticate": 'Basic realm="git"'})
        return True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, answer: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, _MEDIA_TYPE, json.dumps(answer).encode(), headers)

    def _send(self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass
