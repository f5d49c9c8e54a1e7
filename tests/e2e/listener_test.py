"""Where the proxy listens: several addresses, https with a certificate that is renewed, Unix sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.ports import free_port
from support.raw_http import exchange, request
from support.tls import Authority, Certificate
from support.waiting import DEADLINE, eventually

INFO_REFS = "acme/app.git/info/refs?service=git-upload-pack"


@pytest.fixture
def served(authority: Authority) -> Certificate:
    """The certificate of the proxy; a key is closed to others, or it is refused."""
    certificate = authority.issue("IP:127.0.0.1", stem="proxy")
    certificate.key.chmod(0o600)
    return certificate


@pytest.fixture
def start_https(
    start_mintfs: Callable[..., Daemon], server: GitServer, password: Path, served: Certificate, authority: Authority
) -> Callable[..., Daemon]:
    def start(*more_listeners: str, port: int | None = None, patience: str = "10m", **options: object) -> Daemon:
        at = f"127.0.0.1:{port or free_port()}"
        proxy = {"listen": [f"https://{at}", *more_listeners], "url": f"https://{at}",
                 "tls_certificate": served.certificate, "tls_key": served.key, "tls_ca": authority.certificate,
                 "header_timeout": patience}  # fmt: skip
        return start_mintfs(connector("git", server.url, password), proxy=proxy, **options)

    return start


def _https_port(mintfs: Daemon) -> int:
    return int(mintfs.control_api("GET", "/v1/status")[1]["proxy_url"].rpartition(":")[2])


def _presented(port: int) -> bytes:
    """The certificate that the listener shows, unverified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as plain, context.wrap_socket(plain) as tls:
        certificate = tls.getpeercert(binary_form=True)
        assert certificate
        return certificate


# --- https -------------------------------------------------------------------------------------------


def test_git_clones_and_pushes_over_https_and_finds_whom_to_trust_in_the_view(
    start_https: Callable[..., Daemon], new_job: Callable[..., Job], server: GitServer, authority: Authority
) -> None:
    mintfs = start_https()
    job = new_job(mintfs.open_lease())
    assert job.lease
    assert (job.lease.path / "ca.crt").read_text().strip() == authority.certificate.read_text().strip()
    assert f"sslCAInfo = {job.lease.path}/ca.crt" in job.gitconfig()
    assert (job.lease.path / "ca.crt").stat().st_size == len((job.lease.path / "ca.crt").read_bytes())
    work = job.clone(f"{server.url}/acme/app.git")
    commit = job.commit(work, "large", b"x" * 3_000_000)
    job.git("push", "--quiet", "origin", "HEAD", cwd=work)
    assert server.head("acme/app") == commit
    assert not job.prompts


def test_a_certificate_that_the_view_does_not_vouch_for_is_refused_by_git(
    start_https: Callable[..., Daemon], new_job: Callable[..., Job], server: GitServer, tmp_path: Path,
    served: Certificate,
) -> None:  # fmt: skip
    mintfs = start_https()
    job = new_job(mintfs.open_lease())
    foreign = Authority(tmp_path / "foreign").issue("IP:127.0.0.1", stem="proxy")
    port = _https_port(mintfs)
    before = _presented(port)
    foreign.key.chmod(0o600)
    shutil.copy2(foreign.certificate, served.certificate)
    shutil.copy2(foreign.key, served.key)
    eventually("the certificate is replaced", lambda: _presented(port) != before)
    done = job.git("ls-remote", f"{server.url}/acme/app.git", check=False)
    assert done.returncode != 0 and "certificate" in done.stderr


def test_a_renewed_certificate_is_taken_up_and_half_of_one_is_not(
    start_https: Callable[..., Daemon], new_job: Callable[..., Job], server: GitServer, authority: Authority,
    served: Certificate,
) -> None:  # fmt: skip
    mintfs = start_https()
    port = _https_port(mintfs)
    before = _presented(port)
    renewed = authority.issue("IP:127.0.0.1", stem="renewed")
    renewed.key.chmod(0o600)
    shutil.copy2(renewed.certificate, served.certificate)  # its key comes later
    eventually("the half is told of", lambda: "the former certificate serves on: tls_key" in mintfs.log())
    assert _presented(port) == before
    shutil.copy2(renewed.key, served.key)
    eventually("both are taken up", lambda: _presented(port) != before)
    new_job(mintfs.open_lease()).clone(f"{server.url}/acme/app.git")


def test_a_key_that_others_can_read_is_refused(start_https: Callable[..., Daemon], served: Certificate) -> None:
    served.key.chmod(0o644)
    daemon = start_https(ready=False)
    assert str(served.key) in daemon.refuses_to_start()


