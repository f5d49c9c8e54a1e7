"""A real Git server: lighttpd in front of git-http-backend, private by HTTP Basic.

The listening socket is bound here, to a port that the kernel chooses, and handed over as systemd would
do it. It accepts from its first moment, so nobody waits for the server to come up.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.lfs_server import LfsServer
from support.tls import Certificate
from support.waiting import DEADLINE, eventually

USER = "bot"
#: Distinctive, and different in each encoding in which it could leak: raw, base64, percent-encoded.
PASSWORD = "CANARY+7b1f/9e4c=d2@%41&x"

_CONFIG = """\
server.systemd-socket-activation = "enable"
server.bind = "{host}"
server.port = {port}
server.document-root = "{root}"
server.errorlog = "{root}/error.log"
server.upload-dirs = ( "{root}" )
server.stream-response-body = 1
server.max-keep-alive-requests = 10000
server.feature-flags = ( "server.h2proto" => "disable" )
server.modules = ( "mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_proxy", "mod_cgi",
                   "mod_accesslog" )
accesslog.filename = "{root}/access.log"
accesslog.format = "%m|%U|%q|%s|%{{Authorization}}i|%{{Content-Encoding}}i"
alias.url = ( "/" => "{cgi}/" )
cgi.assign = ( "" => "" )
cgi.x-sendfile = "disable"
setenv.set-environment = ( "GIT_PROJECT_ROOT" => "{projects}", "GIT_HTTP_EXPORT_ALL" => "1",
                           "HOME" => "{root}", "GIT_CONFIG_NOSYSTEM" => "1" )
"""
_AUTH = """\
auth.backend = "plain"
auth.backend.plain.userfile = "{root}/users"
auth.require = ( "/" => ( "method" => "basic", "realm" => "git", "require" => "valid-user" ) )
"""
_TLS = """\
server.modules += ( "mod_openssl" )
ssl.engine = "enable"
ssl.pemfile = "{certificate}"
ssl.privkey = "{key}"
"""
_LFS = """\
$HTTP["url"] =~ "/(info/lfs|gitlab-lfs)/" {{
    proxy.server = ( "" => ( ( "host" => "127.0.0.1", "port" => {port} ) ) )
}}
"""
_PROGRAM = """\
#!/bin/sh
exec "$(git --exec-path)/git-http-backend"
"""
_GATED = """\
#!/bin/bash
"$(git --exec-path)/git-http-backend" | {{
    head -c 65536 >"{gate}.$$"
    size=$(stat -c %s "{gate}.$$")
    cat "{gate}.$$"
    [ "$size" -lt 65536 ] || cat "{gate}"
    cat
}}
"""
_AUTHOR = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "tester"), ("EMAIL", "tester@example.org"))}  # fmt: skip


@dataclass(frozen=True)
class Access:
    """One line of the server's access log; what the real server was really sent."""

    method: str
    path: str
    query: str
    status: int
    authorization: str
    content_encoding: str


class Gate:
    """Holds back what is over 64 KiB of every answer of a server until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._writer: int | None = None

    def wait(self) -> None:
        """Returns when an answer is held back; its first part is on its way."""

        def held() -> bool:
            try:
                self._writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads
                    raise
            return self._writer is not None

        eventually("the server holds an answer back", held)

    def open(self) -> None:
        """Lets the rest go; opening twice is harmless."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


