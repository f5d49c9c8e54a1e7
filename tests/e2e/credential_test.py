"""git-credential-mintfs with the real daemon and the real git."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.credential_helper import HELPER, Helper, lines
from support.git_server import PASSWORD, USER, GitServer
from support.job import Job
from support.mintfs import BUILD, MINTFS, STRANGER, Daemon, Lease, connector
from support.waiting import DEADLINE, eventually

SECRET = "S3CRET-of-a-job/+=x"


WEB = {"protocol": "https", "host": "git.example.com"}
LOGIN = {"username": "alice", "password": SECRET}
AUTHTYPE = {"capability[]": "authtype"}


@pytest.fixture
def helper(mintfs: Daemon) -> Helper:
    return Helper(mintfs, mintfs.open_lease())


# --- git's semantics ---------------------------------------------------------------------------------


def test_what_is_stored_is_given_back(helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    assert helper.silently("get", **WEB) == lines(**LOGIN).strip() + "\n"
    assert helper.get(**WEB, username="alice") == LOGIN
    assert helper.get(**WEB, username="bob") == {}
    assert helper.get(protocol="https", host="other.example.com") == {}


def test_an_empty_user_name_and_password_are_one(helper: Helper) -> None:
    helper.store(**WEB, username="", password="")
    assert helper.get(**WEB) == {"username": "", "password": ""}


def test_a_port_is_part_of_the_host(helper: Helper) -> None:
    helper.store(protocol="http", host="git.example.com:8080", **LOGIN)
    for host in ("git.example.com", "git.example.com:80", "git.example.com:8081"):
        assert helper.get(protocol="http", host=host) == {}, host
    assert helper.get(protocol="http", host="git.example.com:8080") == LOGIN


def test_an_entry_for_http_answers_https_and_the_other_way_round_as_one(helper: Helper) -> None:
    helper.store(protocol="http", host="a.example", **LOGIN)
    helper.store(protocol="https", host="b.example", **LOGIN)
    assert helper.get(protocol="https", host="a.example") == helper.get(protocol="http", host="b.example") == LOGIN
    assert helper.get(protocol="ssh", host="a.example") == {}
    helper.store(protocol="https", host="a.example", username="alice", password="newer")
    assert helper.get(protocol="http", host="a.example")["password"] == "newer"
    helper.erase(protocol="http", host="a.example")
    assert helper.get(protocol="https", host="a.example") == {}


def test_a_lease_can_keep_protocols_apart(mintfs: Daemon) -> None:
    exact = Helper(mintfs, mintfs.open_lease("--exact-protocol"))
    exact.store(protocol="https", host="a.example", **LOGIN)
    assert exact.get(protocol="http", host="a.example") == {}
    assert exact.get(protocol="https", host="a.example") == LOGIN
    mintfs.stop()
    mintfs.start()
    exact.store(protocol="https", host="a.example", **LOGIN)
    assert exact.get(protocol="http", host="a.example") == {}


def test_a_path_must_match_where_git_names_one(helper: Helper) -> None:
    helper.store(**WEB, path="acme/app.git", **LOGIN)
    assert helper.get(**WEB, path="acme/other.git") == {}
    assert helper.get(**WEB, path="acme/app.git") == helper.get(**WEB) == LOGIN
    helper.erase(**WEB)
    helper.store(**WEB, **LOGIN)
    assert helper.get(**WEB, path="acme/app.git") == {}


def test_a_stale_password_does_not_erase_a_newer_one(helper: Helper) -> None:
    helper.store(**WEB, username="alice", password="old")
    helper.store(**WEB, username="alice", password="new")
    helper.erase(**WEB, username="alice", password="old")
    assert helper.get(**WEB)["password"] == "new"
    helper.erase(**WEB, username="alice", password="new")
    assert helper.get(**WEB) == {}


def test_an_absent_field_matches_anything_when_erasing(helper: Helper) -> None:
    for user in ("alice", "bob"):
        helper.store(**WEB, username=user, password=user)
        helper.store(protocol="https", host="other.example", username=user, password=user)
    helper.erase(host="git.example.com")
    assert helper.get(**WEB) == {} and helper.get(protocol="https", host="other.example", username="bob") != {}
    helper.erase()  # an empty description is a mistake
    assert helper.get(protocol="https", host="other.example", username="alice") != {}
    helper.erase(username="bob")
    assert helper.get(protocol="https", host="other.example")["username"] == "alice"


def test_expiry_and_refresh_token_are_given_back_and_what_has_expired_is_not(helper: Helper) -> None:
    later = str(int(time.time()) + 3600)
    more = {"password_expiry_utc": later, "oauth_refresh_token": "refresh-1"}
    helper.store(**WEB, **LOGIN, **more)
    assert helper.get(**WEB) == {**LOGIN, **more}
    helper.store(**WEB, **{**LOGIN, "password_expiry_utc": str(int(time.time()) - 1)})
    assert helper.get(**WEB) == {}


def test_authtype_is_only_for_a_git_that_knows_it(helper: Helper) -> None:
    bearer = {"authtype": "Bearer", "credential": "opaque-1"}
    helper.store(**WEB, **bearer)  # this git did not say that it knows it
    assert helper.get(**AUTHTYPE, **WEB) == {}
    helper.store(**AUTHTYPE, **WEB, **bearer)
    assert helper.get(**AUTHTYPE, **WEB) == {**AUTHTYPE, **bearer}
    assert helper.get(**WEB) == {}
    helper.store(**AUTHTYPE, **{"state[]": "other.1"}, protocol="https", host="e.example", ephemeral="1", **bearer)
    assert helper.get(**AUTHTYPE, protocol="https", host="e.example") == {}


def test_state_and_challenges_of_others_are_passed_over(helper: Helper) -> None:
    said = {"state[]": "other.1", "wwwauth[]": 'Basic realm="x"', "continue": "1", "unknown": "x"}
    helper.store(**said, **WEB, **LOGIN)
    assert helper.get(**said, **WEB) == LOGIN


def test_capability_says_what_there_is(helper: Helper) -> None:
    assert helper.silently("capability").splitlines() == ["version 0", "capability authtype"]


def test_bytes_that_are_no_utf8_come_back_as_they_were(helper: Helper) -> None:
    password = b"password=\xff\xfe caf\xe9"
    description = lines(**WEB).strip().encode() + b"\n"
    assert helper.ask("store", description + b"username=u\n" + password + b"\n").returncode == 0
    assert password in helper.ask("get", description).stdout.splitlines()


# --- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b"host=git.example.com\r", b"host=git.exa\rmple.com", b"host=git.example.com\0", b"host=git.example.com%0ahost=evil",
     b"host=git.example.com/", b"host=a@git.example.com", b"host=git.example.com\nno-equals-sign",
     b"host=git.example.com\nusername=" + b"x" * 65536, b"host=git.example.com\nwwwauth[]=" + b"x" * 65536,
     b"host=" + b"x" * 300, b"host=git.example.com\n" + b"k=v\n" * 70000],
    ids=["cr", "inner-cr", "nul", "percent-0a", "slash", "at", "no-equals", "long", "long-challenge", "long-host", "endless"],
)  # fmt: skip
def test_malformed_input_gets_one_sentence_and_nothing_else(helper: Helper, line: bytes) -> None:
    helper.store(**WEB, **LOGIN)
    for operation in ("get", "store", "erase"):
        done = helper.ask(operation, b"protocol=https\n" + line + b"\npassword=" + SECRET.encode() + b"\nusername=x\n")
        assert done.returncode == 1 and done.stdout == b"", (operation, done)
        said = done.stderr.decode()
        assert re.fullmatch(r"git-credential-mintfs: [^\n]+\n", said) and SECRET not in said and "example" not in said
    assert helper.get(**WEB) == LOGIN


@pytest.mark.parametrize("fields", [{"protocol": "https", "host": ""}, {"protocol": "", "host": "git.example.com"},
                                    {"host": "git.example.com"}, {"protocol": "https"}, {}])  # fmt: skip
def test_nothing_is_given_or_stored_without_a_host_and_a_protocol(helper: Helper, fields: dict[str, str]) -> None:
    helper.store(**WEB, **LOGIN)
    helper.store(**fields, username="x", password="x")
    assert helper.get(**fields) == {}
    if "" in fields.values():
        helper.erase(**fields)
    assert helper.get(**WEB) == LOGIN


def test_lines_that_all_end_in_crlf_are_read(helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    done = helper.ask("get", lines(**WEB).replace("\n", "\r\n"))
    assert (done.stdout.decode(), done.stderr) == (lines(**LOGIN).strip() + "\n", b"")


def test_what_stands_behind_the_empty_line_is_not_read(helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    assert helper.ask("get", lines(**WEB) + "host=other\nnonsense\0\n").stdout


def test_an_unknown_operation_is_passed_over_in_silence(helper: Helper) -> None:
    assert helper.silently("frobnicate", **WEB) == ""


def test_without_a_lease_or_a_daemon_it_is_silent(mintfs: Daemon, helper: Helper) -> None:
    for other in (Helper(mintfs, None), Helper(mintfs, Lease("a" * 26, mintfs.mount)), Helper(mintfs, Lease("../x", mintfs.mount))):
        other.store(**WEB, **LOGIN)
        assert other.get(**WEB) == {}
        other.erase(**WEB)
    assert helper.ask("get", lines(**WEB), "--socket", "/nonexistent/socket").stdout == b""
    mintfs.stop()
    helper.store(**WEB, **LOGIN)
    assert helper.get(**WEB) == {}


def test_a_command_line_that_is_wrong_is_told(helper: Helper) -> None:
    assert helper.ask("--frobnicate", "").returncode == 2
    said = helper.ask("--help", "").stdout.decode()
    assert "--lease" in said and "--socket" in said and "get, store, erase" in said


def test_a_lease_keeps_only_so_many(helper: Helper) -> None:
    for number in range(64):
        helper.store(protocol="https", host=f"h{number}.example", **LOGIN)
    full = helper.ask("store", lines(protocol="https", host="one.more", **LOGIN))
    assert full.returncode == 1 and b"at most 64" in full.stderr and SECRET.encode() not in full.stderr
    helper.store(protocol="https", host="h0.example", username="alice", password="newer")  # in place of another
    assert helper.get(protocol="https", host="h0.example")["password"] == "newer"
    assert helper.get(protocol="https", host="one.more") == {}


def test_a_lease_keeps_only_so_many_bytes(helper: Helper) -> None:
    for number in range(4):
        helper.store(protocol="https", host=f"h{number}.example", username="u", password="x" * 16384)
    assert helper.ask("store", lines(protocol="https", host="more.example", username="u", password="x")).returncode == 1
    too_long = helper.ask("store", lines(protocol="https", host="h0.example", username="u", password="x" * 16385))
    assert too_long.returncode == 1 and b"16384" in too_long.stderr
    assert len(helper.get(protocol="https", host="h0.example")["password"]) == 16384


# --- who may -----------------------------------------------------------------------------------------


def test_two_jobs_of_one_user_never_see_each_others_credential(mintfs: Daemon) -> None:
    jobs = [Helper(mintfs, mintfs.open_lease("--label", "build=7", "--label", f"job={n}")) for n in range(2)]
    jobs[0].store(**WEB, **LOGIN)
    assert jobs[1].get(**WEB) == {}
    jobs[1].store(**WEB, username="bob", password="other")
    jobs[0].erase(**WEB)
    assert jobs[0].get(**WEB) == {} and jobs[1].get(**WEB)["username"] == "bob"


def test_two_hundred_jobs_of_one_user_at_once_never_mix(mintfs: Daemon) -> None:
    def opened(_: int) -> Helper:
        status, lease = mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"]})
        assert status == 201, lease
        return Helper(mintfs, Lease(lease["id"], Path(lease["path"])))

    def use(number: int) -> None:
        mine = {"username": "job", "password": f"secret-of-{number}"}
        jobs[number].store(**WEB, **mine)
        stored.wait(DEADLINE)  # 16 at least have theirs
        assert jobs[number].get(**WEB) == mine
        jobs[number].erase(**WEB)
        assert jobs[number].get(**WEB) == {}

    stored = threading.Barrier(16)
    with ThreadPoolExecutor(16) as workers:
        jobs = list(workers.map(opened, range(208)))
        list(workers.map(use, range(len(jobs))))


@pytest.fixture
def shared(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", server.url, password, allow={"users": [str(STRANGER)]}))


@pytest.mark.root
def test_another_user_gets_stores_and_erases_nothing(shared: Daemon) -> None:
    lease = shared.open_lease()
    owner, stranger = Helper(shared, lease), Helper(shared, lease, uid=STRANGER)
    owner.store(**WEB, **LOGIN)
    assert stranger.get(**WEB) == {}
    stranger.store(**WEB, username="alice", password="false")
    stranger.erase(**WEB)
    assert owner.get(**WEB) == LOGIN


@pytest.mark.root
def test_an_administrator_stores_for_a_job_but_does_not_get(shared: Daemon) -> None:
    lease = shared.open_lease(uid=STRANGER)
    Helper(shared, lease).store(**WEB, **LOGIN)
    assert Helper(shared, lease, uid=STRANGER).get(**WEB) == LOGIN
    assert Helper(shared, lease).get(**WEB) == {}
    proxy = {"protocol": "http", "host": f"127.0.0.1:{shared.port}"}
    assert Helper(shared, lease).get(**proxy) == {}


# --- the end -----------------------------------------------------------------------------------------


def _kept(mintfs: Daemon, needle: bytes = SECRET.encode()) -> bool:
    """Whether it stands anywhere in the daemon's memory."""
    with open(f"/proc/{mintfs.pid}/maps") as maps, open(f"/proc/{mintfs.pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not match or "/dev" in line or "memfd:" in line:
                continue
            begin, end = (int(number, 16) for number in match.groups())
            memory.seek(begin)
            try:
                if needle in memory.read(end - begin):
                    return True
            except OSError:
                continue
    return False


@pytest.mark.root
@pytest.mark.skipif("clang" in BUILD.name, reason="a sanitizer keeps what was freed")
def test_closing_the_lease_wipes_the_memory(mintfs: Daemon) -> None:
    helper = Helper(mintfs, mintfs.open_lease())
    helper.store(**WEB, **LOGIN)
    assert helper.get(**WEB) == LOGIN
    assert _kept(mintfs), "it is found where it is, or this test says nothing"
    assert helper.lease
    mintfs.close_lease(helper.lease)
    assert helper.get(**WEB) == {}
    assert not _kept(mintfs)


@pytest.mark.root
def test_what_is_kept_is_locked_in_memory_and_on_no_disk(mintfs: Daemon, helper: Helper) -> None:
    def locked() -> int:
        status = Path(f"/proc/{mintfs.pid}/status").read_text()
        return int(re.search(r"VmLck:\s+(\d+)", status)[1])  # type: ignore[index]

    before = locked()
    helper.store(**WEB, **LOGIN)
    assert locked() > before or "clang" in BUILD.name or "tsan" in BUILD.name  # sanitizers do not lock
    helper.erase(**WEB)
    assert locked() == before
    helper.store(**WEB, **LOGIN)
    helper.get(**WEB)
    forms = {SECRET, base64.b64encode(SECRET.encode()).decode(), SECRET.replace("/", "\\/")}
    for file in mintfs.root.rglob("*"):
        if file.is_file() and mintfs.mount not in file.parents:
            content = file.read_text(errors="replace")
            assert not any(form in content for form in forms), file


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


def test_expiry_and_the_end_of_the_bound_process_erase(mintfs: Daemon, sleeper: subprocess.Popen[bytes]) -> None:
    ends, expires = mintfs.open_lease("--pid", str(sleeper.pid)), mintfs.open_lease("--ttl", "3s")
    for lease in (ends, expires):
        Helper(mintfs, lease).store(**WEB, **LOGIN)
    assert Helper(mintfs, ends).get(**WEB) == LOGIN
    sleeper.kill()
    sleeper.wait()
    eventually("both are gone", lambda: mintfs.leases() == [])
    for lease in (ends, expires):
        assert Helper(mintfs, lease).get(**WEB) == {}
    closed = {line["lease"]: line["reason"] for line in mintfs.wait_for_audit("close", 2)}
    assert closed == {ends.id: "process-ended", expires.id: "expired"}


def test_nothing_survives_a_restart_on_disk(mintfs: Daemon, helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    mintfs.kill()
    mintfs.start()
    assert helper.get(**WEB) == {}  # the lease lives on, what was stored was in memory
    helper.store(**WEB, **LOGIN)
    assert helper.get(**WEB) == LOGIN


def test_an_upgrade_hands_on_what_is_stored(mintfs: Daemon, helper: Helper) -> None:
    helper.store(**AUTHTYPE, **WEB, **LOGIN, path="a b.git", authtype="Bearer", credential="opaque-1",
                 password_expiry_utc="4000000000", oauth_refresh_token="refresh-1")  # fmt: skip
    asked = {**AUTHTYPE, **WEB, "path": "a b.git"}
    before, old = helper.get(**asked), mintfs.pid
    assert before["credential"] == "opaque-1"
    mintfs.cli("upgrade")
    assert mintfs.pid != old and helper.get(**asked) == before
    mintfs.cli("upgrade")
    assert helper.get(**asked) == before and "is lost" not in mintfs.log()
    assert helper.lease
    mintfs.close_lease(helper.lease)
    assert helper.get(**asked) == {}


def test_an_upgrade_that_fails_leaves_what_is_stored(mintfs: Daemon, helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    mintfs.config.write_text("nonsense\n")
    assert mintfs.cli("upgrade", check=False).returncode == 1
    assert helper.get(**WEB) == LOGIN
    helper.erase(**WEB)
    assert helper.get(**WEB) == {}


@pytest.mark.root
@pytest.mark.skipif("clang" in BUILD.name, reason="a sanitizer keeps what was freed")
def test_an_upgrade_leaves_nothing_behind_when_the_lease_is_closed(mintfs: Daemon, helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    mintfs.cli("upgrade")
    assert _kept(mintfs), "it is found where it is, or this test says nothing"
    assert helper.lease
    mintfs.close_lease(helper.lease)
    assert not _kept(mintfs)


def test_every_act_stands_in_the_audit_log_without_a_secret(mintfs: Daemon, helper: Helper) -> None:
    helper.store(**WEB, **LOGIN)
    helper.get(**WEB)
    helper.erase(**WEB)
    eventually("all is written", lambda: len(mintfs.audit("credential")) == 3)
    assert [line["operation"] for line in mintfs.audit("credential")] == ["store", "get", "erase"]
    assert {line["lease"] for line in mintfs.audit("credential")} == {helper.lease and helper.lease.id}
    assert SECRET not in json.dumps(mintfs.audit()) and SECRET not in mintfs.log()


# --- steps of a job ----------------------------------------------------------------------------------

_STORE = f"printf '%s\\n' protocol=https host=git.example.com username=alice 'password={SECRET}' | '{HELPER}' store"


def test_what_a_step_stores_is_gone_after_it_unless_it_is_kept_for_the_job(mintfs: Daemon) -> None:
    job = Helper(mintfs, mintfs.open_lease())
    mintfs.cli("run", "-c", "git", "--", "sh", "-ec", _STORE, env=job.environment())
    assert job.get(**WEB) == {}
    mintfs.cli("run", "-c", "git", "--keep", "--", "sh", "-ec", _STORE, env=job.environment())
    assert job.get(**WEB) == LOGIN
    assert job.lease and mintfs.leases() == [job.lease.id]
    mintfs.close_lease(job.lease)
    assert job.get(**WEB) == {}


def test_a_lease_is_closed_with_what_it_stored_kept(mintfs: Daemon) -> None:
    job, step = Helper(mintfs, mintfs.open_lease()), Helper(mintfs, mintfs.open_lease())
    step.store(**WEB, **LOGIN)
    assert step.lease
    mintfs.cli("lease", "close", "--keep", step.lease.id, env=job.environment())
    assert job.get(**WEB) == LOGIN and step.get(**WEB) == {}


def test_nothing_is_kept_for_another_job(mintfs: Daemon) -> None:
    step = Helper(mintfs, mintfs.open_lease("--label", "build=7", "--label", "job=1"))
    other = Helper(mintfs, mintfs.open_lease("--label", "build=7", "--label", "job=2"))
    step.store(**WEB, **LOGIN)
    assert step.lease
    done = mintfs.cli("lease", "close", "--keep", step.lease.id, env=other.environment(), check=False)
    assert done.returncode == 1 and "'job'" in done.stderr, done
    assert other.get(**WEB) == {} and step.get(**WEB) == LOGIN
    for named in ({}, {"MINTFS_LEASE": step.lease.id}):
        done = mintfs.cli("lease", "close", "--keep", step.lease.id, env=named, check=False)
        assert done.returncode == 2 and "MINTFS_LEASE" in done.stderr
    done = mintfs.cli("run", "-c", "git", "--keep", "--", "true", check=False)
    assert done.returncode == 2


@pytest.mark.root
def test_nothing_is_kept_for_another_user(shared: Daemon) -> None:
    mine, theirs = shared.open_lease(), shared.open_lease(uid=STRANGER)
    Helper(shared, theirs, uid=STRANGER).store(**WEB, **LOGIN)
    done = shared.cli("lease", "close", "--keep", theirs.id, env={"MINTFS_LEASE": mine.id}, check=False)
    assert done.returncode == 1, done
    done = shared.cli("lease", "close", "--keep", theirs.id, uid=STRANGER, env={"MINTFS_LEASE": mine.id}, check=False)
    assert done.returncode == 1, done
    assert Helper(shared, mine).get(**WEB) == {}


def test_a_step_that_is_killed_leaves_nothing_to_the_job(mintfs: Daemon, tmp_path: Path) -> None:
    job, mark = Helper(mintfs, mintfs.open_lease()), tmp_path / "stored"
    run = subprocess.Popen([MINTFS, "run", "-c", "git", "--keep", "--", "sh", "-ec", f"{_STORE}; touch '{mark}'; sleep 300"],
                           env=job.environment(), start_new_session=True)  # fmt: skip
    try:
        eventually("it has stored", mark.exists)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert job.lease
    only = [job.lease.id]
    eventually("its lease is closed", lambda: mintfs.leases() == only)
    assert job.get(**WEB) == {}


def test_a_job_finds_the_daemon_that_was_named_on_the_command_line(mintfs: Daemon) -> None:
    socket = ["--socket", str(mintfs.control)]
    asked = f"{_STORE} && printf '%s\\n' protocol=https host=git.example.com | '{HELPER}' get"
    done = mintfs.cli("run", *socket, "-c", "git", "--", "sh", "-ec", asked, env={"MINTFS_SOCKET": ""})
    assert f"password={SECRET}" in done.stdout
    done = mintfs.cli("lease", "open", *socket, "-c", "git", "--format", "env", env={"MINTFS_SOCKET": ""})
    assert f"export MINTFS_SOCKET='{mintfs.control}'" in done.stdout


# --- tokens for the proxy ----------------------------------------------------------------------------


def _proxy(mintfs: Daemon, name: str = "git") -> dict[str, str]:
    return {"protocol": "http", "host": f"127.0.0.1:{mintfs.port}", "path": f"namespaces/default/connectors/{name}/acme/app.git"}


def test_git_credential_fill_gives_a_tool_what_opens_the_proxy(
    mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]
) -> None:
    """As a tool does that knows helpers only, such as go with GOAUTH=git."""
    job, lease = new_job(), mintfs.open_lease()
    env = {"MINTFS_LEASE": lease.id, "MINTFS_SOCKET": str(mintfs.control)}
    url = f"{mintfs.url}{mintfs.path('acme/app.git')}"
    fill = f"printf 'url=%s\n\n' '{url}' | git -c credential.helper='{HELPER}' -c credential.useHttpPath=true credential fill"
    filled = job.run("sh", "-ec", fill, env=env).stdout
    got = dict(line.split("=", 1) for line in filled.splitlines())
    assert job.prompts == []
    ask = ["curl", "--silent", "--write-out", "%{http_code}", "--user", f"{got['username']}:{got['password']}",
           f"{url}/info/refs?service=git-upload-pack"]  # fmt: skip
    assert server.head("acme/app") in job.run(*ask).stdout
    mintfs.close_lease(lease)
    assert job.run(*ask).stdout.endswith("403")


def test_real_git_stores_and_uses_a_credential_of_a_server_that_no_connector_serves(
    mintfs: Daemon, start_server: Callable[..., GitServer], new_job: Callable[..., Job]
) -> None:
    other = start_server("other")
    other.create("team/tool")
    job, lease = new_job(), mintfs.open_lease()
    env = {"MINTFS_LEASE": lease.id, "MINTFS_SOCKET": str(mintfs.control)}
    with_helper = ["-c", f"credential.helper={HELPER}"]
    askpass = job.home / "askpass"
    kept = askpass.read_text()
    askpass.write_text(f"#!/bin/sh\ncase $1 in User*) echo {USER} ;; *) echo '{PASSWORD}' ;; esac\n")
    job.git(*with_helper, "ls-remote", f"{other.url}/team/tool.git", env=env)  # asked for once, and approved
    askpass.write_text(kept)
    job.git(*with_helper, "ls-remote", f"{other.url}/team/tool.git", env=env)
    assert job.prompts == []
    mintfs.close_lease(lease)
    job.git(*with_helper, "ls-remote", f"{other.url}/team/tool.git", env=env, check=False)
    assert job.prompts != []


def test_each_get_for_the_proxy_mints_anew(mintfs: Daemon, helper: Helper) -> None:
    first, second = helper.get(**_proxy(mintfs)), helper.get(**_proxy(mintfs))
    assert first["username"] == second["username"] == "mintfs" and first["password"] != second["password"]
    assert int(time.time()) < int(first["password_expiry_utc"]) <= int(time.time()) + 1800
    assert helper.get(**_proxy(mintfs), username="job")["username"] == "job"
    helper.store(**_proxy(mintfs), username="mintfs", password="false")
    assert helper.get(**_proxy(mintfs))["password"] != "false"
    eventually("all is written", lambda: len(mintfs.audit("mint")) == 4)
    assert mintfs.audit("credential") == []


def test_a_git_that_knows_authtype_gets_a_whole_header_that_it_must_not_keep(mintfs: Daemon, helper: Helper) -> None:
    got = helper.get(**AUTHTYPE, **_proxy(mintfs))
    assert list(got) == ["capability[]", "authtype", "credential", "ephemeral", "password_expiry_utc"]
    assert (got["authtype"], got["ephemeral"]) == ("Basic", "1")
    url = f"{mintfs.url}{mintfs.path('acme/app.git')}/info/refs?service=git-upload-pack"
    header = f"Authorization: {got['authtype']} {got['credential']}"
    done = subprocess.run(["curl", "--silent", "--fail", "-H", header, url], capture_output=True, check=True)
    assert b"refs/heads/main" in done.stdout


def test_a_token_is_for_the_proxy_and_a_connector_of_the_lease_alone(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    mintfs = start_mintfs(*(connector(name, server.url, password, priority=rank)
                            for rank, name in enumerate(("git", "more", "none"))))  # fmt: skip
    one, two = Helper(mintfs, mintfs.open_lease()), Helper(mintfs, mintfs.open_lease(connectors=["git", "more"]))
    proxy = _proxy(mintfs)
    without_path = {name: proxy[name] for name in ("protocol", "host")}
    assert "password" in one.get(**without_path) and "password" in two.get(**_proxy(mintfs, "more"))
    assert two.get(**without_path) == {}  # which of them is not said
    for other in ({**proxy, "protocol": "https"}, {**proxy, "host": "127.0.0.1"}, _proxy(mintfs, "none"), _proxy(mintfs, "more"),
                  {**proxy, "path": "namespaces/default/connectors"}, {**proxy, "path": "x/" + proxy["path"]},
                  {**proxy, "path": "namespaces/default/connectors/../connectors/git/"},
                  {"protocol": "http", "host": f"127.0.0.1:{server.port}", "path": "acme/app.git"}):  # fmt: skip
        assert one.get(**other) == {}, other
