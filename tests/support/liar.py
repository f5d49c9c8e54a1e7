"""An upstream whose every byte is the test's: a function holds each conversation by hand.

    def talk(peer: Peer) -> None:
        while peer.ask():
            peer.say(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nokforged")

    liar = Liar(talk)

A conversation ends when the function returns: the connection is closed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.tls import Certificate


class Peer:
    """One connection; `number` counts them from 0."""

    def __init__(self, connection: socket.socket, number: int, stopped: threading.Event) -> None:
        self.connection, self.number, self._stopped, self._buffer = connection, number, stopped, b""

    def ask(self) -> str:
        """The next request's head, its body is read and dropped; "" when there is none."""
        while b"\r\n\r\n" not in self._buffer:
            if not (piece := self.connection.recv(65536)):
                return ""
            self._buffer += piece
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        for line in text.split("\r\n"):
            if line.lower().startswith("content-length:"):
                self._take(int(line.split(":")[1]))
        return text

    def _take(self, size: int) -> None:
        while len(self._buffer) < size:
            if not (piece := self.connection.recv(65536)):
                return
            self._buffer += piece
        self._buffer = self._buffer[size:]

    def say(self, text: bytes) -> None:
        self.connection.sendall(text)

    def pause(self, seconds: float) -> None:
        """A pace, not a wait for something; ends early with the server."""
        self._stopped.wait(seconds)


class Liar:
    """Listens from construction to `stop()` on a port that the kernel chooses."""

    def __init__(self, talk: Callable[[Peer], None], *, tls: Certificate | None = None) -> None:
        self.connections = 0
        self._talk, self._stopped = talk, threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._tls and tls:
            self._tls.load_cert_chain(tls.certificate, tls.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
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
            number, self.connections = self.connections, self.connections + 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        # A peer that goes away has the right to.
        with contextlib.suppress(OSError, ValueError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._talk(Peer(connection, number, self._stopped))


@pytest.fixture
def start_liar() -> Iterator[Callable[..., Liar]]:
    """Import it where it is used: start_liar(talk, tls=...)."""
    started: list[Liar] = []

    def start(talk: Callable[[Peer], None], **options: Any) -> Liar:
        started.append(Liar(talk, **options))
        return started[-1]

    yield start
    for liar in started:
        liar.stop()
