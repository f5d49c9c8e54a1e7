"""How `mintfs run` and `lease open` end when their terminal, their reader or a signal ends them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.mintfs import MINTFS, Daemon, connector
from support.waiting import DEADLINE


@pytest.fixture
def idle(password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    """A daemon whose upstream nobody asks."""
    return start_mintfs(connector("git", "https://git.example", password))


_SIGNALS = ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "RTMIN", "RTMAX-1"]


def _number(name: str) -> int:
    base, _, less = name.partition("-")
    return getattr(signal, f"SIG{base}") - int(less or 0)


_WAITS = f"""
import signal, sys
signals = {{int(sys.argv[1])}}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
print("ready", flush=True)
told = signal.sigtimedwait(signals, {DEADLINE / 2})
sys.exit(7 if told else 1)
"""


def _run_waiting(name: str) -> list[str]:
    """A `mintfs run` whose command ends with 7 when it is told so by the signal, and by itself when nobody tells it."""
    return ["env", f"--default-signal={name}", str(MINTFS), "run", "-c", "git", "--", "/usr/bin/python3", "-c", _WAITS,
            str(_number(name))]  # fmt: skip


@pytest.mark.parametrize("name", _SIGNALS)
def test_a_signal_that_would_end_run_reaches_the_command_instead(idle: Daemon, name: str) -> None:
    process = subprocess.Popen(_run_waiting(name), stdout=subprocess.PIPE, text=True, env=idle.environment())
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(_number(name))
    assert process.wait(DEADLINE) == 7
    assert idle.leases() == []


def test_a_terminal_that_is_closed_ends_the_command_too(idle: Daemon) -> None:
    child, terminal = pty.fork()  # the child leads the session, as in a terminal window of its own
    if child == 0:
        try:
            os.execve("/usr/bin/env", _run_waiting("HUP"), idle.environment())
        finally:
            os._exit(1)
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert idle.leases() == []


@pytest.mark.parametrize("format", ["text", "env", "json"])
def test_a_lease_that_nobody_learns_of_is_closed(idle: Daemon, format: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([MINTFS, "lease", "open", "-c", "git", "--format", format], stdout=write, text=True,
                          stderr=subprocess.PIPE, env=idle.environment(), timeout=DEADLINE)  # fmt: skip
    os.close(write)
    assert done.returncode == 1 and "standard output" in done.stderr
    assert idle.leases() == []
