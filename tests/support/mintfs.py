"""The daemon and the command line under test, from the folder that MINTFS_BUILD names."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import metrics, toml
from support.git_server import USER
from support.ports import free_port
from support.waiting import DEADLINE, eventually

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / os.environ.get("MINTFS_BUILD", "build")
MINTFS, MINTFSD, KEEPER = BUILD / "mintfs", BUILD / "mintfsd", BUILD / "mintfs-keeper"

#: What a sanitizer prints when it found something, and when it cannot work; no output of ours may hold one.
#: They name themselves in every report but in that of undefined behaviour.
SANITIZER_REPORTS = ("Sanitizer:", "Sanitizer has", "Sanitizer CHECK", "runtime error:")

#: Somebody who is neither root nor the owner of anything.
STRANGER = 12345


def as_user(uid: int) -> list[str]:
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"] if uid != os.getuid() else []


def base_environment(**more: str | Path) -> dict[str, str]:
    """Ours is the whole environment of what we start: nothing of the developer's git gets in."""
    passed_on = ("PATH", "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
    kept = {name: os.environ[name] for name in passed_on if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", **{k: str(v) for k, v in more.items()}}


def assert_no_sanitizer_report(text: str, where: str) -> None:
    for report in SANITIZER_REPORTS:
        assert report not in text, f"{where} holds a sanitizer's report:\n{text[text.index(report):][:6000]}"


def secret_file(path: Path, content: str) -> Path:
    path.write_text(content + "\n")
    path.chmod(0o600)
    return path


def connector(name: str, address: str, password_file: Path, **more: Any) -> dict[str, Any]:
    """One [[connector]] of the configuration; `more` adds or replaces keys."""
    auth = {"type": "basic", "username": USER, "password_file": str(password_file)}
    return {"name": name, "class": "git", "address": address, "auth": auth, **more}


@dataclass(frozen=True)
class Lease:
    id: str
    path: Path

    @property
    def gitconfig(self) -> Path:
        return self.path / ".gitconfig"


class Daemon:
    """One mintfsd with its configuration, everything it owns is under `root`.

    With `keeper` it runs under mintfs-keeper, and `process` is that keeper.
    """

    def __init__(self, root: Path, *connectors: Mapping[str, Any], uid: int | None = None,
                 wrapper: Sequence[str] = (), runtime: Path | None = None, keeper: bool = False,
                 program: Path = MINTFSD, arguments: Sequence[str] = (), **sections: Mapping[str, Any]) -> None:  # fmt: skip
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.uid, self._wrapper = root, os.getuid() if uid is None else uid, list(wrapper)
        self._arguments = list(arguments)
        self.program, self.keeper_socket = program, root / "keeper.sock" if keeper else None
        self.runtime, self.state = runtime or root / "run", root / "state"
        self.config, self.log_file, self.port = root / "mintfs.toml", root / "log", free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(*connectors, **sections)

    # --- configuration -----------------------------------------------------------------------------

    def configure(self, *connectors: Mapping[str, Any], **sections: Mapping[str, Any]) -> None:
        """Writes mintfs.toml; a section given here is laid over what every test has."""
        document: dict[str, Any] = {
            "daemon": {"runtime_dir": self.runtime, "state_dir": self.state},
            "proxy": {"listen": f"127.0.0.1:{self.port}", "url": self.url},
            "log": {"level": "debug"},
        }
        for name, section in sections.items():
            document[name] = {**document.get(name, {}), **section}
        self.write_config(toml.dump({**document, "connector": list(connectors)}))

    def write_config(self, text: str) -> None:
        """At once: an empty one is good as well, and a mintfsd may be starting at this moment."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    # --- life --------------------------------------------------------------------------------------

    def start(self) -> Daemon:
        """Returns when the daemon has said that it is ready; one that ends before is an error with its log."""
        path = self.root / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            path.chmod(0o777)
            self.spawn(NOTIFY_SOCKET=str(path))
            assert self.process
            ended = os.pidfd_open(self.process.pid)
            try:
                poll = select.poll()
                poll.register(notify, select.POLLIN)
                poll.register(ended, select.POLLIN)
                while True:
                    events = [fd for fd, _ in poll.poll(DEADLINE * 1000)]
                    if notify.fileno() not in events:
                        if ended in events:  # told here, nothing is left to stop
                            self.process.wait()
                            self.process = None
                        raise AssertionError(f"mintfsd did not become ready:\n{self.log()}")
                    if b"READY=1" in notify.recv(4096):
                        return self
            finally:
                os.close(ended)

    def spawn(self, **environment: str) -> subprocess.Popen[bytes]:
        """Starts the process and waits for nothing."""
        keeper = [str(KEEPER), "--socket", str(self.keeper_socket), "--"] if self.keeper_socket else []
        command = [*self._wrapper, *as_user(self.uid), *keeper, str(self.program), "--config", str(self.config),
                   *self._arguments]  # fmt: skip
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=base_environment(HOME=self.root, **environment),
            )  # fmt: skip
        return self.process

    def refuses_to_start(self) -> str:
        """Expects one clear sentence and exit status 1; returns what was said."""
        before = len(self.log())
        status = self.spawn().wait(DEADLINE)
        said = self.log()[before:]
        self.process = None
        assert_no_sanitizer_report(said, "mintfsd")
        assert status == 1, f"mintfsd ended with {status}, not 1:\n{said}"
        return said

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and what came of it. Stopping twice is harmless."""
        if not self.process:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(DEADLINE)
            for pid in self.processes():  # those that an upgrade has started
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            eventually("every mintfsd has ended", lambda: not self.processes())
        except (subprocess.TimeoutExpired, AssertionError):
            self.kill()
            raise AssertionError(f"mintfsd did not stop on SIGTERM:\n{self.log()}") from None
        self.process = None
        assert_no_sanitizer_report(self.log(), "mintfsd's log")
        return status

    def kill(self) -> None:
        """kill -9 of all there is, which leaves the mount behind."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            while left := self.processes():
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Those with this configuration, which has a path of its own; zombies are none."""
        ours, found = str(self.config).encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if ours in (entry / "cmdline").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    @property
    def pid(self) -> int:
        """Of the mintfsd that serves; where there is none yet, the answer waits for it.

        One that ends or is killed at this moment gives no answer: then its successor is asked.
        """
        answer = eventually("mintfsd answers", lambda: self.control_api("GET", "/v1/status")[1] or False)
        return int(answer["pid"])

    def kill_served(self) -> int:
        """kill -9 of the mintfsd alone that serves; returns the process that it was."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_successor_of(self, pid: int) -> int:
        """Returns when another mintfsd serves, and which."""
        return eventually("another mintfsd serves", lambda: (now := self.pid) != pid and now)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def audit(self, event: str | None = None) -> list[dict[str, str]]:
        """What is written down by now: a line follows its act soon, and is not whole while it is being written."""
        whole, _, _ = (self.state / "audit.log").read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def wait_for_audit(self, event: str, count: int) -> list[dict[str, str]]:
        """The lines of this event, when there are so many; a line that should not be there is not waited for."""
        return eventually(f"{count} lines of {event} are written",
                          lambda: len(lines := self.audit(event)) >= count and lines)  # fmt: skip

    # --- use ---------------------------------------------------------------------------------------

    @property
    def control(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def admin(self) -> Path:
        return self.runtime / "admin.sock"

    @property
    def mount(self) -> Path:
        return self.runtime / "fs"

    def environment(self, **more: str | Path) -> dict[str, str]:
        return base_environment(MINTFS_SOCKET=self.control, HOME=self.root, **more)

    def cli(self, *args: str | Path, check: bool = True, uid: int | None = None,
            env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Runs `mintfs ARGS`."""
        done = subprocess.run(
            [*as_user(self.uid if uid is None else uid), str(MINTFS), *map(str, args)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * DEADLINE,
            env={**self.environment(), **(env or {})}, cwd=self.root,
        )  # fmt: skip
        assert_no_sanitizer_report(done.stderr, "mintfs")
        if check:
            assert done.returncode == 0, f"mintfs {shlex.join(map(str, args))}: {done.returncode}\n{done.stderr}"
        return done

    def open_lease(self, *options: str, connectors: Sequence[str] = ("git",), uid: int | None = None) -> Lease:
        names = [word for name in connectors for word in ("-c", name)]
        done = self.cli("lease", "open", *names, *options, "--format", "json", uid=uid)
        answer = json.loads(done.stdout)
        return Lease(answer["id"], Path(answer["path"]))

    def close_lease(self, lease: Lease) -> None:
        self.cli("lease", "close", lease.id)

    def leases(self) -> list[str]:
        """The ids of the open leases, as the control API lists them."""
        answer = self.control_api("GET", "/v1/leases")[1]
        found = answer.get("leases", []) if isinstance(answer, dict) else answer
        return [lease["id"] for lease in found]

    def control_api(self, method: str, path: str, body: object = None, uid: int | None = None) -> tuple[int, Any]:
        """One request with curl, as a script would do it: status and decoded answer."""
        data = ["--json", json.dumps(body)] if body is not None else []
        done = subprocess.run(
            [*as_user(self.uid if uid is None else uid), "curl", "--silent", "--unix-socket", str(self.control),
             "-X", method, "-w", "\n%{http_code}", *data, f"http://mintfs{path}"],
            capture_output=True, text=True, timeout=DEADLINE, env=base_environment(),
        )  # fmt: skip
        text, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(text) if text.strip() else None

    def ask_admin(self, path: str, *options: str, uid: int | None = None) -> tuple[int, str]:
        """One request at the admin socket with curl; status 0 where nobody answered."""
        done = subprocess.run(
            [*as_user(self.uid if uid is None else uid), "curl", "--silent", "--unix-socket", str(self.admin),
             "-w", "\n%{http_code}", *options, f"http://mintfs{path}"],
            capture_output=True, text=True, timeout=DEADLINE, env=base_environment(),
        )  # fmt: skip
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text

    def metrics(self) -> metrics.Samples:
        status, text = self.ask_admin("/metrics")
        assert status == 200, text
        return metrics.parse(text)

    def path(self, rest: str = "", name: str = "git", namespace: str = "default") -> str:
        """The path of a connector on the proxy."""
        return f"/namespaces/{namespace}/connectors/{name}/{rest}"


def token_in(gitconfig: str) -> str:
    """The token of the first connector in the text of a generated gitconfig."""
    encoded = gitconfig.split("Authorization: Basic ", 1)[1].split()[0].strip('"')
    return base64.b64decode(encoded).decode().removeprefix(":")
