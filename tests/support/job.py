"""A job: somebody with a home folder, the git of the machine, and a lease."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.mintfs import Lease, as_user, base_environment, token_in
from support.waiting import DEADLINE

_IDENTITY = """\
[user]
\tname = job
\temail = job@example.org
"""


class Job:
    """Its git never prompts a person: whoever is asked for a password is written down in `prompts`."""

    def __init__(self, home: Path, lease: Lease | None = None, uid: int | None = None) -> None:
        self.home, self.lease, self.uid = home, lease, os.getuid() if uid is None else uid
        home.mkdir(parents=True)
        (home / ".gitconfig").write_text(_IDENTITY)
        self._asked = home / "asked"
        askpass = home / "askpass"
        askpass.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$1\" >>'{self._asked}'\necho wrong\n")
        askpass.chmod(0o755)
        self.env = base_environment(HOME=home, GIT_ASKPASS=askpass)
        if lease:
            self.env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "include.path",
                         "GIT_CONFIG_VALUE_0": str(lease.gitconfig)}  # fmt: skip
        if self.uid != os.getuid():
            for path in (home, home / ".gitconfig", askpass):
                os.chown(path, self.uid, self.uid)

    @property
    def prompts(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []

    def run(self, *command: str | Path, check: bool = True, cwd: Path | None = None,
            env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
        done = subprocess.run(
            [*as_user(self.uid), *map(str, command)], cwd=cwd or self.home, env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=4 * DEADLINE,
        )  # fmt: skip
        if check:
            said = f"{shlex.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, said
        return done

    def start(self, *command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*as_user(self.uid), *map(str, command)], cwd=self.home, env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def git(self, *args: str | Path, check: bool = True, cwd: Path | None = None,
            env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
        return self.run("git", *args, check=check, cwd=cwd, env=env)

    def clone(self, url: str, *options: str, to: str = "app", check: bool = True) -> Path:
        self.git("clone", "--quiet", *options, url, self.home / to, check=check)
        return self.home / to

    def commit(self, work: Path, name: str, content: str | bytes) -> str:
        """Adds one file and commits it; returns the commit's id."""
        (work / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", cwd=work)
        self.git("commit", "--quiet", "-m", name, cwd=work)
        return self.git("rev-parse", "HEAD", cwd=work).stdout.strip()

    # --- the token that this job holds --------------------------------------------------------------

    def gitconfig(self) -> str:
        assert self.lease
        return self.run("cat", self.lease.gitconfig).stdout

    def token(self) -> str:
        """A fresh one; of a connector that is not git's where the lease has a .netrc."""
        netrc = self.lease.path / ".netrc" if self.lease else None
        if netrc and netrc.exists():
            return self.run("cat", netrc).stdout.split()[-1]
        return token_in(self.gitconfig())

    def authorization(self) -> str:
        """A whole header line with a fresh token."""
        return basic(self.token())


def basic(token: str, user: str = "") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()
