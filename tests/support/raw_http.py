"""An HTTP client that sends what it is told, byte for byte."""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import dataclass

from support.waiting import DEADLINE


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def reason_word(self) -> str:
        """The word after "mintfs:" of an answer that the proxy itself gave."""
        text = self.body.decode("utf-8", "replace")
        assert text.startswith("mintfs: "), f"not an answer of the proxy: {self.status} {text!r}"
        return text.split(": ", 2)[1]


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=DEADLINE)


def receive(connection: socket.socket, method: str = "GET") -> Response:
    """Reads one answer; an empty one (the peer just closed) has status 0."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return Response(0, http.client.HTTPMessage(), b"")
    with response:
        return Response(response.status, response.msg, response.read())


def exchange(port: int, request: bytes, host: str = "127.0.0.1") -> Response:
    """One connection, one request, one answer. The peer may answer before it has read everything."""
    with connect(port, host) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        return receive(connection, request.split(b" ", 1)[0].decode("latin-1"))


def request(method: str, target: str, *headers: str, host: str = "mintfs", body: bytes = b"") -> bytes:
    """A well-formed request; `headers` are whole lines. A body brings its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
