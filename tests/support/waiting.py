"""Waiting for an event that another process will bring about, with a bound and never for nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")

#: Generous: it bounds a hang, it measures nothing (sanitizer builds on a loaded machine are slow).
DEADLINE = 60.0


def eventually(what: str, probe: Callable[[], T | Literal[False]], deadline: float = DEADLINE) -> T:
    """Asks until the answer is true and returns it. Only for states that no event announces to us."""
    end = time.monotonic() + deadline
    while not (answer := probe()):
        if time.monotonic() > end:
            raise AssertionError(f"this never became true: {what}")
        time.sleep(0.02)
    return answer
