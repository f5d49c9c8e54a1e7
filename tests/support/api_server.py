"""A Kubernetes API server whose every answer a test may script; what is not scripted, it does as the real one.

It speaks HTTP/1.1 over TLS, keeps objects with resource versions, serves lists in pages and watches as
chunked streams:

    api = ApiServer(authority, token="t1")
    api.put(CONNECTORS, {"metadata": {"name": "a", "namespace": "x"}})
    api.script(Refusal(429, retry_after=3))          # the next request gets this
    api.watches(CONNECTORS).drop_mid_event()         # cuts an open watch in the middle of an event

What clients asked is in `requests`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.tls import Authority
from support.waiting import DEADLINE

Object = dict[str, Any]
CORE, OURS = "/api/v1", "/apis/connectors.alauda.io/v1alpha1"
SECRETS, EVENTS, PODS = f"{CORE}/secrets", f"{CORE}/events", f"{CORE}/pods"
CONNECTORS, CLASSES, LEASES = f"{OURS}/connectors", f"{OURS}/connectorclasses", f"{OURS}/connectorleases"
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
           410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
           503: "ServiceUnavailable"}  # fmt: skip


def status(code: int, message: str = "", reason: str = "", **details: Any) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason or REASONS.get(code, ""), "message": message, "details": details}  # fmt: skip


@dataclass
class Refusal:
    """An answer in place of the right one."""

    code: int
    message: str = ""
    reason: str = ""
    retry_after: int | None = None


@dataclass
class Raw:
    """These bytes in place of an answer, then the connection ends."""

    text: bytes


@dataclass
class Silence:
    """No answer at all, until the server stops."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    token: str
    content_type: str
    body: Any
    connection: int


class _Watch:
    """One open watch; its thread sends what stands in the queue."""

    def __init__(self, collection: str) -> None:
        self.collection, self.queue, self.ready = collection, [], threading.Condition()

    def send(self, item: Any) -> None:
        with self.ready:
            self.queue.append(item)
            self.ready.notify()

    def take(self) -> Any:
        with self.ready:
            self.ready.wait_for(lambda: self.queue)
            return self.queue.pop(0)


class _Watches(list[_Watch]):
    """The open watches of a collection, to be treated badly."""

    def end(self) -> None:
        for watch in self:
            watch.send(None)

    def drop(self) -> None:
        for watch in self:
            watch.send(ConnectionResetError)

    def drop_mid_event(self) -> None:
        for watch in self:
            watch.send(b'{"type":"ADDED","object":{"metadata":{"name":"ha')
            watch.send(ConnectionResetError)

    def gone(self) -> None:
        for watch in self:
            watch.send({"type": "ERROR", "object": status(410, "too old resource version")})
            watch.send(None)

    def say(self, text: bytes) -> None:
        for watch in self:
            watch.send(text)


@dataclass
class _State:
    objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)
    version: int = 100
    oldest: int = 0  # a watch from before this is gone
    history: list[tuple[int, str, Object]] = field(default_factory=list)
    watches: list[_Watch] = field(default_factory=list)
    scripts: list[tuple[str, Any]] = field(default_factory=list)


