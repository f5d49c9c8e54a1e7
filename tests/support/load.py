"""What works on a mintfs without a pause while something is done to it: readers, clones, many leases.

Each keeps account of what it did and of what failed.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.job import Job
from support.mintfs import Daemon, Lease, base_environment
from support.waiting import DEADLINE

_READER = """
import json, os, sys, threading, time
paths = sys.stdin.readline().split()
done, worst, failed, stop = 0, 0.0, [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
while not stop.is_set():
    path, begin = paths[done % len(paths)], time.monotonic()
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            text = os.read(handle, 100)
            while part := os.read(handle, 1 << 16):
                text += part
            if len(text) != size or b"Authorization: Basic " not in text:
                failed.append(f"{path}: {len(text)} of {size} bytes")
        finally:
            os.close(handle)
    except OSError as error:
        failed.append(f"{time.time():.3f} {error}")
    worst, done = max(worst, time.monotonic() - begin), done + 1
print(json.dumps({"done": done, "failed": len(failed), "first": failed[:5], "worst": worst}))
"""


class Reader:
    """A process that opens, reads in two steps and closes these files in turn until it is told to end.

    `inside` is put before its command.
    """

    def __init__(self, leases: Sequence[Lease], inside: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen([*inside, sys.executable, "-c", _READER], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, env=base_environment())  # fmt: skip
        assert self._process.stdin
        self._process.stdin.write(" ".join(str(lease.gitconfig) for lease in leases) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """What it did: "done", "failed", the "first" failures, and the "worst" duration in seconds."""
        try:
            out, _ = self._process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # and not waited for: it may only end with the mount
            return {"done": 0, "failed": 1, "first": ["a reader hangs"], "worst": DEADLINE}
        return json.loads(out)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Clone:
    begin: float
    end: float
    failure: str  # empty: none


class Cloner:
    """Clones a repository again and again, on a thread."""

    def __init__(self, job: Job, url: str) -> None:
        self.clones: list[Clone] = []
        self._job, self._url = job, url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            begin = time.monotonic()
            try:
                done = self._job.git("clone", "--quiet", self._url, self._job.home / "clone", check=False)
                failure = done.stderr if done.returncode else ""
            except subprocess.TimeoutExpired:
                failure = "it hangs"
            self.clones.append(Clone(begin, time.monotonic(), failure))
            shutil.rmtree(self._job.home / "clone", ignore_errors=True)

    def end(self) -> list[Clone]:
        self._ended.set()
        self._thread.join()
        return self.clones


@dataclass
class Control:
    """The control API over one connection after the other, as a busy runner would use it."""

    daemon: Daemon
    _connection: http.client.HTTPConnection | None = field(default=None)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Asked again where the connection ended without an answer: a daemon that is killed or replaced."""
        for _ in range(100):
            try:
                if not self._connection:
                    self._connection = http.client.HTTPConnection("mintfs", timeout=DEADLINE)
                    self._connection.sock = socket.socket(socket.AF_UNIX)
                    self._connection.sock.settimeout(DEADLINE)
                    self._connection.sock.connect(str(self.daemon.control))
                text = json.dumps(body) if body is not None else None
                self._connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
                answer = self._connection.getresponse()
                content = answer.read()
                if answer.will_close:
                    self._connection = None
                return answer.status, json.loads(content) if content.strip() else None
            except (http.client.HTTPException, ConnectionError, BrokenPipeError):
                self._connection = None
                time.sleep(0.05)
        raise AssertionError(f"{method} {path} is not answered")

    def open_lease(self) -> Lease:
        status, lease = self.call("POST", "/v1/leases", {"connectors": ["git"]})
        assert status in (200, 201), lease
        return Lease(lease["id"], Path(lease["path"]))

    def close_lease(self, lease: Lease) -> None:
        status, problem = self.call("DELETE", f"/v1/leases/{lease.id}")
        assert status in (200, 204, 404), problem  # 404: the answer of the first attempt was lost

    def leases(self) -> set[str]:
        return {lease["id"] for lease in self.call("GET", "/v1/leases")[1]["leases"]}
