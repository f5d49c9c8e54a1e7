"""The servers that the suite stands on, without mintfs: if these lied, every other test would."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import PASSWORD, USER, Gate, GitServer
from support.job import Job
from support.mintfs import assert_no_sanitizer_report, base_environment
from support.ports import own_loopback_address
from support.raw_http import exchange, request
from support.recorder import Recorder, Reply
from support.tls import Authority
from support.waiting import DEADLINE

HELPER = f"credential.helper=!f() {{ echo 'username={USER}'; echo 'password={PASSWORD}'; }}; f"
CREDENTIAL = "http.extraHeader=Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def test_a_private_repository_refuses_a_clone_without_its_password(server: GitServer, new_job: Callable[..., Job]) -> None:
    job = new_job()
    assert job.git("clone", f"{server.url}/acme/app.git", check=False).returncode == 128
    assert job.prompts


def test_a_private_repository_gives_a_clone_for_its_password(server: GitServer, new_job: Callable[..., Job]) -> None:
    work = new_job().clone(f"{server.url}/acme/app.git", "-c", CREDENTIAL)
    assert (work / "hello.txt").read_text() == "hello\n"


def test_a_push_of_a_large_pack_arrives_chunked(server: GitServer, new_job: Callable[..., Job]) -> None:
    job = new_job()
    work = job.clone(f"{server.url}/acme/app.git", "-c", CREDENTIAL)
    head = job.commit(work, "big", os.urandom(2 << 20))
    trace = job.git("push", "--quiet", cwd=work, env={"GIT_TRACE_CURL": "1"}).stderr
    assert server.head("acme/app") == head
    assert "Transfer-Encoding: chunked" in trace


def test_a_clone_over_tls_needs_the_authority(
    start_server: Callable[..., GitServer], authority: Authority, new_job: Callable[..., Job]
) -> None:
    server = start_server(tls=authority.issue("IP:127.0.0.1"))
    server.create("acme/app")
    job, url = new_job(), f"{server.url}/acme/app.git"
    assert "certificate" in job.git("-c", CREDENTIAL, "clone", url, check=False).stderr
    job.clone(url, "-c", CREDENTIAL, "-c", f"http.sslCAInfo={authority.certificate}")


def test_the_lfs_server_stores_and_gives_objects_for_the_password(
    start_server: Callable[..., GitServer], new_job: Callable[..., Job]
) -> None:
    server, job = start_server(lfs=True), new_job()
    server.create("acme/app", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    job.run("git", "lfs", "install", "--skip-repo")
    url, content = f"{server.url}/acme/app.git", os.urandom(1 << 20)
    work = job.clone(url, "-c", HELPER)
    job.commit(work, "large.bin", content)
    job.git("push", "--quiet", cwd=work)
    assert (job.clone(url, "-c", HELPER, to="again") / "large.bin").read_bytes() == content
    assert "version https://git-lfs" in server.git("-C", server.projects / "acme/app.git", "show", "main:large.bin")


def test_a_gate_holds_a_clone_in_its_middle(
    start_server: Callable[..., GitServer], gate: Gate, new_job: Callable[..., Job]
) -> None:
    server, job = start_server(gate=gate), new_job()
    server.create("acme/large", {"blob": os.urandom(4 << 20)})
    clone = job.start("git", "-c", CREDENTIAL, "clone", "--quiet", f"{server.url}/acme/large.git", job.home / "large")
    gate.wait()
    assert clone.poll() is None
    gate.open()
    said, _ = clone.communicate(timeout=DEADLINE)
    assert clone.returncode == 0, said


def test_the_recorder_answers_by_script_and_remembers(upstream: Recorder) -> None:
    upstream.when("GET", "/moved", Reply(302, {"Location": "/there"}))
    assert exchange(upstream.port, request("GET", "/moved", "X-Mine: 1")).status == 302
    assert exchange(upstream.port, request("POST", "/other", body=b"abc")).body == b"recorded"
    assert [r.target for r in upstream.requests] == ["/moved", "/other"]
    assert upstream.requests[0].all("x-mine") == ["1"]
    assert (upstream.requests[1].body, upstream.connections) == (b"abc", 2)


@pytest.mark.root
def test_a_server_may_listen_on_the_standard_port_of_its_own_loopback_address(
    start_server: Callable[..., GitServer], new_job: Callable[..., Job]
) -> None:
    server = start_server(host=own_loopback_address(80), port=80)
    server.create("acme/app")
    assert server.url.count(":") == 1
    new_job().clone(f"{server.url}/acme/app.git", "-c", CREDENTIAL)


FAULTS = {
    "address": "int main() { volatile char* p = new char[1]; p[1] = 1; }",
    "leak": "#include <cstdlib>\nint main() { for (int i = 0; i < 9; ++i) { void* volatile p = malloc(1); p = nullptr; } }",
    "undefined": "int main(int argc, char**) { volatile int i = 2147483647; i = i + argc; }",
    # Both threads are there for it: of one that has ended there may be nothing left to tell.
    "thread": "#include <thread>\nvolatile bool begun, ended; int main() {"
              " std::thread t([] { begun = true; while (!ended) {} }); while (!begun) {} ended = true; t.join(); }",
}


@pytest.mark.parametrize("compiler", ["clang++-16", "g++"])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_report_of_a_sanitizer_is_recognised(tmp_path: Path, kind: str, compiler: str) -> None:
    source, program = tmp_path / "fault.cc", tmp_path / "fault"
    source.write_text(FAULTS[kind] + "\n")
    sanitizer = "address" if kind == "leak" else kind
    subprocess.run([compiler, f"-fsanitize={sanitizer}", "-pthread", source, "-o", program], check=True)
    said = subprocess.run([program], env=base_environment(), capture_output=True, text=True).stderr
    with pytest.raises(AssertionError, match="holds a sanitizer's report"):
        assert_no_sanitizer_report(said, "the program")
