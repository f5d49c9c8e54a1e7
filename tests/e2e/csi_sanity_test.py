"""csi-sanity, the published conformance test of CSI drivers, on the identity and node services."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from support.csi import Driver, running
from support.mintfs import REPOSITORY
from support.waiting import DEADLINE

pytestmark = pytest.mark.root


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[str]:
    """csi-sanity asks some controller what it can before each test; this one can create volumes, it says, and no more."""
    answers = {
        "Controller/ControllerGetCapabilities": b"\x0a\x04\x0a\x02\x08\x01",
        "Identity/GetPluginInfo": b"\x0a\x0cother-driver\x12\x011",
        "Identity/GetPluginCapabilities": b"",
        "Identity/Probe": b"",
    }

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            answer = answers.get(details.method.removeprefix("/csi.v1."))
            return None if answer is None else grpc.unary_unary_rpc_method_handler(lambda request, context: answer)

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Handler()])
    address = f"unix:{tmp_path}/controller.sock"
    server.add_insecure_port(address)
    server.start()
    yield address
    server.stop(None).wait()


def _excused() -> list[str]:
    lines = (REPOSITORY / "tests/conformance/csi-sanity.txt").read_text().splitlines()
    return [line.partition(": ")[0] for line in lines if not line.startswith("#")]


def test_identity_and_node_services_pass(tmp_path: Path, controller: str) -> None:
    built = subprocess.run([REPOSITORY / "tools/csi-sanity"], capture_output=True, text=True, timeout=10 * DEADLINE)
    assert built.returncode == 0, built.stderr
    report, excused = tmp_path / "report.xml", _excused()
    with running(Driver(tmp_path, tmp_path / "nobody.sock")) as driver:
        driver.start()
        pod = driver.kubelet / "pods/sanity"
        pod.mkdir()
        done = subprocess.run(
            [built.stdout.strip(), f"--csi.endpoint=unix:{driver.endpoint}", f"--csi.controllerendpoint={controller}",
             f"--csi.mountdir={pod}/mount", f"--csi.stagingdir={pod}/staging", f"--csi.junitfile={report}", "--ginkgo.no-color",
             "--ginkgo.focus=Identity Service|Node Service", f"--ginkgo.skip=Node Service.*{re.escape(excused[0])}"],
            capture_output=True, text=True, timeout=4 * DEADLINE,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    ran, skipped = [], []
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = re.sub(r"^\[It\] ", "", case.get("name", ""))
        if not re.match("Identity Service|Node Service", name):
            continue
        (skipped if case.find("skipped") is not None else ran).append(name)
    assert len(ran) >= 10, ran
    for name in skipped:
        assert any(each in name for each in excused), f"skipped without a reason: {name}"
    for each in excused:
        assert any(each in name for name in skipped), f"it is not skipped any more: {each}"
