#!/usr/bin/python3
"""Who may include whom, read from the #include lines of src/ and tools/; and that the keeper stays small.

Run as a program it prints each violation and ends with 1; under pytest it also shows that each rule
catches a planted one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

#: Which other folders of src/ a folder may name. The folders that are not here are tools of their own.
FOLDERS = {
    "src/broker": set(),
    "src/fs": {"broker"},
    "src/proxy": {"broker"},
    "src/csi": {"broker"},
    "src/kube": {"broker"},
    "tools": {"broker"},
}
#: What the programs that speak the control API share with the daemon: errors, secrets (and how their files
#: are read), configuration (and the rights and patterns it is made of), how a helper of the machine is run, where a
#: job may be told that its view is.
SHARED = {"broker/error.h", "broker/secret.h", "broker/state_file.h", "broker/config.h", "broker/policy.h",
          "broker/encoding.h", "broker/exec_vector.h", "broker/secret_json.h", "broker/system_helper.h", "broker/job_place.h"}
CLIENTS = ("src/csi/", "tools/")
#: Programs that measure or test the insides may see them.
INSIDERS = ("tools/bench/",)
#: Who outlives mintfsd greets the kernel in its place, as it would.
KEEPER, GREETING = "tools/keeper/", "fs/handshake.h"
CREDENTIALS = "proxy/credentials/"
#: Who must not fail is read in five minutes: fewer lines than this, comments aside.
KEEPER_LINES = 300
#: The daemon as a whole, which sees all folders.
WHOLE = ("src/main.cc", "src/daemon.h", "src/daemon.cc", "src/daemon_succession.cc", "src/gateway.h", "src/gateway.cc",
         "src/cluster_node.h", "src/cluster_node.cc")
#: Who speaks gRPC.
GRPC = "src/csi/"
_SOURCES = ("*.h", "*.cc")
_SIBLINGS = {"broker", "fs", "proxy", "csi", "kube"}


def violations(root: Path) -> Iterator[str]:
    """One sentence for each include that goes the wrong way."""
    for top in ("src", "tools"):
        for pattern in _SOURCES:
            for file in sorted((root / top).rglob(pattern)):
                name = file.relative_to(root).as_posix()
                for bracket, header in _INCLUDE.findall(file.read_text(encoding="utf-8")):
                    if wrong := _judge(name, header, bracket == "<"):
                        yield f"{name} includes {header}: {wrong}"
    if (lines := sum(_lines_of_code(file) for file in (root / KEEPER).rglob("*"))) >= KEEPER_LINES:
        yield f"{KEEPER} includes {lines} lines of code: fewer than {KEEPER_LINES} are promised"


def _lines_of_code(file: Path) -> int:
    lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
    return sum(bool(line) and not line.startswith("//") for line in lines)


def _judge(name: str, header: str, system: bool) -> str | None:
    if "fuse" in header and system and header != "linux/fuse.h":
        mount = name.startswith(("src/fs/mount.", "src/fs/mount_operations."))
        return None if mount else "only src/fs/mount.* and src/fs/mount_operations.* speak libfuse"
    if header.startswith(("grpc", "google/protobuf")) or header.endswith(".pb.h"):
        return None if name.startswith(GRPC) else "only src/csi speaks gRPC"
    if system or name in WHOLE or name.startswith(INSIDERS):
        return None
    if ".." in header.split("/"):
        return "paths are written from src/"
    if name.startswith(KEEPER) and header == GREETING:
        return None
    target = header.split("/")[0]
    if target not in _SIBLINGS:
        return None
    folder = next((known for known in FOLDERS if name.startswith(f"{known}/")), None)
    if folder is None:
        return "only src/main.cc, src/daemon.* and src/gateway.* see all folders"
    if f"src/{target}" != folder and target not in FOLDERS[folder]:
        return f"{folder} may not know {target}"
    if name.startswith(CLIENTS) and target == "broker" and header not in SHARED:
        return "a client of the control API shares only errors, secrets and configuration"
    if header.startswith(CREDENTIALS) and folder != "src/proxy":
        return "real credentials are the proxy's alone"
    return None


def test_every_include_goes_the_right_way() -> None:
    assert list(violations(REPOSITORY)) == []


@pytest.mark.parametrize(
    "name, line",
    [
        ("src/broker/token.cc", '#include "proxy/request.h"'),
        ("src/broker/token.h", '#include "fs/render.h"'),
        ("src/fs/tree.cc", '#include "proxy/request.h"'),
        ("src/fs/tree.cc", "#include <fuse_lowlevel.h>"),
        ("tools/client/http.cc", "#include <grpcpp/grpcpp.h>"),
        ("src/kube/client.cc", '#include "csi.pb.h"'),
        ("src/fs/render.h", "#include <fuse3/fuse.h>"),
        ("src/proxy/relay.cc", '#include "fs/tree.h"'),
        ("src/proxy/relay.cc", "# include \"csi/node.h\""),
        ("src/proxy/relay.cc", '#include "../fs/tree.h"'),
        ("src/csi/node.cc", '#include "broker/broker.h"'),
        ("src/csi/node.cc", '#include "kube/client.h"'),
        ("src/kube/client.cc", '#include "proxy/relay.h"'),
        ("src/other.cc", '#include "broker/token.h"'),
        ("tools/mintfs/run.cc", '#include "broker/token.h"'),
        ("tools/mintfs/run.cc", '#include "fs/handshake.h"'),
        ("tools/keeper/keeper.cc", '#include "fs/mount.h"'),
        ("tools/mintfs/run.cc", '#include "proxy/credentials/basic.h"'),
        ("src/fs/tree.cc", '#include "proxy/credentials/basic.h"'),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, name: str, line: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(f'#include "broker/error.h"\n{line}\n' if "other" not in name else f"{line}\n")
    (found,) = violations(tmp_path)
    assert found.startswith(f"{name} includes ")


def test_a_keeper_that_has_grown_is_found(tmp_path: Path) -> None:
    folder = tmp_path / KEEPER
    folder.mkdir(parents=True)
    (folder / "keeper.cc").write_text("// why\nint a;\n\n" * (KEEPER_LINES - 1))
    assert list(violations(tmp_path)) == []
    (folder / "more.h").write_text("int b;\n")
    assert len(list(violations(tmp_path))) == 1


@pytest.mark.parametrize(
    "name, line",
    [
        ("src/main.cc", '#include "proxy/server.h"'),
        ("src/csi/node.h", '#include "csi.grpc.pb.h"'),
        ("src/csi/node.h", '#include "client/control_client.h"'),
        ("src/fs/mount.cc", "#include <fuse_lowlevel.h>"),
        ("src/proxy/relay.cc", '#include "proxy/credentials/basic.h"'),
        ("src/proxy/relay.cc", '#include "broker/broker.h"'),
        ("tools/mintfs/run.cc", '#include "broker/config.h"'),
        ("tools/mintfs/run.cc", '#include "mintfs/client.h"'),
        ("tools/keeper/keeper.cc", '#include "fs/handshake.h"'),
        ("src/fs/handshake.cc", "#include <linux/fuse.h>"),
    ],
)
def test_an_include_in_the_right_direction_is_accepted(tmp_path: Path, name: str, line: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n")
    assert list(violations(tmp_path)) == []


if __name__ == "__main__":
    found = list(violations(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY))
    print("\n".join(found) or "every include goes the right way")
    sys.exit(bool(found))
