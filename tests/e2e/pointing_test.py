"""The ways in which git is pointed at a view, and what of the user's own stays in force in each; with every git there is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.mintfs import REPOSITORY, STRANGER, Daemon, Lease, as_user, base_environment, connector
from support.waiting import DEADLINE

#: The machine's, and a newer one where tools/newer-git has built it.
_GITS = [folder for folder in (Path("/usr/bin"), REPOSITORY / "build-git/bin") if (folder / "git").exists()]
#: Those that leave ~/.gitconfig where it is.
_BESIDE_THE_USERS = ["env", "system", "xdg"]


@pytest.fixture(params=_GITS, ids=lambda folder: "newer" if "build-git" in folder.parts else "machine")
def git(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment in which this git is the one that is found."""
    path = base_environment()["PATH"]
    return {"PATH": f"{request.param}:{path}", "GIT_CONFIG_NOSYSTEM": "0", "GIT_TERMINAL_PROMPT": "0"}


@pytest.fixture
def mirror(start_server: Callable[..., GitServer]) -> GitServer:
    """A public server that the user's own line leads to."""
    server = start_server("mirror", users={})
    server.create("tools/make", {"made.txt": "mirrored\n"})
    return server


def _own_configuration(home: Path, mirror: GitServer, file: str = ".gitconfig") -> Path:
    path = home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[user]\n\tname = Own Name\n\temail = own@example.org\n"
                    f'[url "{mirror.url}/"]\n\tinsteadOf = https://mine.example/\n')  # fmt: skip
    return path


def _both(server: GitServer) -> str:
    """What needs the lease, and what needs the user's own line and name."""
    return f"""
        git clone --quiet {server.url}/acme/app.git app
        git clone --quiet https://mine.example/tools/make.git make
        cat app/hello.txt make/made.txt
        git -C app commit --quiet --allow-empty -m mine
        git -C app log -1 --format='%an <%ae>'"""


#: sh -e does not mind a command with "!" before it that succeeds.
_FAILS = 'fails() { if "$@" >/dev/null 2>&1; then echo "this succeeded: $*"; exit 9; fi; }\n'

_BOTH = "hello\nmirrored\nOwn Name <own@example.org>\n"


# --- variables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", _BESIDE_THE_USERS)
def test_the_users_own_lines_and_name_stay_in_force(
    mintfs: Daemon, server: GitServer, mirror: GitServer, git: dict[str, str], via: str
) -> None:
    own = _own_configuration(mintfs.root, mirror)
    script = _both(server) + "\ngit config --global own.key written"
    done = mintfs.cli("run", "-c", "git", "--via", via, "--", "sh", "-ec", script, env=git)
    assert done.stdout == _BOTH and done.stderr == ""
    assert "key = written" in own.read_text(), "~/.gitconfig is still the one that is written to"


@pytest.mark.parametrize("via", [*_BESIDE_THE_USERS, "global"])
def test_what_a_repository_says_of_itself_still_wins(
    mintfs: Daemon, server: GitServer, mirror: GitServer, git: dict[str, str], via: str
) -> None:
    _own_configuration(mintfs.root, mirror)
    script = f"""
        git clone --quiet {server.url}/acme/app.git app
        git -C app config user.email job@example.org
        git -C app config user.email"""
    done = mintfs.cli("run", "-c", "git", "--via", via, "--", "sh", "-ec", script, env=git)
    assert done.stdout == "job@example.org\n"


@pytest.mark.parametrize("via", [*_BESIDE_THE_USERS, "global"])
def test_settings_that_the_environment_already_has_stay(
    mintfs: Daemon, server: GitServer, git: dict[str, str], via: str
) -> None:
    already = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "mine.key", "GIT_CONFIG_VALUE_0": "kept"}
    script = f"git config mine.key && git ls-remote --quiet {server.url}/acme/app.git HEAD"
    done = mintfs.cli("run", "-c", "git", "--via", via, "--", "sh", "-ec", script, env={**git, **already})
    assert done.stdout.startswith("kept\n") and "HEAD" in done.stdout


