"""An upstream over TLS is believed only when its certificate is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import Daemon, connector
from support.raw_http import exchange, request
from support.recorder import Recorder
from support.tls import Authority


@pytest.mark.parametrize(
    "subject, trusted",
    [
        ("IP:127.0.0.1", "stranger"),
        ("IP:127.0.0.2", "issuer"),
        ("DNS:git.example", "issuer"),
        ("DNS:127.0.0.1", "issuer"),  # an address is not a host name, RFC 9110 section 4.3.5
        ("IP:127.0.0.1", "system"),
    ],
)
def test_a_certificate_that_does_not_prove_the_server_is_refused(
    tmp_path: Path, authority: Authority, password: Path, start_upstream: Callable[..., Recorder],
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], subject: str, trusted: str,
) -> None:  # fmt: skip
    upstream = start_upstream(tls=authority.issue(subject))
    stranger = Authority(tmp_path / "stranger", "another authority")
    trust = {"issuer": {"ca_file": str(authority.certificate)}, "stranger": {"ca_file": str(stranger.certificate)}}
    mintfs = start_mintfs(connector("git", upstream.url, password, **trust.get(trusted, {})))
    job = new_job(mintfs.open_lease())

    target = mintfs.path("acme/app.git/info/refs?service=git-upload-pack")
    answer = exchange(mintfs.port, request("GET", target, job.authorization()))
    assert answer.status == 502
    assert answer.reason_word in ("upstream-untrusted", "upstream-unreachable")
    assert upstream.requests == [], "no request, and so no password, reached the impostor"

    done = job.git("clone", f"{upstream.url}/acme/app.git", job.home / "app", check=False)
    assert done.returncode == 128 and job.prompts == []


def test_an_upstream_without_tls_12_is_refused(
    authority: Authority, password: Path, start_upstream: Callable[..., Recorder],
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job],
) -> None:  # fmt: skip
    upstream = start_upstream(tls=authority.issue("IP:127.0.0.1"), newest_tls="TLSv1_1")
    mintfs = start_mintfs(connector("git", upstream.url, password, ca_file=str(authority.certificate)))
    job = new_job(mintfs.open_lease())
    target = mintfs.path("acme/app.git/info/refs?service=git-upload-pack")
    answer = exchange(mintfs.port, request("GET", target, job.authorization()))
    assert (answer.status, upstream.requests) == (502, [])


def test_a_host_name_is_verified_and_sent_as_server_name(
    start_server: Callable[..., GitServer], authority: Authority, password: Path,
    start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job],
) -> None:  # fmt: skip
    server = start_server(tls=authority.issue("DNS:localhost"))
    server.create("acme/app")
    address = server.url.replace("127.0.0.1", "localhost")
    mintfs = start_mintfs(connector("git", address, password, ca_file=str(authority.certificate)))
    new_job(mintfs.open_lease()).clone(f"{address}/acme/app.git")