class ApiServer:
    """Listens from construction to `stop()`."""

    def __init__(self, authority: Authority, *, token: str = "token-1", page: int = 500,
                 names: tuple[str, ...] = ("IP:127.0.0.1", "DNS:localhost")) -> None:
        self.tokens = {token}  # those that are valid now
        self.requests: list[Request] = []
        self.reviews: dict[str, Callable[[Object], Object]] = {}  # kind -> spec -> status
        self.page, self.connections = page, 0
        self._state, self._lock = _State(), threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stopped = threading.Event()
        server = self

        class Handler(_Handler):
            api = server

        certificate = authority.issue(*names, stem="api-server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self._http = _Listener(("127.0.0.1", 0), Handler)
        self._http.context = context
        self.port: int = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            for watch in self._state.watches:
                watch.send(ConnectionResetError)
        self._http.shutdown()
        self._http.server_close()

    # --- what a test does -----------------------------------------------------------------------------

    def put(self, collection: str, thing: Object) -> Object:
        """Creates or changes an object, as kubectl apply would; watches hear of it."""
        with self._lock:
            held = self._state.objects.setdefault(collection, {})
            key = _key(thing)
            kind = "MODIFIED" if key in held else "ADDED"
            metadata = {"uid": f"uid-{key[0]}-{key[1]}", **thing["metadata"]}
            metadata["resourceVersion"] = self._next_version()
            held[key] = {**thing, "metadata": metadata}
            self._tell(collection, kind, held[key])
            return held[key]

    def delete(self, collection: str, name: str, space: str = "") -> None:
        with self._lock:
            gone = self._state.objects[collection].pop((space, name))
            metadata = {**gone["metadata"], "resourceVersion": self._next_version()}
            self._tell(collection, "DELETED", {**gone, "metadata": metadata})

    def collect(self, owner: str) -> None:
        """What the garbage collector does when the object of this uid is gone."""
        with self._lock:
            for collection, held in self._state.objects.items():
                for (space, name), thing in list(held.items()):
                    if owner in (each["uid"] for each in thing["metadata"].get("ownerReferences", [])):
                        self.delete(collection, name, space)

    def get(self, collection: str, name: str, space: str = "") -> Object | None:
        with self._lock:
            return self._state.objects.get(collection, {}).get((space, name))

    def objects(self, collection: str) -> list[Object]:
        with self._lock:
            return list(self._state.objects.get(collection, {}).values())

    def bookmark(self, collection: str) -> None:
        with self._lock:
            version = self._next_version()
            for watch in self.watches(collection):
                watch.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}})

    def compact(self) -> None:
        """Forgets history: watches from before now get 410."""
        with self._lock:
            self._state.oldest = self._state.version = self._state.version + 1

    def script(self, answer: Any, where: str = "") -> None:
        """The next request whose method and target begin with `where` ("WATCH /path" is one) gets this."""
        with self._lock:
            self._state.scripts.append((where, answer))

    def unscript(self) -> None:
        """From here on the right answers."""
        with self._lock:
            self._state.scripts.clear()

    def watches(self, collection: str) -> _Watches:
        with self._lock:
            return _Watches(w for w in self._state.watches if w.collection == collection)

    def wait_for_watch(self, collection: str, count: int = 1) -> _Watches:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.watches(collection)) >= count, DEADLINE), "nobody watches"
            return self.watches(collection)

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Until a request or a change makes it true."""
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE), "it did not happen"
            return condition()

    # --- how it works ---------------------------------------------------------------------------------

    def _next_version(self) -> str:
        self._state.version += 1
        return str(self._state.version)

    def _tell(self, collection: str, kind: str, thing: Object) -> None:
        self._state.history.append((self._state.version, collection, {"type": kind, "object": thing}))
        for watch in self.watches(collection):
            watch.send({"type": kind, "object": thing})
        self._changed.notify_all()

    def _note(self, request: Request) -> Any:
        """Writes it down; what was scripted for it, if anything was."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            method = "WATCH" if "watch" in request.query else request.method
            for script in self._state.scripts:
                if f"{method} {request.path}".startswith(script[0]):
                    self._state.scripts.remove(script)
                    return script[1]
        return None

    def _list(self, collection: str, query: dict[str, str]) -> Object:
        with self._lock:
            things = sorted(self._state.objects.get(collection, {}).items())
            start = int(query.get("continue", "0"))
            end = start + min(int(query.get("limit", "1000000")), self.page)
            more = str(end) if end < len(things) else ""
            return {"kind": "List", "metadata": {"resourceVersion": str(self._state.version), "continue": more},
                    "items": [thing for _, thing in things[start:end]]}  # fmt: skip

    def _open_watch(self, collection: str, since: int) -> _Watch | None:
        with self._changed:
            if since < self._state.oldest:
                return None
            watch = _Watch(collection)
            for version, where, event in self._state.history:
                if where == collection and version > since:
                    watch.send(event)
            self._state.watches.append(watch)
            self._changed.notify_all()
            return watch

    def _close_watch(self, watch: _Watch) -> None:
        with self._lock:
            self._state.watches.remove(watch)


def _key(thing: Object) -> tuple[str, str]:
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