def test_with_via_global_nothing_of_the_users_counts_or_is_written(
    mintfs: Daemon, server: GitServer, mirror: GitServer, git: dict[str, str]
) -> None:
    own = _own_configuration(mintfs.root, mirror)
    before = own.read_text()
    script = f"""{_FAILS}
        git ls-remote --quiet {server.url}/acme/app.git HEAD
        fails git config user.name
        fails git config --global own.key written
        fails git ls-remote https://mine.example/tools/make.git"""
    assert "HEAD" in mintfs.cli("run", "-c", "git", "--via", "global", "--", "sh", "-ec", script, env=git).stdout
    assert own.read_text() == before


def test_a_file_of_two_includes_keeps_the_users_with_git_config_global(
    mintfs: Daemon, server: GitServer, mirror: GitServer, git: dict[str, str], tmp_path: Path
) -> None:
    own = _own_configuration(mintfs.root, mirror)
    lease = mintfs.open_lease()
    both = tmp_path / "job.gitconfig"
    both.write_text(f"[include]\n\tpath = ~/.gitconfig\n\tpath = {lease.gitconfig}\n")
    script = _both(server) + "\ngit config --global own.key written"
    done = _run(mintfs, script, {**git, "GIT_CONFIG_GLOBAL": str(both)})
    assert done.stdout == _BOTH, done.stderr
    assert "key = written" in both.read_text() and "written" not in own.read_text()


@pytest.mark.parametrize("via,variable", [("system", "GIT_CONFIG_SYSTEM"), ("xdg", "XDG_CONFIG_HOME")])
def test_what_a_way_hides_is_hidden(
    mintfs: Daemon, git: dict[str, str], via: str, variable: str, tmp_path: Path
) -> None:
    """As docs/ci.md says it: the machine's own file, or what else is under XDG_CONFIG_HOME."""
    hidden = tmp_path / "git/config"
    hidden.parent.mkdir()
    hidden.write_text("[its]\n\tkey = seen\n")
    inherited = {**git, variable: str(hidden if via == "system" else tmp_path)}
    for way, seen in (("env", "seen\n"), (via, "")):
        ask = ["sh", "-c", "git config its.key; true"]
        assert mintfs.cli("run", "-c", "git", "--via", way, "--", *ask, env=inherited).stdout == seen


def test_via_system_refuses_a_variable_that_hides_the_view(mintfs: Daemon) -> None:
    for command in (["run", "-c", "git", "--via", "system", "--", "true"],
                    ["lease", "open", "-c", "git", "--via", "system", "--format", "env"]):  # fmt: skip
        done = mintfs.cli(*command, env={"GIT_CONFIG_NOSYSTEM": "1"}, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert "GIT_CONFIG_NOSYSTEM" in done.stderr and "--via env" in done.stderr
    assert mintfs.leases() == []


@pytest.mark.parametrize("via", [*_BESIDE_THE_USERS, "global"])
def test_a_later_step_is_told_the_same_again(
    mintfs: Daemon, server: GitServer, git: dict[str, str], via: str
) -> None:
    opened = mintfs.cli("lease", "open", "-c", "git", "--via", via, "--format", "env", env=git).stdout
    (lease,) = mintfs.leases()
    assert mintfs.cli("lease", "show", lease, "--via", via, "--format", "env", env=git).stdout == opened
    ask = f"{opened}\ngit ls-remote --quiet {server.url}/acme/app.git HEAD"
    assert "HEAD" in _run(mintfs, ask, git).stdout
    mintfs.cli("lease", "close", lease)
    assert _run(mintfs, ask, git).returncode != 0
    assert mintfs.cli("lease", "show", lease, "--format", "env", check=False).stdout == ""


# --- bind mounts -------------------------------------------------------------------------------------


def _run(mintfs: Daemon, script: str, git: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=4 * DEADLINE,
                          cwd=mintfs.root, env={**mintfs.environment(), **git})  # fmt: skip


class _Inside:
    """A private mount namespace in which something of the view lies over something of a home."""

    def __init__(self, mintfs: Daemon, git: dict[str, str], what: Path, over: Path, home: Path) -> None:
        self._mintfs, self._git, self._home = mintfs, git, home
        self._mount = f"mount --make-rprivate / && mount --bind '{what}' '{over}'\n"

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["unshare", "--mount", "sh", "-ec", self._mount + script], capture_output=True, text=True,
                              timeout=4 * DEADLINE, cwd=self._mintfs.root,
                              env={**self._mintfs.environment(), **self._git, "HOME": str(self._home)})  # fmt: skip


