"""The way out through a corporate proxy: CONNECT, and nothing past it."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.tls import Authority


class ConnectProxy:
    """Answers CONNECT as told; a good one is led to `target`, whatever name was asked for."""

    def __init__(self, target: tuple[str, int], answer: str = "200 Connection established") -> None:
        self._target, self._answer = target, answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = client.recv(1)
            if not piece:
                return
            head += piece
        self.asked.append(head.decode())
        client.sendall(f"HTTP/1.1 {self._answer}\r\n\r\n".encode())
        if not self._answer.startswith("200"):
            client.close()
            return
        server = socket.create_connection(self._target)
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self) -> None:
        self._listener.close()


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., ConnectProxy]]:
    started: list[ConnectProxy] = []

    def start(*arguments: object, **options: object) -> ConnectProxy:
        started.append(ConnectProxy(*arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def far(start_server: Callable[..., GitServer], authority: Authority) -> GitServer:
    """A server whose name only the egress proxy can resolve."""
    server = start_server(tls=authority.issue("DNS:git.far.invalid"))
    server.create("acme/app", {"hello.txt": "hello\n"})
    return server


def _start(start_mintfs: Callable[..., Daemon], far: GitServer, password: Path, authority: Authority,
           **proxy: object) -> tuple[Daemon, str]:  # fmt: skip
    address = f"https://git.far.invalid:{far.port}"
    git = connector("git", address, password, ca_file=str(authority.certificate))
    return start_mintfs(git, proxy=proxy), address


def test_a_clone_goes_out_by_connect_and_is_tls_all_the_way(
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], far: GitServer, password: Path,
    authority: Authority, start_proxy: Callable[..., ConnectProxy],
) -> None:  # fmt: skip
    proxy = start_proxy(("127.0.0.1", far.port))
    mintfs, address = _start(start_mintfs, far, password, authority, egress=f"http://127.0.0.1:{proxy.port}")
    job = new_job(mintfs.open_lease())
    job.clone(f"{address}/acme/app.git")
    assert {asked.split("\r\n")[0] for asked in proxy.asked} == {f"CONNECT git.far.invalid:{far.port} HTTP/1.1"}
    assert not any("Authorization" in asked for asked in proxy.asked)


def test_the_environment_of_the_daemon_is_honoured_with_its_password(
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], far: GitServer, password: Path,
    authority: Authority, start_proxy: Callable[..., ConnectProxy], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    proxy = start_proxy(("127.0.0.1", far.port))
    wrapper = ["env", f"https_proxy=http://us:canary-egress@127.0.0.1:{proxy.port}"]
    address = f"https://git.far.invalid:{far.port}"
    mintfs = start_mintfs(connector("git", address, password, ca_file=str(authority.certificate)), wrapper=wrapper)
    new_job(mintfs.open_lease()).clone(f"{address}/acme/app.git")
    expected = base64.b64encode(b"us:canary-egress").decode()
    assert all(f"Proxy-Authorization: Basic {expected}\r\n" in asked for asked in proxy.asked) and proxy.asked
    assert "canary-egress" not in mintfs.log() and expected not in mintfs.log()


def test_a_proxy_that_says_no_is_told_of_and_not_gone_past(
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], far: GitServer, password: Path,
    authority: Authority, start_proxy: Callable[..., ConnectProxy],
) -> None:  # fmt: skip
    proxy = start_proxy(("127.0.0.1", far.port), answer="407 Proxy Authentication Required")
    mintfs, address = _start(start_mintfs, far, password, authority, egress=f"http://127.0.0.1:{proxy.port}")
    done = new_job(mintfs.open_lease()).git("ls-remote", f"{address}/acme/app.git", check=False)
    assert done.returncode != 0 and "502" in done.stderr
    assert "egress-refused" in mintfs.log()


def test_a_metadata_address_is_refused_behind_an_egress_proxy_too(
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], far: GitServer, password: Path,
    start_proxy: Callable[..., ConnectProxy],
) -> None:  # fmt: skip
    proxy = start_proxy(("127.0.0.1", far.port))
    address = "http://169.254.169.254"
    mintfs = start_mintfs(connector("git", address, password), proxy={"egress": f"http://127.0.0.1:{proxy.port}"})
    new_job(mintfs.open_lease()).git("ls-remote", f"{address}/acme/app.git", check=False)
    assert "address-denied" in mintfs.log() and not proxy.asked


def test_a_proxy_that_cannot_be_spoken_to_keeps_mintfsd_from_starting(
    start_mintfs: Callable[..., Daemon], server: GitServer, password: Path
) -> None:
    daemon = start_mintfs(connector("git", server.url, password), ready=False,
                          wrapper=["env", "ALL_PROXY=socks5://us:canary-egress@127.0.0.1:1"])  # fmt: skip
    said = daemon.refuses_to_start()
    assert "ALL_PROXY" in said and "proxy.egress" in said and "canary" not in said
