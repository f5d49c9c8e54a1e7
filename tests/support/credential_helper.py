"""git-credential-mintfs, spoken to as git does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from support.mintfs import BUILD, Daemon, Lease, as_user, assert_no_sanitizer_report
from support.waiting import DEADLINE

HELPER = BUILD / "git-credential-mintfs"


class Helper:
    """The helper of one lease, spoken to as git does."""

    def __init__(self, mintfs: Daemon, lease: Lease | None, uid: int | None = None,
                 session: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self.mintfs, self.lease, self.uid = mintfs, lease, os.getuid() if uid is None else uid
        self.session = dict(session or {})  # more variables

    def environment(self) -> dict[str, str]:
        lease = {"MINTFS_LEASE": self.lease.id} if self.lease else {}
        return {**self.mintfs.environment(**lease), **self.session}

    def ask(self, operation: str, text: str | bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*as_user(self.uid), str(HELPER), *options, operation], capture_output=True, timeout=DEADLINE, cwd="/",
            input=text if isinstance(text, bytes) else text.encode(), env=self.environment(),
        )  # fmt: skip
        assert_no_sanitizer_report(done.stderr.decode(errors="replace"), "git-credential-mintfs")
        return done

    def silently(self, operation: str, **fields: str) -> str:
        """Succeeds without a word on standard error; returns standard output."""
        done = self.ask(operation, lines(**fields))
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode()

    def store(self, **fields: str) -> None:
        assert self.silently("store", **fields) == ""

    def erase(self, **fields: str) -> None:
        assert self.silently("erase", **fields) == ""

    def get(self, **fields: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.silently("get", **fields).splitlines())


def lines(**fields: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in fields.items()) + "\n"
