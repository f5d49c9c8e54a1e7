"""Tells kubelet of a CSI driver as soon as it listens, as the sidecar csi-node-driver-registrar does:
`csi_registrar.py DRIVER`.

kubelet's plugin registration API (k8s.io/kubelet, pkg/apis/pluginregistration/v1), of which the two messages are
written by hand: they are this small.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc


def text_field(number: int, text: str) -> bytes:
    data = text.encode()
    return bytes([number << 3 | 2, len(data)]) + data


def is_served(listener: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(listener)) == 0


def main(driver: str) -> None:
    listener = Path(f"/var/lib/kubelet/plugins/{driver}/csi.sock")
    while not is_served(listener):
        time.sleep(0.2)
    plugin = (text_field(1, "CSIPlugin") + text_field(2, driver) + text_field(3, str(listener))
              + text_field(4, "1.0.0"))  # fmt: skip

    def told(status: bytes, _: grpc.ServicerContext) -> bytes:
        print("kubelet says", status, flush=True)
        return b""

    calls = {"GetInfo": lambda *_: plugin, "NotifyRegistrationStatus": told}
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "pluginregistration.Registration",
        {name: grpc.unary_unary_rpc_method_handler(call) for name, call in calls.items()})])  # fmt: skip
    server.add_insecure_port(f"unix:///var/lib/kubelet/plugins_registry/{driver}-reg.sock")
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
