"""A whole Kubernetes of one node (tests/support/whole-cluster): pods really run, kubelet really calls the CSI driver.

Its images come from here, as there is no registry. Needs root, Podman and the programs of
tools/real-api-server --node.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import podman
from support.mintfs import BUILD, REPOSITORY, base_environment
from support.waiting import DEADLINE, eventually

Object = dict[str, Any]
NODE = "192.0.2.1"
#: Debian with git: what runs in pods that are not mintfs's, and what holds a pod's namespaces.
BASE, MINTFS = "localhost/base:latest", "localhost/mintfs:latest"
_CGROUPS = "mintfs-whole-cluster"
_NEW_NET = 0x40000000  # CLONE_NEWNET, sched.h


class WholeCluster:
    """Everything it owns is under `root` and in its namespaces; `stop()` ends it."""

    def __init__(self, programs: Path, root: Path) -> None:
        root.mkdir()
        self.programs, self.root = programs, root
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def start(self) -> WholeCluster:
        with (self.root.parent / f"{self.root.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
                 REPOSITORY / "tests/support/whole-cluster", self.root, self.programs],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=base_environment(HOME=self.root),
                start_new_session=True)  # fmt: skip
        eventually("the cluster is ready", self._is_ready, 5 * DEADLINE)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._init = int(children[0])
        return self

    def _is_ready(self) -> bool:
        assert self._process
        log = self.root.parent / f"{self.root.name}.log"
        assert self._process.poll() is None, f"the cluster ended:\n{log.read_text(errors='replace')}{self.logs()}"
        return (self.root / "ready").exists()

    def logs(self) -> str:
        ends = (f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(self.root.glob("*.log")))
        return "\n".join(ends)

    def stop(self) -> None:
        if self._process:
            self._process.kill()  # and with it the first process of its namespace, and so all others
            self._process.wait()
            self._process = None
        for tree in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")):
            if (tree / _CGROUPS).is_dir():
                eventually(f"{tree} is free", lambda tree=tree: _remove(tree / _CGROUPS))
        shutil.rmtree(self.root, ignore_errors=True)

    # --- use ---------------------------------------------------------------------------------------

    def enter(self, *command: str | Path, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command on the node."""
        done = subprocess.run(["nsenter", f"--target={self._init}", "--mount", "--net", "--pid", *map(str, command)],
                              input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=10 * DEADLINE,
                              env=base_environment(HOME=self.root, KUBECONFIG=self.root / "admin.conf"))  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def kubectl(self, *args: str | Path, text: str | None = None, check: bool = True) -> str:
        done = self.enter("kubectl", *args, text=text, check=check)
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *args: str) -> Object:
        return json.loads(self.kubectl("get", *args, "--output=json"))

    def take(self, image: str) -> None:
        """Brings one of Podman's images to the node."""
        archive = self.root / "image.tar"
        podman.manage("save", "--output", archive, image)
        self.enter("ctr", "--namespace=k8s.io", "images", "import", archive)
        archive.unlink()

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread makes in here are of the node's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as own, open(f"/proc/{self._init}/ns/net") as theirs:
            if libc.setns(theirs.fileno(), _NEW_NET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                assert libc.setns(own.fileno(), _NEW_NET) == 0


def _remove(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not group.exists()


@contextlib.contextmanager
def images(scratch: Path) -> Iterator[list[str]]:
    """BASE and MINTFS, the latter made by deploy/container of the programs of this build."""
    subprocess.run([REPOSITORY / "deploy/container/stage", scratch / "out", BUILD], check=True)
    builder = f"localhost/mintfs-test-builder-{os.getpid()}"
    try:
        for tag, *more in ((BASE,), (builder, "-C", scratch, "out")):
            archive = subprocess.Popen(["tar", "-c", "-C", podman.ROOTFS, ".", *more], stdout=subprocess.PIPE)
            podman.manage("import", "--change=CMD [\"/usr/bin/sleep\", \"infinity\"]",
                          "--change=ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "-", tag, stdin=archive.stdout)
            assert archive.wait(DEADLINE) == 0
        podman.manage("build", "--network", "host", *podman.LIMITS, "--build-arg", f"BASE={BASE}", "--build-arg",
                      f"BUILDER={builder}", "--file", REPOSITORY / "deploy/container/Containerfile", "--tag", MINTFS,
                      REPOSITORY)  # fmt: skip
        yield [BASE, MINTFS]
    finally:
        podman.manage("rmi", "--force", "--ignore", MINTFS, builder, BASE)
