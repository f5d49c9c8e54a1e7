"""Resident memory: idle, per lease, per idle connection, per slow stream. Each figure from a fresh process, once:
memory that was freed and is used again would hide a cost, and figures of this kind do not scatter."""

import contextlib
import socket
import time

from harness import MIB, Failed, Row, wanted
from peers import PACK, SMALL, Mintfs, addresses_of, start_peer, start_upstream

STREAMS = 64


def benchmark(plan, sandbox):
    direct, _ = start_upstream(sandbox, plan)

    def fresh(name):
        if name == "mintfs":
            mintfs = Mintfs(sandbox, plan.build, addresses_of(direct.ports))
            return mintfs.side(["plain"])
        return start_peer(sandbox, name, direct.ports)

    rows = [leases(plan, sandbox, addresses_of(direct.ports))] if plan.mintfs else []
    for title, measure in ((f"memory: {plan.connections} idle connections", idle_connections),
                           (f"memory: {STREAMS} slow streams", slow_streams)):
        for name in ["nginx", "haproxy"] + ["mintfs"] * plan.mintfs:
            side = fresh(name)
            rows.append(measure(plan, title, side))
            sandbox.stop(side.process)
    return rows


def leases(plan, sandbox, addresses):
    mintfs = Mintfs(sandbox, plan.build, addresses)
    idle = mintfs.process.rss()
    ids = mintfs.open_leases("plain", plan.leases)
    opened = mintfs.process.rss()
    for lease in ids:
        (mintfs.runtime / "fs" / lease / ".gitconfig").read_bytes()
    read = mintfs.process.rss()
    sandbox.stop(mintfs.process)
    per_lease = (read - idle) / plan.leases
    return Row(f"memory: {plan.leases} leases", "mintfs", f"{per_lease:.0f} B each, view read",
               targets=wanted(f"{per_lease:.0f} B", per_lease, at_most=1024),
               also=f"{(opened - idle) / plan.leases:.0f} B each before the view is read; "
                    f"idle {idle / MIB:.1f} MiB, with all {read / MIB:.1f} MiB")


def ask(side, path, receive_buffer=None):
    """Connects and sends one GET."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", side.ports["plain"]))
    connection.sendall(f"GET {side.target('plain', path)} HTTP/1.1\r\nHost: 127.0.0.1:{side.ports['plain']}\r\n"
                       f"Authorization: {side.authorization('plain')}\r\n\r\n".encode())
    return connection


def expect_ok(side, connection):
    answer = connection.recv(16384)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise Failed(f"{side.name} answered {answer[:60]!r}")


def idle_rss(side):
    """After one request: all workers are there, and what is made once is not counted for each."""
    with ask(side, SMALL) as connection:
        expect_ok(side, connection)
    return side.process.rss()


def idle_connections(plan, title, side):
    idle = idle_rss(side)
    with contextlib.ExitStack() as stack:
        for _ in range(plan.connections):
            expect_ok(side, stack.enter_context(ask(side, SMALL)))
        full = side.process.rss()
    target = wanted(f"{full / MIB:.1f} MiB", full / MIB, at_most=100) if side.name == "mintfs" else ""
    return Row(title, side.name, f"{(full - idle) / plan.connections:.0f} B each", targets=target,
               also=f"idle {idle / MIB:.1f} MiB, with all {full / MIB:.1f} MiB")


def slow_streams(plan, title, side):
    idle = idle_rss(side)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(ask(side, PACK, receive_buffer=65536)) for _ in range(STREAMS)]
        for stream in streams:
            expect_ok(side, stream)
        end = time.monotonic() + 2
        while time.monotonic() < end:  # each reads a little, far slower than the proxy could
            for stream in streams:
                stream.recv(16384)
            time.sleep(0.02)
        busy = side.process.rss()
    return Row(title, side.name, f"{(busy - idle) / STREAMS / 1024:.0f} KiB each",
               also=f"idle {idle / MIB:.1f} MiB, with all {busy / MIB:.1f} MiB")
