"""What `meson install` leaves is where the documents and the systemd unit say that it is."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from support.mintfs import BUILD, REPOSITORY


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds what was installed, as / would."""
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", folder], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def prefix() -> Path:
    options = subprocess.run(["meson", "introspect", "--buildoptions", BUILD], check=True, capture_output=True).stdout
    return Path(next(option["value"] for option in json.loads(options) if option["name"] == "prefix"))


def _inside(root: Path, path: Path | str) -> Path:
    return root / str(path).lstrip("/")


def test_the_unit_starts_the_programs_that_were_installed(root: Path, prefix: Path) -> None:
    unit = _inside(root, prefix / "lib/systemd/system/mintfs.service").read_text()
    programs = re.findall(r"^Exec(?:Start|Reload)=(/\S+)", unit, re.MULTILINE)
    assert [Path(program).name for program in programs] == ["mintfsd", "mintfs"]
    for program in programs:
        assert Path(program).is_relative_to(prefix)
        assert _inside(root, program).stat().st_mode & 0o111


def test_the_hooks_are_where_the_guide_names_them(root: Path, prefix: Path) -> None:
    hooks = set(re.findall(r"/usr/share/mintfs/ci/([\w./-]*\w)", (REPOSITORY / "docs/ci.md").read_text()))
    assert len(hooks) == 8
    for hook in hooks:
        installed, source = _inside(root, prefix / "share/mintfs/ci" / hook), REPOSITORY / "deploy/ci" / hook
        assert installed.read_bytes() == source.read_bytes()
        assert installed.stat().st_mode & 0o100 == source.stat().st_mode & 0o100, "it can be started as here"


def test_every_manual_page_is_installed(root: Path, prefix: Path) -> None:
    pages = {page.name for page in (REPOSITORY / "docs/man").iterdir()}
    assert {page.name for page in _inside(root, prefix / "share/man").glob("man?/*")} == pages