class GitServer:
    """Serves every bare repository under `projects`. Without users it is public."""

    def __init__(self, root: Path, *, users: Mapping[str, str] | None = None, host: str = "127.0.0.1",
                 port: int = 0, tls: Certificate | None = None, lfs: bool = False,
                 gate: Gate | None = None) -> None:  # fmt: skip
        self.root, self.projects, self.host = root, root / "projects", host
        self._scheme = "https" if tls else "http"
        self._process: subprocess.Popen[bytes] | None = None
        self._lfs = LfsServer(root / "lfs", users or {}) if lfs else None
        self.projects.mkdir(parents=True)
        (root / "users").write_text("".join(f"{user}:{word}\n" for user, word in (users or {}).items()))
        self._socket = socket.create_server((host, port))
        self.port: int = self._socket.getsockname()[1]

        # Every path of the server is one program: lighttpd walks "alias" up to the file "git" and leaves
        # the rest in PATH_INFO.
        program = root / "cgi" / "git"
        program.parent.mkdir()
        program.write_text(_GATED.format(gate=gate.path) if gate else _PROGRAM)
        program.chmod(0o755)
        config = _CONFIG.format(root=root, host=host, port=self.port, cgi=program, projects=self.projects)
        config += _AUTH.format(root=root) if users else ""
        config += _TLS.format(certificate=tls.certificate, key=tls.key) if tls else ""
        if self._lfs:
            self._lfs.origin = self.url
            config += _LFS.format(port=self._lfs.port)
        (root / "lighttpd.conf").write_text(config)

    @property
    def url(self) -> str:
        standard = {"http": 80, "https": 443}[self._scheme]
        return f"{self._scheme}://{self.host}" + ("" if self.port == standard else f":{self.port}")

    def start(self) -> GitServer:
        fd = self._socket.fileno()
        self._process = subprocess.Popen(
            ["bash", "-c", f'LISTEN_FDS=1 LISTEN_PID=$$ exec lighttpd -D -f "$1" 3<&{fd}', "bash",
             str(self.root / "lighttpd.conf")],
            pass_fds=[fd], stdin=subprocess.DEVNULL, start_new_session=True,
            env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
        )  # fmt: skip
        self._socket.close()  # a server that dies refuses, it does not leave its callers waiting
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Afterwards connections are refused. What is under way is cut, and is not in the access log."""
        self._socket.close()
        if self._process:
            self._process.send_signal(number)
            self._process.wait(DEADLINE)
            self._process = None
        if self._lfs:
            self._lfs.stop()
            self._lfs = None

    def create(self, name: str, files: Mapping[str, str | bytes] | None = None, commits: int = 1,
               submodules: Mapping[str, str] | None = None) -> Path:  # fmt: skip
        """Makes the bare repository `<name>.git` with `commits` commits on main.

        `files` and `submodules` (path to commit) are in the last one.
        """
        bare, work = self.projects / f"{name}.git", self.root / "work" / name
        self.git("init", "--quiet", "--initial-branch=main", work)
        for number in range(1, commits + 1):
            (work / "README").write_text(f"{name} {number}\n")
            for path, content in (files or {}).items() if number == commits else ():
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_bytes(content if isinstance(content, bytes) else content.encode())
            self.git("-C", work, "add", "--all")
            for path, commit in (submodules or {}).items() if number == commits else ():
                self.git("-C", work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
            self.git("-C", work, "commit", "--quiet", "-m", f"commit {number}")
        self.git("clone", "--quiet", "--bare", work, bare)
        for key, value in (("http.receivepack", "true"), ("uploadpack.allowFilter", "true"),
                           ("uploadpack.allowAnySHA1InWant", "true")):  # fmt: skip
            self.git("-C", bare, "config", key, value)
        shutil.rmtree(work)
        return bare

    def head(self, name: str, branch: str = "main") -> str:
        return self.git("-C", self.projects / f"{name}.git", "rev-parse", branch)

    def git(self, *args: str | Path) -> str:
        """Runs git on the server's side, untouched by anybody's configuration."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1", **_AUTHOR}
        done = subprocess.run(["git", *map(str, args)], check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    def accesses(self) -> list[Access]:
        """Everything that was asked of the server, which is stopped first: lighttpd writes its log late.

        By SIGINT it finishes what is under way, as after a client that has gone with the head of its answer.
        """
        self.stop(signal.SIGINT)
        log = self.root / "access.log"
        lines = log.read_text().splitlines() if log.exists() else []
        fields = (line.split("|") for line in lines)
        return [Access(f[0], f[1], f[2], int(f[3]), *f[4:6]) for f in fields]
