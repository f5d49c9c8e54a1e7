"""Debian's docker-registry, which demands a password itself or a token of its token service."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.ports import free_port
from support.waiting import eventually

USER, PASSWORD, SERVICE, ISSUER = "robot", "registry-pass-word", "test registry", "test issuer"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class TokenService:
    """Gives who shows the password what it asks for, and remembers everything."""

    def __init__(self, root: Path) -> None:
        self.key, self.certificate = root / "token.key", root / "token.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ISSUER}",
                        "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)  # fmt: skip
        self.scopes: list[str] = []
        self.strangers: list[str] = []
        self.tokens: list[str] = []
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                shown = self.headers.get_all("Authorization")
                if shown != [wanted]:
                    service.strangers.append(str(shown))
                    self.send_error(401)
                    return
                scope = parse_qs(urlsplit(self.path).query).get("scope", [""])[0]
                service.scopes.append(scope)
                body = json.dumps({"token": service._token(scope), "expires_in": 300}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _token(self, scope: str) -> str:
        kind, name, actions = (scope.split(":") + ["", "", ""])[:3]
        der = subprocess.run(["openssl", "x509", "-in", self.certificate, "-outform", "DER"],
                             check=True, capture_output=True).stdout  # fmt: skip
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        access = [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else []
        claims = {"iss": ISSUER, "aud": SERVICE, "sub": USER, "iat": now - 10, "nbf": now - 10, "exp": now + 300,
                  "access": access}  # fmt: skip
        text = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                                   input=text.encode(), check=True, capture_output=True).stdout  # fmt: skip
        self.tokens.append(f"{text}.{_encoded(signature)}")
        return self.tokens[-1]


class ImageRegistry:
    def __init__(self, root: Path, tokens: TokenService | None = None) -> None:
        root.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if tokens:
            auth = f"  token:\n    realm: {tokens.url}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n" \
                   f"    rootcertbundle: {tokens.certificate}\n"  # fmt: skip
        else:
            line = subprocess.run(["htpasswd", "-nbB", USER, PASSWORD], check=True, capture_output=True, text=True)
            (root / "htpasswd").write_text(line.stdout)
            auth = f"  htpasswd:\n    realm: registry\n    path: {root}/htpasswd\n"
        (root / "config.yml").write_text(
            f"version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\n"
            f"  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{self.port}\n  secret: test\nauth:\n{auth}"
        )
        self._log = (root / "log").open("wb")
        self._process = subprocess.Popen(["docker-registry", "serve", root / "config.yml"],
                                         stdout=self._log, stderr=self._log)  # fmt: skip
        eventually("the registry listens", self._listens)

    def _listens(self) -> bool:
        import socket

        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()
