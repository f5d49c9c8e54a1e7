"""Installs, configures and starts the servers: the common upstream, and the sides nginx, HAProxy and mintfs."""

import base64
import contextlib
import dataclasses
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import Failed, Process, free_port, listening, run

HERE = Path(__file__).parent
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "lighttpd": "lighttpd", "ab": "apache2-utils",
            "git": "git", "curl": "curl", "openssl": "openssl"}
PASSWORD = "bench-password"
REAL = "Basic " + base64.b64encode(f"bench:{PASSWORD}".encode()).decode()
SMALL, PACK = "/acme/app.git/HEAD", f"/acme/app.git/objects/pack/pack-{'5' * 40}.pack"


def install():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise Failed(f"some peers are missing; type: sudo apt-get install {' '.join(missing)}")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with policy_against_autostart():
        run("apt-get", "update", "-q", env=environment)
        run("apt-get", "install", "-qy", "--no-install-recommends", *missing, env=environment, timeout=600)


@contextlib.contextmanager
def policy_against_autostart():
    """Debian starts a server when its package is installed, on port 80; not here (policy-rc.d, exit status 101)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def fill(template, **values):
    """A template of peers/ with its @names@ filled in."""
    return re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), (HERE / "peers" / template).read_text())


def configure(sandbox, template, **values):
    """Writes a server's configuration into the sandbox."""
    user = "user root;" if os.geteuid() == 0 else ""
    return sandbox.write(template.removesuffix(".in"), fill(template, dir=sandbox.path, real=REAL, user=user, **values))


@dataclasses.dataclass
class Side:
    """One way from the client to the upstream."""
    name: str
    ports: dict                          # upstream name -> port that the client connects to
    authorization: Callable[[str], str]  # upstream name -> what the client sends, fresh for each sample
    prefix: str = ""                     # before the path; {} is the upstream's name
    process: Process | None = None       # what stands between; none on the direct side

    def target(self, upstream, path):
        return self.prefix.format(upstream) + path


def start_upstream(sandbox, plan):
    """The upstream of all sides: `plain` and `tls` (static files of one nginx) and `drain` (takes request bodies)."""
    ports = {name: free_port() for name in ("plain", "tls", "drain")}
    make_certificates(sandbox)
    sandbox.write("www" + SMALL, "ref: refs/heads/main\n")
    pack = sandbox.write("www" + PACK, "")
    os.truncate(pack, plan.stream)
    config = configure(sandbox, "upstream.conf.in", plain_port=ports["plain"], tls_port=ports["tls"])
    upstream = sandbox.start("upstream", "nginx", "-p", sandbox.path, "-c", config, ready=listening(ports["plain"]))
    drain = sandbox.start("drain", plan.program("sink"), "serve", ports["drain"], ready=listening(ports["drain"]))
    return Side("direct", ports, lambda _: REAL), [upstream, drain]


def make_certificates(sandbox):
    def openssl(*arguments):
        run("openssl", *arguments, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    at = sandbox.path
    openssl("req", "-x509", "-subj", "/CN=mintfs bench CA", "-keyout", at / "ca.key", "-out", at / "ca.pem")
    openssl("req", "-x509", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext",
            "basicConstraints=critical,CA:FALSE", "-CA", at / "ca.pem", "-CAkey", at / "ca.key",
            "-keyout", at / "server.key", "-out", at / "server.pem")


def start_peer(sandbox, name, upstreams):
    """nginx or HAProxy, with a fixed token of the length that mintfs' tokens have."""
    port = free_port()
    token = "Basic " + base64.b64encode(b":" + secrets.token_urlsafe(251).encode()).decode()
    ports = {f"{upstream}_port": number for upstream, number in upstreams.items()}
    template = {"nginx": "nginx.conf.in", "haproxy": "haproxy.cfg.in"}[name]
    config = configure(sandbox, template, port=port, token=token, **ports)
    command = ["nginx", "-p", sandbox.path, "-c", config] if name == "nginx" else ["haproxy", "-db", "-f", config]
    process = sandbox.start(name, *command, ready=listening(port))
    return Side(name, dict.fromkeys(upstreams, port), lambda _: token, "/namespaces/default/connectors/{}", process)


class Mintfs:
    """A mintfsd with one connector per upstream address, and one lease on each as they are asked for."""

    def __init__(self, sandbox, build, addresses, threads=1):
        self.build, self.port = build, free_port()
        home = Path(tempfile.mkdtemp(prefix="mintfs.", dir=sandbox.path))  # one per daemon: leases outlive theirs
        self.runtime, self.environment = home / "run", {"MINTFS_SOCKET": str(home / "run/control.sock")}
        for name in ("run", "state"):
            (home / name).mkdir(mode=0o700)
        password = sandbox.write("password", PASSWORD)
        config = fill("mintfs.toml.in", dir=home, port=self.port, threads=threads)
        for name, address in addresses.items():
            ca_file = f'ca_file = "{sandbox.path}/ca.pem"' if address.startswith("https") else ""
            config += fill("connector.toml.in", name=name, address=address, password=password, ca_file=ca_file)
        (home / "mintfs.toml").write_text(config)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(home / "notify"))
            notify.setblocking(False)
            self.process = sandbox.start("mintfsd", build / "mintfsd", "--config", home / "mintfs.toml",
                                         env={"NOTIFY_SOCKET": str(home / "notify")},
                                         ready=lambda: self._is_ready(notify))

    @staticmethod
    def _is_ready(notify):
        with contextlib.suppress(BlockingIOError):
            return b"READY=1" in notify.recv(4096)
        return False

    def open_lease(self, connector):
        """The view of a new lease, by the command line as a job gets it."""
        out = run(self.build / "mintfs", "lease", "open", "-c", connector, "--format", "json", env=self.environment)
        return Path(json.loads(out)["path"])

    def open_leases(self, connector, count):
        """Ids of new leases, by the control API over one connection."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.environment["MINTFS_SOCKET"])
        ids = []
        with contextlib.closing(connection):
            for _ in range(count):
                connection.request("POST", "/v1/leases", json.dumps({"connectors": [connector], "ttl": "1h"}),
                                   {"Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status // 100 != 2:
                    raise Failed(f"mintfsd did not open a lease: {answer.status} {body.decode(errors='replace')}")
                ids.append(json.loads(body)["id"])
        return ids

    def side(self, upstreams, name="mintfs"):
        """mintfs as a side: each sample reads the view, so its token is fresh."""
        views = {upstream: self.open_lease(upstream) for upstream in upstreams}

        def authorization(upstream):
            return re.search(r"Authorization: (Basic [\w+/=-]+)", (views[upstream] / ".gitconfig").read_text())[1]
        return Side(name, dict.fromkeys(upstreams, self.port), authorization,
                    "/namespaces/default/connectors/{}", self.process)


def addresses_of(upstreams):
    return {name: f"https://localhost:{port}" if name == "tls" else f"http://127.0.0.1:{port}"
            for name, port in upstreams.items()}


def versions():
    def first(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return (re.search(r"\d+(\.\d+)+", done.stdout + done.stderr) or ["?"])[0]
    return (f"nginx {first('nginx', '-v')}, HAProxy {first('haproxy', '-v')}, git {first('git', '--version')}, "
            f"libfuse {first('pkg-config', '--modversion', 'fuse3')}")
