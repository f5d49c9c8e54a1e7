"""Addresses for servers that must be told their port before they start."""

from __future__ import annotations

import itertools
import os
import random
import socket

import pytest

#: Of several that run the suite together (pytest-xdist) each has ports of its own, and hands out none of them twice
#: before all were: a server may take its port long after it was told.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_EACH, _WORKERS = 2000, 6
_RANGE = range(20000 + _WORKER % _WORKERS * _EACH, 20000 + (_WORKER % _WORKERS + 1) * _EACH)
_PORTS = itertools.islice(itertools.cycle(_RANGE), random.randrange(_EACH), None)


def free_port(host: str = "127.0.0.1") -> int:
    """A port below the ephemeral range, so that no outgoing connection takes it before its server does."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue


def own_loopback_address(port: int) -> str:
    """A loopback address that nobody else uses, so that a default port is free on it.

    Skips the test where it is not: somebody listens on that port of all addresses, or it is for root only.
    """
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            pytest.skip(f"port {port} is not free on {host}: {error.strerror}")
    return host
