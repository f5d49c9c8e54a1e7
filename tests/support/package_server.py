"""A server of packages that demands one header with the real credential, as npm, PyPI and Maven are spoken to.

It keeps what is uploaded and gives it out. Every request without exactly its credential is answered 401, and
what came in place of it is remembered.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from support.tls import Certificate


class PackageServer:
    def __init__(self, header: str, value: str, *, tls: Certificate | None = None) -> None:
        self.header, self.value = header, value
        self.strangers: list[str] = []  # requests that did not show the credential, with what they showed
        self.seen: list[tuple[str, str]] = []  # (method, target) of those that did
        self.heads: list[str] = []  # every header section, whole
        self.files: dict[str, bytes] = {}  # path -> content, of Maven and PyPI
        self.packages: dict[str, dict] = {}  # npm
        self.answers: dict[tuple[str, str], tuple[int, str, bytes]] = {}  # (method, path) -> status, type, body
        self.project_links: dict[str, list[str]] = {}  # PyPI: project -> links
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
                server.heads.append(f"{self.requestline}\n{self.headers}")
                if self.headers.get_all(server.header) != [server.value]:
                    server.strangers.append(f"{self.requestline}: {self.headers.get_all(server.header)}")
                    return self._answer(401, "text/plain", b"who are you?")
                server.seen.append((self.command, self.path))
                self._answer(*server.answer(self.command, self.path, self.headers, body))

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _serve

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status // 100 == 3:
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def base(self, _format: str) -> str:
        """Of the links to packages of this format."""
        return self.url

    def answer(self, method: str, target: str, headers: object, body: bytes) -> tuple[int, str, bytes]:
        path = urlsplit(target).path
        if (method, path) in self.answers:
            return self.answers[method, path]
        if path.startswith("/simple/") and method in ("GET", "HEAD"):
            return self._index(path.split("/")[2])
        if method == "POST" and path in ("/", "/legacy/"):
            return self._upload(headers, body)
        if path in self.files and method in ("GET", "HEAD"):
            return 200, "application/octet-stream", self.files[path]
        if path.startswith("/maven/"):
            if method == "PUT":
                self.files[path] = body
                return 201, "text/plain", b""
            return 404, "text/plain", b"no such file"
        return self._npm(method, path, body)

    # --- npm ---------------------------------------------------------------------------------------

    def _npm(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        name, _, rest = unquote(path[1:]).partition("/-/")
        if method == "PUT" and not rest:
            document = json.loads(body)
            for file, attachment in document.pop("_attachments").items():
                self.files[f"/{name}/-/{file.rpartition('/')[2]}"] = base64.b64decode(attachment["data"])
            for version in document["versions"].values():
                file = version["dist"]["tarball"].rpartition("/")[2]
                version["dist"]["tarball"] = f"{self.base('npm')}/{name}/-/{file}"
            self.packages[name] = document
            return 201, "application/json", b'{"ok":true}'
        if method == "GET" and name in self.packages and not rest:
            return 200, "application/json", json.dumps(self.packages[name]).encode()
        return 404, "application/json", b'{"error":"not found"}'

    # --- PyPI --------------------------------------------------------------------------------------

    def _index(self, project: str) -> tuple[int, str, bytes]:
        links = self.project_links.get(project)
        if links is None:
            return 404, "text/plain", b"no such project"
        anchors = "".join(f'<a href="{link}">{link.rpartition("/")[2].partition("#")[0]}</a><br/>\n' for link in links)
        return 200, "text/html; charset=utf-8", f"<!DOCTYPE html><html><body>\n{anchors}</body></html>".encode()

    def _upload(self, headers: object, body: bytes) -> tuple[int, str, bytes]:
        kind = headers["Content-Type"]  # type: ignore[index]
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
            f"Content-Type: {kind}\r\n\r\n".encode() + body
        )
        fields = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        name = re.sub(r"[-_.]+", "-", fields["name"].get_content().strip()).lower()
        file, content = fields["content"].get_filename(), fields["content"].get_payload(decode=True)
        self.files[f"/packages/{file}"] = content
        digest = hashlib.sha256(content).hexdigest()
        self.project_links.setdefault(name, []).append(f"{self.base('pypi')}/packages/{file}#sha256={digest}")
        return 200, "text/plain", b""
