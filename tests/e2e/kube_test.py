"""The Kubernetes client against a server that speaks real HTTP by TLS and behaves as badly as real ones do."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api_server import CONNECTORS, OURS, SECRETS, ApiServer, Raw, Refusal, Silence, token_file
from support.mintfs import BUILD
from support.tls import Authority
from support.waiting import DEADLINE

PROBE = BUILD / "tests/kube/kube_probe"


class Probe:
    """The client as a program; `next()` is its next line."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen([PROBE, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def next(self) -> str:
        return self._lines.get(timeout=DEADLINE)

    def until(self, line: str) -> list[str]:
        """Lines up to the first that begins so."""
        lines = [self.next()]
        while not lines[-1].startswith(line):
            lines.append(self.next())
        return lines

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


@pytest.fixture
def api(authority: Authority) -> Iterator[ApiServer]:
    server = ApiServer(authority)
    yield server
    server.stop()


Start = Callable[..., Probe]


@pytest.fixture
def start(tmp_path: Path, authority: Authority, api: ApiServer) -> Iterator[Start]:
    started: list[Probe] = []
    token = token_file(tmp_path / "token")

    def begin(*arguments: str, server: str = "", ca: Path | None = None) -> Probe:
        started.append(Probe("--server", server or api.url, "--token-file", token, "--ca-file",
                             ca or authority.certificate, *arguments))  # fmt: skip
        return started[-1]

    yield begin
    for probe in started:
        probe.stop()


def thing(name: str, **members: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "x"}, **members}


def test_a_list_in_pages_and_then_each_change(api: ApiServer, start: Start) -> None:
    api.page = 2
    for name in "abcde":
        api.put(CONNECTORS, thing(name))
    probe = start("watch", CONNECTORS)
    assert probe.until("complete") == ["begin", *(f"+x/{name}" for name in "abcde"), "complete"]
    api.wait_for_watch(CONNECTORS)
    api.put(CONNECTORS, thing("f"))
    assert probe.next() == "+x/f"
    api.delete(CONNECTORS, "a", "x")
    assert probe.next() == "-x/a"
    lists = [r.query for r in api.requests if "watch" not in r.query]
    assert [q.get("continue") for q in lists] == [None, "2", "4"]
    assert all("resourceVersion" not in q for q in lists), "a list from a server's cache may be older than what we saw"


def test_nothing_is_missed_where_a_connection_drops_in_the_middle_of_an_event(api: ApiServer, start: Start) -> None:
    probe = start("watch", CONNECTORS)
    probe.until("complete")
    api.wait_for_watch(CONNECTORS)
    api.put(CONNECTORS, thing("a"))
    assert probe.next() == "+x/a"
    api.watches(CONNECTORS).drop_mid_event()
    assert probe.next().startswith("failure unreachable")
    api.put(CONNECTORS, thing("b"))  # while nobody watches, perhaps
    assert probe.until("+")[-1] == "+x/b"
    assert sum("watch" not in r.query for r in api.requests) == 1, "it listed again without need"


def test_gone_in_the_stream_lists_again_and_tells_what_vanished(api: ApiServer, start: Start) -> None:
    api.put(CONNECTORS, thing("a"))
    probe = start("watch", CONNECTORS)
    probe.until("complete")
    api.wait_for_watch(CONNECTORS).gone()
    assert probe.next().startswith("failure gone: a watch ended with 410")
    assert probe.until("complete")[1:] == ["begin", "+x/a", "complete"]


def test_gone_as_an_answer_lists_again(api: ApiServer, start: Start) -> None:
    probe = start("watch", CONNECTORS)
    probe.until("complete")
    watches = api.wait_for_watch(CONNECTORS)
    api.compact()
    watches.end()
    assert probe.until("failure")[-1].startswith("failure gone: the API server answers 410")
    probe.until("complete")
    api.wait_for_watch(CONNECTORS)


def test_a_bookmark_spares_the_list_after_history_was_forgotten(api: ApiServer, start: Start) -> None:
    probe = start("watch", CONNECTORS)
    probe.until("complete")
    watches = api.wait_for_watch(CONNECTORS)
    api.compact()
    api.bookmark(CONNECTORS)
    watches.end()
    probe.until("pause")
    api.wait_for(lambda: sum("watch" in r.query for r in api.requests) == 2 and api.watches(CONNECTORS))
    assert sum("watch" not in r.query for r in api.requests) == 1


def test_it_waits_as_long_as_it_is_told(api: ApiServer, start: Start) -> None:
    api.script(Refusal(429, "slow down", retry_after=7))
    probe = start("watch", CONNECTORS)
    lines = probe.until("complete")
    assert lines == ["begin", "failure too-many: the API server answers 429: slow down", "pause 7500", "begin",
                     "complete"]  # fmt: skip


