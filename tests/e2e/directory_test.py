"""The daemon's directories: made so that users reach their views, refused where others could change what is in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from support.job import Job
from support.mintfs import STRANGER, Daemon, connector

ADDRESS = "https://git.example"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.root
def test_a_view_below_directories_that_the_daemon_made_can_be_reached(
    tmp_path: Path, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job]
) -> None:
    runtime = tmp_path / "made/for/run"
    mintfs = start_mintfs(connector("git", ADDRESS, password), runtime=runtime)
    assert [_mode(path) for path in (runtime, runtime.parent, runtime.parent.parent)] == [0o711, 0o755, 0o755]
    lease = mintfs.open_lease("--uid", str(STRANGER))
    assert "Authorization" in new_job(lease, uid=STRANGER).gitconfig()


def test_the_state_is_made_private_with_all_that_leads_to_it(
    tmp_path: Path, password: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    state = tmp_path / "kept/here/state"
    start_mintfs(connector("git", ADDRESS, password), daemon={"state_dir": state})
    assert [_mode(path) for path in (state, state.parent, state.parent.parent)] == [0o700, 0o700, 0o700]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o775])
@pytest.mark.parametrize("which", ["runtime", "state"])
def test_a_directory_that_others_may_write_is_refused(
    password: Path, start_mintfs: Callable[..., Daemon], which: str, mode: int
) -> None:
    mintfs = start_mintfs(connector("git", ADDRESS, password), ready=False)
    directory = mintfs.runtime if which == "runtime" else mintfs.state
    directory.mkdir()
    directory.chmod(mode)
    said = mintfs.refuses_to_start()
    assert f"chmod go-w {directory}" in said and len(said.splitlines()) <= 2
    assert os.listdir(directory) == []
    directory.chmod(0o755)
    assert mintfs.start().open_lease().gitconfig.exists()
