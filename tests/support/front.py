"""A front of a Git server that renames repositories as GitLab does: a GET of the old path is redirected
to the new one, a POST to the old path is answered 404."""

from __future__ import annotations

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Front:
    """`old` is a regular expression for the front of a path, `new` what stands in its place."""

    def __init__(self, port: int, old: str, new: str, *, posts: int = 404) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.old, self.new, self.posts, self.behind = re.compile(old), new, posts, port
        handler = type("Handler", (_Handler,), {"front": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    front: Front
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self._body()
        if (renamed := self.front.old.sub(self.front.new, self.path)) == self.path:
            self._relay(body)
        elif self.command == "GET":
            self._answer(301, {"Location": f"{self.front.url}{renamed}"}, b"moved")
        else:
            self._answer(self.front.posts, {"Location": f"{self.front.url}{renamed}"}, b"no such page")

    do_POST = do_PUT = do_GET

    def _relay(self, body: bytes) -> None:
        behind = http.client.HTTPConnection("127.0.0.1", self.front.behind)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "transfer-encoding", "connection")}
        behind.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
        answer = behind.getresponse()
        content = answer.read()
        dropped = ("content-length", "transfer-encoding", "connection", "keep-alive", "date", "server")
        self._answer(answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in dropped}, content)
        behind.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.front.seen.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass
