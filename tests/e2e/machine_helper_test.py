"""What jobs store in the machine's own helpers (--credential-store): the real cache, store and libsecret, and any other."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.credential_helper import HELPER, Helper, lines
from support.git_server import PASSWORD, USER, GitServer
from support.mintfs import MINTFS, REPOSITORY, STRANGER, Daemon, as_user, connector
from support.waiting import DEADLINE, eventually

SECRET = "S3CRET-of-a-job/+=x"
WEB = {"protocol": "https", "host": "git.example.com"}
LOGIN = {"username": "alice", "password": SECRET}
LABELS = ("--label", "build=77", "--label", "job=3")
#: Who the jobs are: not the daemon's user where it may act for others.
USER_ID = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
AT = "77.3.git.example.com"


class Session:
    """A user's session on the machine: a home, and what a helper is called there."""

    def __init__(self, home: Path, helper: str, **variables: str) -> None:
        self.home, self.helper = home, helper
        self.variables = {"HOME": str(home), **variables}

    def asks(self, operation: str, **fields: str) -> str:
        """The machine's helper itself."""
        command = [self.helper] if "/" in self.helper else ["git", f"credential-{self.helper}"]
        done = subprocess.run(
            [*as_user(USER_ID), *command, operation], input=lines(**fields), capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], **self.variables}, cwd="/", timeout=DEADLINE,
        )  # fmt: skip
        return done.stdout

    def holds(self, host: str = AT, protocol: str = "https") -> bool:
        return SECRET in self.asks("get", protocol=protocol, host=host)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home-of-user"
    home.mkdir(mode=0o700)
    os.chown(home, USER_ID, USER_ID)
    return home


@pytest.fixture
def keyring(home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A session bus with an unlocked keyring of gnome-keyring's, and git's helper for it in the PATH."""
    subprocess.run([REPOSITORY / "tools/libsecret-helper"], check=True, capture_output=True, timeout=4 * DEADLINE)
    (tmp_path / "bin").mkdir()
    shutil.copy(REPOSITORY / "build-helpers/git-credential-libsecret", tmp_path / "bin")
    # A copy has not the capability to lock memory, without which the kernel of a container would not start it.
    shutil.copy("/usr/bin/gnome-keyring-daemon", tmp_path / "bin")
    # The daemon ends with the bus, and the bus with the line that is read.
    script = """
        started=$(printf keyring-password | gnome-keyring-daemon --unlock --components=secrets)
        printf '%s\\n' "$DBUS_SESSION_BUS_ADDRESS"; read -r end
    """
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(home)}
    session = subprocess.Popen(
        [*as_user(USER_ID), "dbus-run-session", "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**variables, "HOME": str(home)}, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        assert session.stdout
        address = session.stdout.readline().strip()
        assert address.startswith("unix:"), "there is no session bus"
        yield {**variables, "DBUS_SESSION_BUS_ADDRESS": address}
    finally:
        session.communicate(timeout=DEADLINE)
        # A moment after the bus, and it takes its files away then, as we do.
        eventually("the keyring's daemon has ended", lambda: not _runs(tmp_path / "bin/gnome-keyring-daemon"))


def _runs(program: Path) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "exe").readlink() == program:
                    return True
    return False


_RECORDER = """#!/usr/bin/python3
import json, os, pathlib, sys, time
folder = pathlib.Path(os.environ["HOME"])
said = sys.stdin.read()
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps({"uid": os.getuid(), "groups": os.getgroups(), "caps": [line.split()[1] for line in open("/proc/self/status")
        if line.startswith("CapEff")][0], "operation": sys.argv[1:], "said": said.split("\\n"), "environment": sorted(os.environ),
        "descriptors": len(os.listdir("/proc/self/fd"))}) + "\\n")
kept = folder / "kept"
def keep(entries):  # whoever looks meanwhile sees the one or the other
    (folder / "kept.new").write_text(json.dumps(entries))
    (folder / "kept.new").rename(kept)
asked = dict(line.split("=", 1) for line in said.splitlines() if line)
place = [asked.get(key) for key in ("protocol", "host", "path")]
entries = json.loads(kept.read_text()) if kept.exists() else []
match = [e for e in entries if e["place"] == place and asked.get("username", e["username"]) == e["username"]]
if sys.argv[1] == "get" and match:
    print("host=evil.example\\nquit=1\\nusername=" + match[-1]["username"] + "\\npassword=" + match[-1]["password"])
elif sys.argv[1] == "store":
    entries = [e for e in entries if e not in match] + [{"place": place, "username": asked["username"], "password": asked["password"]}]
    keep(entries)
elif sys.argv[1] == "erase":
    if (folder / "fails").exists(): sys.exit(1)
    (folder / "erases").touch()
    while (folder / "waits").exists(): time.sleep(0.01)
    keep([e for e in entries if e not in match])
"""


@pytest.fixture
def recorder(tmp_path: Path, home: Path) -> Session:
    """A helper of somebody else's that writes down how it is called."""
    program = tmp_path / "credential-recorder"
    program.write_text(_RECORDER)
    program.chmod(0o755)
    return Session(home, str(program))


def _calls(session: Session) -> list[dict[str, object]]:
    calls = session.home / "calls"
    return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.fixture
def machine(server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    return start_mintfs(connector("git", server.url, password, allow={"users": [pwd.getpwuid(USER_ID).pw_name]}))


@pytest.fixture(params=["cache", "store", "libsecret", "recorder"])
def session(request: pytest.FixtureRequest, home: Path) -> Iterator[Session]:
    if request.param == "recorder":
        yield request.getfixturevalue("recorder")
        return
    variables = request.getfixturevalue("keyring") if request.param == "libsecret" else {}
    session = Session(home, request.param, **variables)
    yield session
    if request.param == "cache":
        subprocess.run([*as_user(USER_ID), "git", "credential-cache", "exit"], cwd="/", capture_output=True,
                       env={"PATH": os.environ["PATH"], **session.variables}, check=False)  # fmt: skip


def _open(mintfs: Daemon, session: Session, *options: str, labels: tuple[str, ...] = LABELS) -> Helper:
    lease = mintfs.open_lease("--uid", str(USER_ID), "--credential-store", session.helper, *labels, *options)
    return Helper(mintfs, lease, uid=USER_ID, session=session.variables)


def _records(mintfs: Daemon) -> list[Path]:
    return list((mintfs.state / "helpers").iterdir())


def _close(helper: Helper) -> None:
    assert helper.lease
    helper.mintfs.close_lease(helper.lease)


# --- every helper -------------------------------------------------------------------------------------


def test_what_is_stored_is_in_the_machines_helper_under_the_jobs_name_and_gone_after_the_lease(
    machine: Daemon, session: Session
) -> None:
    job = _open(machine, session)
    job.store(**WEB, **LOGIN)
    assert session.holds() and not session.holds("git.example.com")
    assert job.get(**WEB) == LOGIN
    # http and https are one entry here too.
    assert job.get(protocol="http", host="git.example.com") == LOGIN
    assert not session.holds(protocol="http")
    _close(job)
    eventually("it is erased", lambda: not session.holds())
    eventually("nothing is written down any more", lambda: not _records(machine))


def test_jobs_do_not_see_each_others(machine: Daemon, session: Session) -> None:
    one, other = _open(machine, session), _open(machine, session, labels=("--label", "build=77", "--label", "job=4"))
    one.store(**WEB, **LOGIN)
    other.store(**WEB, username="bob", password="theirs")
    assert one.get(**WEB) == LOGIN and other.get(**WEB) == {"username": "bob", "password": "theirs"}
    _close(one)
    eventually("it is erased", lambda: not session.holds())
    assert other.get(**WEB)["username"] == "bob"


def test_git_keeps_and_matches_as_without(machine: Daemon, session: Session) -> None:
    job = _open(machine, session)
    job.store(protocol="https", host="git.example.com:8443", **LOGIN)
    assert session.holds(f"{AT}:8443")
    assert job.get(protocol="https", host="git.example.com:8443") == LOGIN and job.get(**WEB) == {}
    job.erase(protocol="http", host="git.example.com:8443", username="alice", password="an old one")
    assert job.get(protocol="http", host="git.example.com:8443") == LOGIN
    job.erase(username="alice")
    assert job.get(protocol="https", host="git.example.com:8443") == {}


def test_a_crash_between_storing_and_the_end_leaves_nothing(machine: Daemon, session: Session) -> None:
    job = _open(machine, session)
    job.store(**WEB, **LOGIN)
    machine.kill()
    assert job.lease
    (machine.runtime / "leases" / f"{job.lease.id}.json").unlink()  # as after the machine was off: /run is empty
    assert session.holds()
    machine.start()
    eventually("the next daemon erases it", lambda: not session.holds())
    eventually("nothing is written down any more", lambda: not _records(machine))


def test_a_lease_that_outlives_a_crash_goes_on(machine: Daemon, session: Session) -> None:
    job = _open(machine, session)
    job.store(**WEB, **LOGIN)
    machine.kill()
    machine.start()
    assert job.get(**WEB) == LOGIN
    _close(job)
    eventually("it is erased", lambda: not session.holds())


# --- through the same interface -----------------------------------------------------------------------


def test_a_helper_is_run_as_the_leases_user_with_what_it_needs_and_no_more(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    job.session["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"
    job.session["UNRELATED"] = "x"
    job.store(**WEB, **LOGIN)
    _close(job)
    eventually("it is erased", lambda: not recorder.holds())
    erased = [call for call in _calls(recorder) if call["operation"] == ["erase"]][0]
    assert erased["uid"] == USER_ID and erased["descriptors"] == 5  # the three, and two of its own
    assert erased["environment"] == sorted([*(["LC_CTYPE"] if "LC_CTYPE" in erased["environment"] else []),
                                            "DBUS_SESSION_BUS_ADDRESS", "HOME", "PATH"])  # fmt: skip
    if USER_ID != 0:
        assert erased["groups"] in ([], [USER_ID]) and int(str(erased["caps"]), 16) == 0
    assert "password=" not in str(erased["said"]) and SECRET not in str(erased)


def test_what_a_helper_says_beside_is_not_told_to_git(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    job.store(**WEB, **LOGIN)
    assert job.silently("get", **WEB) == lines(**LOGIN).strip() + "\n"


def test_no_secret_is_written_down_or_logged(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    job.store(**WEB, path="acme/app.git", **LOGIN)
    (record,) = _records(machine)
    assert record.stat().st_mode & 0o777 == 0o600 and "acme/app.git" in record.read_text()
    for file in [*machine.root.rglob("*"), *machine.state.rglob("*")]:
        if file.is_file() and recorder.home not in file.parents:
            assert SECRET.encode() not in file.read_bytes(), file


def test_what_cannot_be_erased_is_told_and_tried_again(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    job.store(**WEB, **LOGIN)
    (recorder.home / "fails").touch()
    _close(job)
    eventually("it is told", lambda: "failed to erase" in machine.log())
    assert recorder.holds() and len(_records(machine)) == 1
    (recorder.home / "fails").unlink()
    machine.stop()
    machine.start()
    eventually("the next daemon erases it", lambda: not recorder.holds())


def test_a_helper_that_hangs_holds_up_nobody(
    machine: Daemon, recorder: Session, tmp_path: Path, home: Path
) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\n[ \"$1\" = erase ] || exit 0\necho $$ >$HOME/hangs\nexec sleep 600\n")
    hanging.chmod(0o755)
    job = _open(machine, Session(home, str(hanging)))
    job.store(**WEB, **LOGIN)
    _close(job)
    eventually("it hangs", (home / "hangs").exists)
    assert machine.control_api("GET", "/v1/status")[0] == 200 and machine.open_lease().gitconfig.read_text()
    eventually("it is stopped", lambda: "failed to erase" in machine.log())


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_step_that_is_storing_when_the_lease_ends_leaves_nothing(
    machine: Daemon, tmp_path: Path, home: Path, handed_over: bool
) -> None:
    """The helper is slow: all was erased before it has stored. So where its lease has handed all to the job's meanwhile."""
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\n[ "$1" != store ] || {{ touch "$HOME/storing"; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; }}\n'
                    f'exec {tmp_path / "credential-recorder"} "$1"\n')  # fmt: skip
    slow.chmod(0o755)
    recorder = tmp_path / "credential-recorder"
    recorder.write_text(_RECORDER)
    recorder.chmod(0o755)
    session = Session(home, str(slow))
    job, last = _open(machine, session), _open(machine, session)
    with subprocess.Popen([*as_user(USER_ID), str(HELPER), "store"], stdin=subprocess.PIPE, env=job.environment(), cwd="/") as step:
        assert step.stdin
        step.stdin.write(lines(**WEB, **LOGIN).encode())
        step.stdin.close()
        eventually("it is about to store", (home / "storing").exists)
        if handed_over:
            assert job.lease and last.lease
            status, answer = machine.control_api("POST", f"/v1/leases/{job.lease.id}/credentials/hand-over", {"to": last.lease.id})
            assert status == 204, answer
        _close(job)
        _close(last)
        eventually("all is erased", (home / "kept").exists)  # which the helper makes at the end of that
        (home / "go").touch()
        assert step.wait(DEADLINE) == 0
    assert [call["operation"] for call in _calls(session)][:2] == [["erase"], ["store"]]
    eventually("what came after is erased", lambda: (home / "kept").exists() and not session.holds())
    eventually("nothing is written down any more", lambda: not _records(machine))


def test_what_is_stored_while_the_step_before_is_erased_stays(machine: Daemon, recorder: Session) -> None:
    """Both are of one job, and what they store has one name: the new waits until the old is gone."""
    other = {"password": "of-the-new-step"}
    before, after = _open(machine, recorder), _open(machine, recorder)
    before.store(**WEB, **LOGIN)
    (recorder.home / "waits").touch()
    _close(before)
    eventually("the helper erases", (recorder.home / "erases").exists)  # for ten seconds at most
    storing = threading.Thread(target=lambda: after.store(**WEB, **{**LOGIN, **other}))
    storing.start()
    try:
        elsewhere = {**WEB, "host": "elsewhere.example"}
        after.store(**elsewhere, **LOGIN)
        assert after.get(**elsewhere) == LOGIN, "another place is not waited for"
        assert storing.is_alive()
    finally:
        (recorder.home / "waits").unlink()
        storing.join(DEADLINE)
    assert after.get(**WEB) == {**LOGIN, **other}
    _close(after)
    eventually("it is erased", lambda: not recorder.holds())


def test_an_upgrade_goes_on_with_it(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    job.store(**WEB, **LOGIN)
    machine.cli("upgrade")
    assert job.get(**WEB) == LOGIN
    _close(job)
    eventually("it is erased", lambda: not recorder.holds())


@pytest.mark.parametrize(
    "build, job, host",
    [("77", "3", "77.3"), ("b-1f", "Deploy.Prod", "b-1f._44eploy_2e_50rod"), ("../x", "3", "_2e_2e_2fx.3"),
     ("a.b", "c", "a_2eb.c"), ("a", "b.c", "a.b_2ec"), ("-x-", "_", "_2dx_2d._5f"),
     ("7", "x" * 64, "7." + "x" * 45 + "_-" + hashlib.sha256(b"x" * 64).hexdigest()[:16])],
)  # fmt: skip
def test_labels_become_one_label_of_a_host_each(
    machine: Daemon, recorder: Session, build: str, job: str, host: str
) -> None:
    helper = _open(machine, recorder, labels=("--label", f"build={build}", "--label", f"job={job}"))
    helper.store(**WEB, **LOGIN)
    assert recorder.holds(f"{host}.git.example.com")


def test_what_no_helper_could_keep_apart_is_refused(machine: Daemon, recorder: Session) -> None:
    ours = ("--credential-store", recorder.helper)
    for options in ([*ours], [*ours, "--label", "build=1"], [*ours, "--label", "job=1"]):
        done = machine.cli("lease", "open", "-c", "git", *options, check=False)
        assert done.returncode == 1 and "'build' and 'job'" in done.stderr, options
    for name in ("netrc", "../x", "cache --timeout=1", "!sh", "relative/path", "/with/\nnewline", ""):
        done = machine.cli("lease", "open", "-c", "git", *LABELS, "--credential-store", name, check=False)
        assert done.returncode == (2 if name else 0), name
        status, answer = machine.control_api("POST", "/v1/leases", {"connectors": ["git"], "credential_store": name})
        assert (status, answer["reason"]) == (400, "lease-malformed"), name
    done = machine.cli("run", "-c", "git", *LABELS, *ours, "--podman", "--", "podman", "run", "x", check=False)
    assert done.returncode == 2 and "container" in done.stderr


def test_a_helper_that_is_not_here_is_told_before_anything_is_stored(machine: Daemon, recorder: Session, tmp_path: Path) -> None:
    def told(helper: str, *command: str, **variables: str) -> str:
        done = machine.cli(*command, "-c", "git", *LABELS, "--credential-store", helper, *(("--", "true") if command == ("run",) else ()),
                           env=variables)  # fmt: skip
        return done.stderr

    own = tmp_path / "own"
    own.mkdir()
    manager = own / "git-credential-manager"
    for command in (("run",), ("lease", "open")):
        manager.unlink(missing_ok=True)
        assert "there is no git-credential-manager here" in told("manager", *command)
        assert f"{manager} cannot be run" in told(str(manager), *command)
        manager.write_text("#!/bin/sh\n")
        manager.chmod(0o755)
        assert told("manager", *command, PATH=f"{own}:{os.environ['PATH']}") == told(str(manager), *command) == ""
        assert told("cache", *command) == told(recorder.helper, *command) == ""


@pytest.mark.root
def test_others_learn_and_store_nothing(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    job.store(**WEB, **LOGIN)
    assert job.lease
    before = len(_calls(recorder))
    for uid in (0, STRANGER):
        other = Helper(machine, job.lease, uid=uid, session=recorder.variables)
        for operation in ("get", "store", "erase"):
            assert SECRET not in other.ask(operation, lines(**WEB, **LOGIN)).stdout.decode()
    assert len(_calls(recorder)) == before and job.get(**WEB) == LOGIN


@pytest.mark.root
def test_a_daemon_that_cannot_act_as_another_user_takes_no_store_of_theirs(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    """As with deploy/systemd/mintfs.service without its addition for this."""
    without = ["setpriv", "--bounding-set", "-setuid,-setgid,-kill"]
    machine = start_mintfs(connector("git", server.url, password), wrapper=without)
    options = ("lease", "open", "-c", "git", *LABELS, "--credential-store", "cache")
    assert machine.cli(*options).returncode == 0
    done = machine.cli(*options, "--uid", str(USER_ID), check=False)
    assert done.returncode == 1 and "another user" in done.stderr


# --- with git -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [False, True], ids=["helper", "memory"])
def test_no_other_helper_of_the_users_is_asked_or_told(
    machine: Daemon, recorder: Session, start_server: Callable[..., GitServer], memory: bool
) -> None:
    """Whatever the user has configured, for all hosts or for one: git asks ours alone, and stores with ours alone."""
    other = start_server("other")
    other.create("acme/lib", {"lib.txt": "lib\n"})
    config, kept = recorder.home / ".gitconfig", recorder.home / "kept"
    config.write_text(f'[credential]\n\thelper = store\n[credential "{other.url}"]\n\thelper = "!touch $HOME/asked; cat"\n')
    os.chown(config, USER_ID, USER_ID)
    host = other.url.removeprefix("http://")
    approve = f"printf '%s\\n' url={other.url} username={USER} {shlex.quote('password=' + PASSWORD)} '' | git credential approve"
    work = f"{approve} && git ls-remote {other.url}/acme/lib.git; cat ~/.git-credentials"
    for via in ("env", "system", "global", "xdg"):
        lease = machine.cli("lease", "open", "-c", "git", "--uid", str(USER_ID), *LABELS, "--credential-store",
                            "memory" if memory else recorder.helper, "--via", via, "--format", "env", env={"GIT_CONFIG_NOSYSTEM": ""}).stdout  # fmt: skip
        done = subprocess.run(
            [*as_user(USER_ID), "sh", "-c", f"{lease}\n{work}"], capture_output=True, text=True, timeout=DEADLINE,
            env={**machine.environment(GIT_TERMINAL_PROMPT="0"), **recorder.variables, "GIT_CONFIG_NOSYSTEM": ""}, cwd="/",
        )  # fmt: skip
        assert "refs/heads/main" in done.stdout and PASSWORD not in done.stdout, f"{via}: {done.stdout}{done.stderr}"
        assert not (recorder.home / "asked").exists() and not (recorder.home / ".git-credentials").exists()
        assert memory or f"77.3.{host}" in kept.read_text()
        machine.cli("lease", "close", machine.leases()[0])
        eventually("it is erased", lambda: memory or host not in kept.read_text())
    assert bool(_calls(recorder)) is not memory


def test_a_step_of_a_job_hands_on_what_it_stored(machine: Daemon, recorder: Session) -> None:
    job = _open(machine, recorder)
    ours = ("-c", "git", *LABELS, "--credential-store", recorder.helper)
    store = f"printf '%s\\n' protocol=https host=git.example.com username=alice 'password={SECRET}' | '{HELPER}' store"

    def step(*options: str) -> None:
        subprocess.run([*as_user(USER_ID), str(MINTFS), "run", *ours, *options, "--", "sh", "-c", store], check=True,
                       env=job.environment(), cwd="/", timeout=DEADLINE, stdin=subprocess.DEVNULL)  # fmt: skip

    step()
    eventually("it is erased with the step", lambda: not recorder.holds())
    assert job.get(**WEB) == {}
    step("--keep")
    assert job.get(**WEB) == LOGIN and recorder.holds()
    step()  # the same once more, for itself
    assert job.get(**WEB) == LOGIN, "it is the job's still"
    _close(job)
    eventually("it is erased with the job", lambda: not recorder.holds())
