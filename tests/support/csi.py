"""mintfs-csi under test, and a kubelet that talks to it as the real one does."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc

from support.mintfs import BUILD, REPOSITORY, assert_no_sanitizer_report, base_environment
from support.waiting import DEADLINE, eventually

MINTFS_CSI = BUILD / "mintfs-csi"
#: What a kubelet passes on for each pod when the CSIDriver object asks for it; the token is a canary.
SERVICE_ACCOUNT_TOKEN = "canary-service-account-token"
#: Where they stand, in volume_context or in `secrets`.
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


def messages(folder: Path, name: str = "csi") -> ModuleType:
    """The classes of csi.proto, or of another one beside it, made by protoc in `folder`."""
    module = f"{name}_pb2"
    if module not in sys.modules:
        source = REPOSITORY / "src/csi"
        subprocess.run(["protoc", f"-I{source}", f"--python_out={folder}", f"{name}.proto"], check=True)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        importlib.import_module(module)
    return sys.modules[module]


def mounts_below(folder: Path) -> list[list[str]]:
    """The lines of the mount table for what is mounted below a folder."""
    with open("/proc/self/mountinfo") as table:
        return [fields for fields in map(str.split, table) if fields[4].startswith(f"{folder}/")]


class Driver:
    """One mintfs-csi with a kubelet directory of its own."""

    def __init__(self, root: Path, control: Path, *options: str | Path, wrapper: tuple[str, ...] = ()) -> None:
        self.root, self.kubelet, self.control = root, root / "kubelet", control
        self.endpoint, self.log_file = root / "csi.sock", root / "csi.log"
        self.options, self._wrapper = [str(each) for each in options], wrapper
        (self.kubelet / "pods").mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *options: str | Path) -> list[str]:
        return [*self._wrapper, str(MINTFS_CSI), "--endpoint", f"unix://{self.endpoint}", "--node-id", "node-1", "--socket",
                str(self.control), "--kubelet-dir", str(self.kubelet), "--log-level", "debug", *self.options,
                *map(str, options)]  # fmt: skip

    def start(self, **environment: str) -> Driver:
        before = self.log().count(" serves at ")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=base_environment(**environment))  # fmt: skip
        process = self.process
        eventually("mintfs-csi serves", lambda: self.log().count(" serves at ") > before or process.poll() is not None)
        assert process.poll() is None, self.log()
        return self

    def stop(self) -> int:
        if not self.process:
            return 0
        self.process.terminate()
        status = self.process.wait(DEADLINE)
        self.process = None
        assert_no_sanitizer_report(self.log(), "mintfs-csi's log")
        return status

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def watched(self) -> tuple[int, str]:
        """What kubelet's liveness probe sees: the status, and the reason."""
        done = subprocess.run([*self._wrapper, str(MINTFS_CSI), "--probe", "--endpoint", f"unix://{self.endpoint}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, env=base_environment())  # fmt: skip
        assert_no_sanitizer_report(done.stderr, "mintfs-csi --probe")
        return done.returncode, done.stderr

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


def call(socket: Path, method: str, request: Any, answer: Any) -> Any:
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        ask = channel.unary_unary(f"/{method}", request_serializer=lambda each: each.SerializeToString(),
                                  response_deserializer=answer.FromString)  # fmt: skip
        return ask(request, timeout=DEADLINE, wait_for_ready=True)


class PluginWatcher:
    """The part of kubelet that finds a driver by its socket in plugins_registry."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.pb = folder, messages(scratch, "registration")
        folder.mkdir(exist_ok=True)

    def sockets(self) -> list[Path]:
        return list(self.folder.iterdir())

    def ask(self) -> Any:
        (socket,) = self.sockets()
        return call(socket, "pluginregistration.Registration/GetInfo", self.pb.InfoRequest(), self.pb.PluginInfo)

    def tell(self, taken: bool, error: str = "") -> None:
        (socket,) = self.sockets()
        call(socket, "pluginregistration.Registration/NotifyRegistrationStatus",
             self.pb.RegistrationStatus(plugin_registered=taken, error=error), self.pb.RegistrationStatusResponse)  # fmt: skip


class Kubelet:
    """Speaks CSI to a driver: `publish` and `unpublish` for pods."""

    def __init__(self, driver: Driver, scratch: Path) -> None:
        self.driver, self.pb = driver, messages(scratch)

    def call(self, method: str, request: Any) -> Any:
        service = "Node" if method.startswith("Node") else "Identity"
        return call(self.driver.endpoint, f"csi.v1.{service}/{method}", request, getattr(self.pb, f"{method}Response"))

    def refusal(self, method: str, request: Any) -> tuple[str, str]:
        """Expects an error; its code and message, as they stand in the event of a pod."""
        try:
            self.call(method, request)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        raise AssertionError(f"{method} was answered well")


class Pod:
    """A pod with one inline volume."""

    def __init__(self, kubelet: Kubelet, name: str = "git-clone", space: str = "default", volume: str = "gitconfig",
                 uid: str | None = None, account: str = "default", token: str = SERVICE_ACCOUNT_TOKEN,
                 **attributes: str) -> None:  # fmt: skip
        self.kubelet, self.name, self.space, self.account, self.token = kubelet, name, space, account, token
        self.uid = uid or f"{abs(hash((name, space))) % 10**8:08d}-aaaa-4bbb-8ccc-0123456789ab"
        self.id = f"csi-{self.uid.replace('-', '')}{volume}"
        self.above = kubelet.driver.kubelet / "pods" / self.uid / "volumes/kubernetes.io~csi" / volume
        self.target = self.above / "mount"
        self.attributes: dict[str, str] = {"connector.name": "git", "configuration.names": "gitconfig"}
        self.change(**attributes)

    def change(self, **attributes: str) -> Pod:
        """Names of attributes with `_` for the dots; an empty value takes one away."""
        for name, value in attributes.items():
            self.attributes[name.replace("_", ".")] = value
        self.attributes = {name: value for name, value in self.attributes.items() if value}
        return self

    def tokens(self, audience: str = "mintfs") -> str:
        """As kubelet writes them."""
        return json.dumps({audience: {"token": self.token, "expirationTimestamp": "2030-01-01T00:00:00Z"}})

    def request(self, **fields: Any) -> Any:
        """NodePublishVolume as kubelet writes it."""
        pb = self.kubelet.pb
        info = {
            "csi.storage.k8s.io/pod.name": self.name,
            "csi.storage.k8s.io/pod.namespace": self.space,
            "csi.storage.k8s.io/pod.uid": self.uid,
            "csi.storage.k8s.io/serviceAccount.name": self.account,
            "csi.storage.k8s.io/ephemeral": "true",
            TOKENS: self.tokens(),
        }
        whole = {
            "volume_id": self.id,
            "target_path": str(self.target),
            "volume_capability": pb.VolumeCapability(mount=pb.VolumeCapability.Mount()),
            "readonly": True,
            "volume_context": {**info, **self.attributes},
            "secrets": {"token": SERVICE_ACCOUNT_TOKEN},
        }
        return pb.NodePublishVolumeRequest(**{**whole, **fields})

    def publish(self, **fields: Any) -> Pod:
        self.above.mkdir(parents=True, exist_ok=True)
        self.kubelet.call("NodePublishVolume", self.request(**fields))
        return self

    def refusal(self, **fields: Any) -> tuple[str, str]:
        self.above.mkdir(parents=True, exist_ok=True)
        return self.kubelet.refusal("NodePublishVolume", self.request(**fields))

    def is_refused(self, words: str) -> bool:
        """Asks once. While it gets the volume still, as the gateway has not heard of a change, it gives it back."""
        try:
            self.publish()
        except grpc.RpcError as error:
            return words in error.details()
        self.unpublish()
        return False

    def unpublish(self) -> None:
        pb = self.kubelet.pb
        self.kubelet.call("NodeUnpublishVolume", pb.NodeUnpublishVolumeRequest(volume_id=self.id, target_path=str(self.target)))

    @property
    def gitconfig(self) -> Path:
        return self.target / ".gitconfig"

    def mount(self) -> list[str]:
        """The one line of the mount table."""
        (line,) = [fields for fields in mounts_below(self.above) if fields[4] == str(self.target)]
        return line

    def is_published(self) -> bool:
        return any(fields[4] == str(self.target) for fields in mounts_below(self.above))

    def environment(self, **more: str | Path) -> dict[str, str]:
        """Of a container that has the volume as its home; unlike the tests', git there has no other configuration."""
        return base_environment(HOME=self.target, **more)


@contextlib.contextmanager
def running(driver: Driver):  # type: ignore[no-untyped-def]
    """Stops it at the end, and says so when it does not end well."""
    try:
        yield driver
    finally:
        status = driver.stop()
        for line in reversed(mounts_below(driver.kubelet)):
            subprocess.run(["umount", "-l", line[4]], check=False)
        assert status == 0, f"mintfs-csi ended with {status}:\n{driver.log()}"


def is_root() -> bool:
    return os.getuid() == 0
