"""Somebody in another mount namespace who has a view bound to a place of their own, as a container has it.

It holds a handle of which it reads a little at a time, stands in the bound folder, and does on request what a
job does: looks, opens, reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.mintfs import Lease, base_environment

_SCRIPT = """
import json, os, sys
os.chdir(sys.argv[1])
held, got = os.open(".gitconfig", os.O_RDONLY), b""
for word in sys.stdin:
    answer = {}
    try:
        if word.strip() == "go on":  # with the handle, 64 bytes further
            got += os.read(held, 64)
            answer["content"] = got.decode()
        elif word.strip() == "whole":  # of the handle, from its beginning
            answer["content"] = os.pread(held, 1 << 20, 0).decode()
        else:  # afresh
            answer["content"] = open(".gitconfig").read()
            answer["inode"] = os.stat(".").st_ino
            answer["names"] = os.listdir(sys.argv[1])
    except OSError as error:
        answer["error"] = f"{word.strip()}: {error}"
    print(json.dumps(answer), flush=True)
"""


class Inhabitant:
    def __init__(self, lease: Lease, place: Path) -> None:
        place.mkdir()
        enter = 'mount --make-rprivate / && mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
        self._process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", enter, "sh", lease.path, place, sys.executable, _SCRIPT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=base_environment(),
        )  # fmt: skip

    def ask(self, word: str) -> dict[str, Any]:
        """ "go on", "whole" or "afresh"; an answer with "error" is what failed."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def content(self, word: str) -> str:
        answer = self.ask(word)
        assert "content" in answer, answer
        return answer["content"]

    def leave(self) -> None:
        """The namespace goes with its last process, and the bind mount with it."""
        self._process.kill()
        self._process.communicate()