class _Listener(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.api._lock:
            self.api.connections += 1
            self.number = self.api.connections

    def log_message(self, *_: Any) -> None:
        """Tests read `requests`."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        parts = urlsplit(self.path)
        request = Request(self.command, parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()},
                          self.headers.get("Authorization", "").removeprefix("Bearer "),
                          self.headers.get("Content-Type", ""), json.loads(text) if text else None,
                          self.number)  # fmt: skip
        scripted = self.api._note(request)
        if isinstance(scripted, Refusal):
            self._refuse(scripted.code, scripted.message, scripted.reason, scripted.retry_after)
        elif isinstance(scripted, Raw):
            self.wfile.write(scripted.text)
            self._end()
        elif isinstance(scripted, Silence):
            self.api._stopped.wait()
            self._end()
        elif scripted is not None:
            self._answer(200, scripted)
        elif request.token not in self.api.tokens:
            self._refuse(401, "Unauthorized")
        else:
            self._do(request)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    def _do(self, request: Request) -> None:
        place = _place(request.path)
        if place is None:
            return self._refuse(404, "the server could not find the requested resource")
        collection, space, name, sub = place
        if request.method == "GET" and "watch" in request.query:
            return self._watch(collection, int(request.query.get("resourceVersion", "0")))
        if request.method == "GET" and not name:
            return self._answer(200, self.api._list(collection, request.query))
        if request.method == "POST" and (review := self.api.reviews.get(request.body.get("kind", ""))):
            return self._answer(201, {**request.body, "status": review(request.body["spec"])})
        with self.api._lock:  # of two who create or change the same, one is told that the other was quicker
            code, thing = self._act(request, collection, space, name, sub)
        self._answer(code, thing)

    def _act(self, request: Request, collection: str, space: str, name: str, sub: str) -> tuple[int, Object]:
        if request.method == "POST":
            return self._create(collection, space, request.body)
        held = self.api.get(collection, name, space)
        if held is None:
            return 404, status(404, f'"{name}" not found')
        if request.method == "GET":
            return 200, held
        if request.method == "DELETE":
            self.api.delete(collection, name, space)
            return 200, {"kind": "Status", "status": "Success"}
        return self._change(collection, held, sub, request)

    def _create(self, collection: str, space: str, thing: Object) -> tuple[int, Object]:
        metadata = thing.setdefault("metadata", {})
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{self.api._state.version}"
        if space:
            metadata["namespace"] = space
        if self.api.get(collection, metadata["name"], space):
            return 409, status(409, "it exists", "AlreadyExists")
        return 201, self.api.put(collection, thing)

    def _change(self, collection: str, held: Object, sub: str, request: Request) -> tuple[int, Object]:
        if request.method == "PATCH" and request.content_type != "application/merge-patch+json":
            return 415, status(415, "only merge patches are taken")
        sent = request.body
        asked = sent.get("metadata", {}).get("resourceVersion")
        if asked and asked != held["metadata"]["resourceVersion"]:
            return 409, status(409, "the object has been modified")
        changed = _merge(held, sent) if request.method == "PATCH" else sent
        # As with the status subresource: each side changes its own half only.
        if sub == "status":
            changed = {**held, "status": changed.get("status", {})}
        elif "status" in held:
            changed = {**changed, "status": held["status"]}
        return 200, self.api.put(collection, changed)

    def _watch(self, collection: str, since: int) -> None:
        watch = self.api._open_watch(collection, since)
        if watch is None:
            return self._refuse(410, "too old resource version")
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while (item := watch.take()) is not None:
                if item is ConnectionResetError:
                    return self._end()
                text = item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.api._close_watch(watch)

    def _answer(self, code: int, thing: Object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(thing).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _refuse(self, code: int, message: str, reason: str = "", retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._answer(code, status(code, message, reason), headers)

    def _end(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _place(path: str) -> tuple[str, str, str, str] | None:
    """(collection, namespace, name, subresource) of a path; the collection is the one over all namespaces."""
    parts = path.strip("/").split("/")
    group = 2 if parts[0] == "api" else 3
    if parts[0] not in ("api", "apis") or len(parts) <= group:
        return None
    root, rest, space = parts[:group], parts[group:], ""
    if rest[0] == "namespaces" and len(rest) > 2:
        space, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return "/" + "/".join([*root, rest[0]]), space, rest[1], rest[2]


def token_file(path: Path, token: str = "token-1") -> Path:
    """As kubelet writes it: readable by all in the pod, replaced by a rename."""
    fresh = path.with_suffix(".new")
    fresh.write_text(token)
    fresh.chmod(0o644)
    fresh.rename(path)
    return path
