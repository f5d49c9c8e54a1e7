"""Stops a mintfsd at the one point that chance finds rarely: a request is taken from the kernel and not answered.

ptrace(2) with PTRACE_GET_SYSCALL_INFO, which is the same on every machine. All calls come from one thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from pathlib import Path
from typing import Literal

from support.waiting import eventually

_SYSCALL, _SEIZE, _INTERRUPT, _SYSCALL_INFO, _SYSGOOD, _EXITED = 24, 0x4206, 0x4207, 0x420E, 1, 2
_ALL = 0x40000000  # __WALL: threads too
_LEAST_READ = 8192  # FUSE_MIN_READ_BUFFER: the kernel refuses less
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int, address: int = 0, data: object = 0) -> int:
    result = _libc.ptrace(request, thread, address, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def _loop_of(pid: int) -> tuple[int, int] | Literal[False]:
    """The thread that waits in a read of /dev/fuse, and the number of that system call; it may be busy just now.

    It may be answering, too: what it writes there is in few parts, and what it reads into is large.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        words = (task / "syscall").read_text().split()
        if len(words) > 3 and int(words[3], 16) >= _LEAST_READ:
            descriptor = Path(f"/proc/{pid}/fd/{int(words[1], 16)}")
            if descriptor.is_symlink() and os.readlink(descriptor) == "/dev/fuse":
                return int(task.name), int(words[0])
    return False


class Tracer:
    """Attaches to the view's thread of a mintfsd; then somebody makes a request, then kill_at_request()."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._thread, self._read = eventually("a thread reads /dev/fuse", lambda: _loop_of(pid))
        _ptrace(_SEIZE, self._thread, 0, _SYSGOOD)
        _ptrace(_INTERRUPT, self._thread)
        os.waitpid(self._thread, _ALL)

    def kill_at_request(self, opcode: int) -> None:
        """kill -9 when a request of this kind (linux/fuse.h) has been read; others before it are answered."""
        try:
            while not self._has_read(opcode):
                pass
        finally:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self._thread, _ALL)

    def _has_read(self, opcode: int) -> bool:
        """Goes on to the next end of a system call."""
        call, buffer = 0, 0
        while True:
            _ptrace(_SYSCALL, self._thread)
            os.waitpid(self._thread, _ALL)
            info = ctypes.create_string_buffer(128)
            _ptrace(_SYSCALL_INFO, self._thread, len(info), ctypes.addressof(info))
            if info.raw[0] == _EXITED:
                break
            call, _, buffer = struct.unpack_from("=3Q", info.raw, 24)
        size = struct.unpack_from("=q", info.raw, 24)[0]
        if call != self._read or size < 40:  # struct fuse_in_header
            return False
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(buffer)
            return struct.unpack("=II", memory.read(8)) == (size, opcode)