def test_an_expired_token_is_read_again(api: ApiServer, start: Start, tmp_path: Path) -> None:
    probe = start("watch", CONNECTORS)
    probe.until("complete")
    watches = api.wait_for_watch(CONNECTORS)
    api.tokens = {"token-2"}
    watches.end()
    assert probe.until("failure")[-1].startswith("failure unauthorized")
    token_file(tmp_path / "token", "token-2")
    api.wait_for(lambda: api.watches(CONNECTORS) and api.requests[-1].token == "token-2")


def test_a_watch_that_falls_silent_is_taken_up_anew(api: ApiServer, start: Start) -> None:
    probe = start("--silence", "1", "watch", CONNECTORS)
    probe.until("complete")
    api.wait_for(lambda: sum("watch" in r.query for r in api.requests) >= 2)
    assert sum("watch" not in r.query for r in api.requests) == 1


def test_a_silent_watch_is_no_confirmation(api: ApiServer, start: Start) -> None:
    """A server that has not seen a change of the collection since it started sends no bookmarks."""
    probe = start("--silence", "1", "--confirmed", "watch", CONNECTORS)
    for _ in range(3):
        assert probe.until("complete")


def test_a_server_that_does_not_answer_is_given_up(api: ApiServer, start: Start) -> None:
    api.script(Silence())
    probe = start("--exchange", "1", "call", "GET", f"{CONNECTORS}")
    assert probe.next().startswith("failure timed-out")


def test_an_event_without_end_is_not_collected(api: ApiServer, start: Start) -> None:
    probe = start("--event-limit", "65536", "watch", CONNECTORS)
    probe.until("complete")
    watches = api.wait_for_watch(CONNECTORS)
    for _ in range(9):
        watches.say(b"x" * 16384)
    assert probe.next().startswith("failure too-large: an event is over 65536 bytes")


def test_an_answer_over_the_bound_is_refused(api: ApiServer, start: Start) -> None:
    api.put(CONNECTORS, thing("a", spec="x" * 100_000))
    probe = start("--answer-limit", "65536", "call", "GET", f"{OURS}/namespaces/x/connectors/a")
    assert probe.next().startswith("failure too-large")


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{,", "malformed"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (b"", "unreachable"),
    ],
)
def test_what_is_no_answer_is_a_failure(api: ApiServer, start: Start, text: bytes, reason: str) -> None:
    api.script(Raw(text))
    assert start("call", "GET", CONNECTORS).next().startswith(f"failure {reason}")


def test_a_server_of_another_authority_gets_no_token(api: ApiServer, start: Start, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    assert start("call", "GET", CONNECTORS, ca=other.certificate).next().startswith("failure untrusted")
    assert api.requests == []


@pytest.mark.parametrize("name", ["DNS:kubernetes.default.svc", "IP:127.0.0.2"])
def test_a_certificate_for_another_name_gets_no_token(authority: Authority, start: Start, name: str) -> None:
    other = ApiServer(authority, names=(name,))
    try:
        assert start("call", "GET", CONNECTORS, server=other.url).next().startswith("failure untrusted")
        assert other.requests == []
    finally:
        other.stop()


def test_calls_share_a_connection_and_survive_its_end(api: ApiServer, start: Start) -> None:
    api.put(SECRETS, thing("a"))
    path = "/api/v1/namespaces/x/secrets/a"
    probe = start("call", "--times", "3", "GET", path)
    for _ in range(3):
        assert json.loads(probe.next())["metadata"]["name"] == "a"
    assert len({r.connection for r in api.requests}) == 1
    api.requests.clear()
    # A server that says it would keep the connection, and does not.
    body = b'{"metadata":{}}'
    api.script(Raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)))
    probe = start("call", "--times", "2", "GET", path)
    assert [json.loads(probe.next())["metadata"].get("name") for _ in range(2)] == [None, "a"]


def test_objects_are_made_changed_and_removed(api: ApiServer, start: Start) -> None:
    folder = f"{OURS}/namespaces/x/connectors"
    assert "uid" in start("call", "POST", folder, json.dumps(thing("a"))).next()
    assert start("call", "POST", folder, json.dumps(thing("a"))).next().startswith("failure already-exists")
    patch = json.dumps({"status": {"ready": True}})
    assert json.loads(start("call", "PATCH", f"{folder}/a/status", patch).next())["status"] == {"ready": True}
    assert json.loads(start("call", "DELETE", f"{folder}/a").next())["status"] == "Success"
    assert start("call", "GET", f"{folder}/a").next().startswith("failure not-found")