@pytest.fixture
def home(mintfs: Daemon) -> Path:
    folder = mintfs.root / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def lease(mintfs: Daemon) -> Lease:
    return mintfs.open_lease()


@pytest.mark.root
def test_bound_over_the_second_file_the_first_stays_the_users(
    mintfs: Daemon, server: GitServer, mirror: GitServer, git: dict[str, str], home: Path, lease: Lease
) -> None:
    own = _own_configuration(home, mirror)
    (home / ".config/git").mkdir(parents=True)
    inside = _Inside(mintfs, git, lease.path / "git", home / ".config/git", home)
    done = inside.run(_both(server) + "\ngit config --global own.key written")
    assert done.stdout == _BOTH, done.stderr
    assert "key = written" in own.read_text()
    mintfs.close_lease(lease)
    assert inside.run(f"git ls-remote {server.url}/acme/app.git").returncode != 0


@pytest.mark.root
def test_a_user_binds_its_view_in_a_user_namespace(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], git: dict[str, str], tmp_path: Path
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password, allow={"users": [str(STRANGER)]}))
    lease, home = mintfs.open_lease(uid=STRANGER), tmp_path / "home"
    (home / ".config/git").mkdir(parents=True)
    bind = 'mount --bind "$1/git" ~/.config/git; git ls-remote --quiet "$2" HEAD'
    done = subprocess.run(
        [*as_user(STRANGER), "unshare", "--map-root-user", "--mount", "sh", "-ec", bind, "sh", lease.path,
         f"{server.url}/acme/app.git"],
        capture_output=True, text=True, timeout=DEADLINE, cwd="/", env={**base_environment(HOME=home), **git},
    )  # fmt: skip
    assert "HEAD" in done.stdout, done.stderr


@pytest.mark.root
def test_bound_over_the_first_file_the_second_stays_the_users(
    mintfs: Daemon, server: GitServer, mirror: GitServer, git: dict[str, str], home: Path, lease: Lease
) -> None:
    _own_configuration(home, mirror, ".config/git/config")
    (home / ".gitconfig").write_text("[hidden]\n\tkey = seen\n")
    inside = _Inside(mintfs, git, lease.gitconfig, home / ".gitconfig", home)
    done = inside.run(_FAILS + _both(server) + "\nfails git config hidden.key\nfails git config --global own.key written")
    assert done.stdout == _BOTH, done.stderr
    assert (home / ".gitconfig").read_text() == "[hidden]\n\tkey = seen\n", "the file below is as it was"


@pytest.mark.root
def test_bound_over_a_whole_home_each_open_mints(
    mintfs: Daemon, server: GitServer, git: dict[str, str], home: Path, lease: Lease
) -> None:
    inside = _Inside(mintfs, git, lease.path, home, home)
    done = inside.run(f"""{_FAILS}
        fails touch "$HOME/file"
        git ls-remote --quiet {server.url}/acme/app.git HEAD
        grep -h Authorization "$HOME/.gitconfig" "$HOME/.gitconfig" | sort -u | wc -l""")
    assert "HEAD" in done.stdout and done.stdout.endswith("\n2\n"), done.stderr
