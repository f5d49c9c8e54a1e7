"""Differential fuzzing: what our request parser lets through, a real nginx must read the same.

    differential.py READ_REQUESTS --time S [--seed N] [--found FOLDER]

Streams of requests are made from a grammar and then damaged. tests/fuzz/read_requests tells which requests at the
front of each the proxy would go on with. Exactly those bytes, and a last request that must arrive as itself, go to
nginx, whose upstream records what arrives. A finding is a request that nginx refuses, that nobody sent, or that has
another method, path, query or body there. What we refuse is not sent: refusing more than nginx is what we are for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.recorder import Recorder, Reply  # noqa: E402
from support.waiting import DEADLINE, eventually  # noqa: E402

import grammar  # noqa: E402

#: As strict as nginx gets, with our bounds. What takes it longer than a second has been read otherwise.
CONFIGURATION = """
daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log error; {user}
events {{ worker_connections 256; }}
http {{
  access_log off; lingering_close off; client_header_timeout 1s; client_body_timeout 1s;
  client_header_buffer_size 64k; large_client_header_buffers 8 64k;
  ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;
  client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place};
  scgi_temp_path {place};
  upstream recorder {{ server {upstream}; keepalive 4; }}
  server {{
    listen unix:{place}/nginx;
    location / {{
      proxy_pass http://recorder; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Path $uri;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Read:
    """A request as somebody has read it; the path is decoded."""

    method: str
    path: str
    query: str
    body: bytes


class Ours:
    """read_requests as a process of its own."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, stream: bytes) -> tuple[list[Read], int]:
        """What is let through, and how many bytes that took."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(struct.pack("<I", len(stream)) + stream)
        self._process.stdin.flush()
        found, taken = [], 0
        for _ in range(self._number()):
            method, path, query, body = (self._take(self._number()) for _ in range(4))
            taken += self._number()
            self._number()
            found.append(Read(method.decode(), urllib.parse.unquote(path, "latin-1"), query.decode(), body))
        return found, taken

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        if self._process.wait(DEADLINE):
            raise AssertionError(f"read_requests ended with {self._process.returncode}")

    def _number(self) -> int:
        return int(struct.unpack("<I", self._take(4))[0])

    def _take(self, size: int) -> bytes:
        assert self._process.stdout
        if len(data := self._process.stdout.read(size)) != size:
            raise AssertionError("read_requests has ended; its report is above")
        return data


class Nginx:
    """A real one on a Unix socket in `place`, before a recorder."""

    def __init__(self, place: Path) -> None:
        self._upstream, self._socket, self._serial = Recorder(), place / "nginx", 0
        for method in ("GET", "HEAD", "POST", "PUT"):
            self._upstream.when(method, "/", Reply(body=b""))
        configuration = place / "nginx.conf"
        upstream, user = f"{self._upstream.host}:{self._upstream.port}", "user root;" if os.getuid() == 0 else ""
        configuration.write_text(CONFIGURATION.format(place=place, upstream=upstream, user=user))
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        if not program:
            raise SystemExit("nginx is not installed; tools/setup --test does that")
        self._process = subprocess.Popen([program, "-p", place, "-c", configuration, "-e", place / "error.log"],
                                         stdin=subprocess.DEVNULL)  # fmt: skip
        eventually("nginx listens", self._listens)

    def read(self, stream: bytes) -> tuple[list[Read], list[int]]:
        """The requests that arrived behind nginx, and the states it answered with."""
        self._serial += 1
        last = f"/last/{self._serial}"
        self._upstream.requests.clear()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(self._socket))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(stream + f"GET {last} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while data := connection.recv(65536):
                    answer += data
        arrived = [_read(request) for request in self._upstream.requests]
        states = [int(state) for state in re.findall(rb"^HTTP/1\.[01] (\d{3})", answer, re.MULTILINE)]
        return [request for request in arrived if request.path != last], [state for state in states if state != 100]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._upstream.stop()

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise SystemExit(f"nginx ended with {self._process.returncode}")
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self._socket))
            return True
        return False


def _read(request) -> Read:  # type: ignore[no-untyped-def]
    # nginx sends an absolute-form target on in origin-form, and $uri is what it has made of the path.
    return Read(request.method, request.all("X-Path")[-1], request.target.partition("?")[2], request.body)


def difference(ours: list[Read], theirs: list[Read], states: list[int]) -> str:
    if refused := [state for state in states if state >= 400]:
        return f"nginx refuses it with {refused[0]}"
    if ours != theirs:
        return f"we read   {ours}\nnginx     {theirs}"
    return ""


@dataclass(frozen=True)
class Explained:
    """A line of differential.txt: what the bytes of such a stream hold, and why it is right."""

    pattern: re.Pattern[bytes]
    reason: str


def explained() -> Iterator[Explained]:
    for line in (HERE / "differential.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, _, reason = line.partition("  ")
            yield Explained(re.compile(pattern.encode(), re.MULTILINE), reason.strip())


class Run:
    def __init__(self, ours: Ours, nginx: Nginx, found: Path) -> None:
        self._ours, self._nginx, self._found = ours, nginx, found
        self._explained = list(explained())
        self.made = self.compared = 0
        self.reasons: Counter[str] = Counter()

    def one(self, stream: bytes) -> str:
        """What is wrong with it; nothing where all is well."""
        self.made += 1
        ours, taken = self._ours.read(stream)
        if not ours:
            return ""
        self.compared += 1
        what = difference(ours, *self._nginx.read(stream[:taken]))
        if not what:
            return ""
        for known in self._explained:
            if known.pattern.search(stream[:taken]):
                self.reasons[known.reason] += 1
                return ""
        file = self._found / f"{self.made:08}"
        file.write_bytes(stream[:taken])
        return f"{stream[:taken]!r}\n{what}\nreproducer: {file}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--time", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--found", type=Path, default=Path("."))
    parser.add_argument("--most", type=int, default=20, help="findings, then it ends")
    options = parser.parse_args()
    findings = 0
    with tempfile.TemporaryDirectory() as place:
        ours, nginx = Ours(options.program), Nginx(Path(place))
        try:
            run = Run(ours, nginx, options.found)
            streams = grammar.streams(random.Random(options.seed), sorted((HERE / "corpus/request").iterdir()))
            end = time.monotonic() + options.time
            for stream in streams:
                if time.monotonic() > end or findings == options.most:
                    break
                if said := run.one(stream):
                    findings += 1
                    print(said, end="\n\n")
        finally:
            nginx.stop()
            ours.stop()
    print(f"{run.made} streams with seed {options.seed}, {run.compared} of them compared, "
          f"{findings} unexplained differences")  # fmt: skip
    for reason, count in run.reasons.most_common():
        print(f"  {count} explained: {reason}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