def test_tls_11_is_refused(start_https: Callable[..., Daemon]) -> None:
    port = _https_port(start_https())
    for version, good in (("-tls1_1", False), ("-tls1_2", True)):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "DEFAULT@SECLEVEL=0"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        assert ("Server certificate" in done.stdout) == good, done.stdout + done.stderr


def test_plain_http_at_the_https_port_is_told_so(start_https: Callable[..., Daemon]) -> None:
    mintfs = start_https()
    answer = exchange(_https_port(mintfs), request("GET", mintfs.path(INFO_REFS)))
    assert answer.status == 400
    assert b"this is the https port" in answer.body


def test_who_never_finishes_the_handshake_is_ended_and_delays_nobody(
    start_https: Callable[..., Daemon], new_job: Callable[..., Job], server: GitServer, authority: Authority
) -> None:
    mintfs = start_https(patience="5s")
    port = _https_port(mintfs)
    slow = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(20)]
    for each in slow:
        each.sendall(b"\x16\x03\x01")
    new_job(mintfs.open_lease()).clone(f"{server.url}/acme/app.git")
    for each in slow:
        assert each.recv(1) == b""
        each.close()


# --- several, and Unix sockets -----------------------------------------------------------------------


def test_all_of_several_listeners_serve_and_a_unix_socket_is_one(
    start_https: Callable[..., Daemon], new_job: Callable[..., Job], tmp_path: Path
) -> None:
    path, plain = tmp_path / "proxy.sock", free_port()
    mintfs = start_https(f"unix:{path}", f"http://127.0.0.1:{plain}")
    job = new_job(mintfs.open_lease())
    assert exchange(plain, request("GET", mintfs.path(INFO_REFS), job.authorization())).status == 200
    asked = ["curl", "--silent", "--unix-socket", str(path), "-o", "/dev/null", "-w", "%{http_code}",
             f"http://proxy{mintfs.path(INFO_REFS)}"]  # fmt: skip
    assert job.run(*asked, "-H", job.authorization()).stdout == "200"
    assert job.run(*asked).stdout == "403"
    assert path.is_socket()
    mintfs.stop()
    assert not path.exists()


def test_the_socket_of_a_killed_daemon_is_replaced_and_a_file_is_not(
    start_https: Callable[..., Daemon], tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    mintfs = start_https(f"unix:{path}")
    mintfs.kill()
    assert path.is_socket()
    mintfs.start()
    mintfs.stop()
    path.write_text("mine")
    assert "is not a socket" in mintfs.refuses_to_start()
    assert path.read_text() == "mine"


def test_a_socket_that_another_program_listens_on_is_left_to_it(
    start_https: Callable[..., Daemon], tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        said = start_https(f"unix:{path}", ready=False).refuses_to_start()
        assert "in use by another program" in said and "proxy.listen" in said
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))


@pytest.mark.root
def test_listeners_outlive_a_killed_daemon_and_one_that_is_no_longer_named_is_closed(
    start_https: Callable[..., Daemon], new_job: Callable[..., Job], tmp_path: Path, server: GitServer, password: Path,
    served: Certificate, authority: Authority,
) -> None:  # fmt: skip
    path, plain, port = tmp_path / "proxy.sock", free_port(), free_port()
    mintfs = start_https(f"unix:{path}", f"http://127.0.0.1:{plain}", port=port, keeper=True)
    job = new_job(mintfs.open_lease())
    inode = path.stat().st_ino
    mintfs.wait_for_successor_of(mintfs.kill_served())
    assert path.stat().st_ino == inode
    get = request("GET", mintfs.path(INFO_REFS), job.authorization())
    assert exchange(plain, get).status == 200
    job.clone(f"{server.url}/acme/app.git")
    mintfs.configure(
        connector("git", server.url, password),
        proxy={"listen": [f"https://127.0.0.1:{port}", f"unix:{path}"], "url": f"https://127.0.0.1:{port}",
               "tls_certificate": served.certificate, "tls_key": served.key, "tls_ca": authority.certificate},
    )  # fmt: skip
    before = mintfs.pid
    mintfs.cli("upgrade")
    mintfs.wait_for_successor_of(before)

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", plain)) != 0

    eventually("the port is closed", is_closed)
    assert path.stat().st_ino == inode
    job.clone(f"{server.url}/acme/app.git", to="again")


def test_connector_check_asks_over_https(start_https: Callable[..., Daemon]) -> None:
    mintfs = start_https()
    done = mintfs.cli("connector", "check", "git", "--repository", "acme/app")
    assert "ok" in done.stdout
