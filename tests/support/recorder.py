"""An upstream that answers by script and remembers every connection and every request.

    upstream.when("GET", "/acme/app.git/info/refs", Reply(302, {"Location": elsewhere}))

Without a matching line the answer is 200 with the body "recorded". It reads requests by hand, so that
what it remembers is what came over the wire and not what a library made of it. Of a body it remembers
the beginning and the size, and it sends bodies of any size without having them in memory.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from support.tls import Certificate


#: How much of a body is kept, and how much is sent or read at once.
BLOCK = 1 << 20


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes  # its first BLOCK bytes
    size: int = 0  # of the whole body

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True)
class Reply:
    """`raw` is sent as it is; `silent` sends nothing and keeps the connection open. With `size` the body
    is so many zeros; `chunked` sends that without a Content-Length."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"recorded"
    raw: bytes | None = None
    silent: bool = False
    size: int | None = None
    chunked: bool = False

    def pieces(self) -> Iterator[bytes]:
        """What is sent, bit by bit."""
        if self.raw is not None:
            yield self.raw
            return
        size = len(self.body) if self.size is None else self.size
        framing = {"Transfer-Encoding": "chunked"} if self.chunked else {"Content-Length": str(size)}
        lines = {"Content-Type": "text/plain", **framing, **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        yield f"HTTP/1.1 {self.status} Scripted\r\n{head}\r\n".encode()
        block = self.body if self.size is None else bytes(min(size, BLOCK))
        for at in range(0, size, len(block) or 1):
            part = block[: size - at]
            yield b"%x\r\n" % len(part) + part + b"\r\n" if self.chunked else part
        if self.chunked:
            yield b"0\r\n\r\n"


class Recorder:
    """Listens from construction to `stop()` on a port that the kernel chooses, unless it is told one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: Certificate | None = None,
                 newest_tls: str | None = None) -> None:  # fmt: skip
        self.requests: list[Request] = []
        self.connections = 0
        self.sent = 0  # bytes of answers that the network took
        self.refused = threading.Semaphore(0)  # one permit for each answer that the peer did not take whole
        self.asked = threading.Semaphore(0)  # one permit for each request, for tests that wait for one
        self._replies: list[tuple[str, str, Reply]] = []
        self._stopped = threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._tls and tls:
            self._tls.load_cert_chain(tls.certificate, tls.key)
            if newest_tls:
                self._tls.set_ciphers("ALL:@SECLEVEL=0")
                self._tls.minimum_version = ssl.TLSVersion.TLSv1
                self._tls.maximum_version = ssl.TLSVersion[newest_tls]
        self._listener = socket.create_server((host, port))
        self.host, self.port = host, int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def when(self, method: str, target: str, reply: Reply) -> None:
        """The latest line that matches wins; `target` is a prefix."""
        self._replies.insert(0, (method, target, reply))

    def stop(self) -> None:
        """Takes no more connections and ends silent ones. Stopping twice is harmless."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        # Closing alone would leave the thread in accept(): the kernel keeps the socket until it returns.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while request := _read(stream):
                    self.requests.append(request)
                    reply = self._reply_to(request)
                    self.asked.release()
                    if reply.silent:
                        self._stopped.wait()
                        return
                    self._answer(connection, reply)
                    if reply.raw is not None:
                        return
        except (OSError, ValueError):
            pass  # the peer went away, which is its right

    def _answer(self, connection: socket.socket, reply: Reply) -> None:
        try:
            for piece in reply.pieces():
                rest = memoryview(piece)
                while rest:
                    taken = connection.send(rest)
                    self.sent += taken
                    rest = rest[taken:]
        except OSError:
            self.refused.release()
            raise

    def _reply_to(self, request: Request) -> Reply:
        for method, target, reply in self._replies:
            if method == request.method and request.target.startswith(target):
                return reply
        return Reply()


def _read(stream: object) -> Request | None:
    readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
    first = readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = []
    while (line := readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    request = Request(first[0], first[1], tuple(headers), b"")
    kept, total = bytearray(), 0

    def take(size: int) -> None:
        nonlocal total
        total += size
        while size:
            part = read(min(size, BLOCK))
            if not part:
                raise ValueError("the body breaks off")
            kept.extend(part[: BLOCK - len(kept)])
            size -= len(part)

    if "chunked" in [value.lower() for value in request.all("Transfer-Encoding")]:
        while size := int(readline().split(b";")[0], 16):
            take(size)
            readline()
        readline()
    else:
        take(int((request.all("Content-Length") or ["0"])[0]))
    return Request(first[0], first[1], tuple(headers), bytes(kept), total)
