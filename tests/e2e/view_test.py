"""The view of a lease as the kernel shows it: fresh at each open, exact, read-only, private."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import STRANGER, Daemon, Lease, as_user, base_environment, connector, token_in


@pytest.fixture
def lease(recorded: Daemon) -> Lease:
    return recorded.open_lease()


# --- content -----------------------------------------------------------------------------------------


def test_the_generated_gitconfig_has_the_promised_form(lease: Lease, recorded: Daemon) -> None:
    address = next(line for line in recorded.config.read_text().splitlines() if line.startswith("address"))
    server = address.split('"')[1]
    own = f"{recorded.url}{recorded.path()}"
    text = lease.gitconfig.read_text()
    assert text.startswith(f"# mintfs lease {lease.id}: generated at each open, do not copy.\n")
    assert text.split("Authorization: Basic ")[0].endswith(f'[http "{own}"]\n\textraHeader =\n\textraHeader = ')
    assert f'[credential "{recorded.url}"]\n\thelper =\n' in text
    assert "\tfollowRedirects = false\n\tproxy =\n" in text
    assert f'[url "{own}acme/"]\n\tinsteadOf = https://' in text and f"\tinsteadOf = {server}/acme/\n" in text


def test_both_names_lead_to_the_same_kind_of_file(lease: Lease) -> None:
    first, second = lease.gitconfig.read_text(), (lease.path / "git/config").read_text()
    assert token_in(first) != token_in(second)
    assert first.replace(token_in(first), "").splitlines()[:2] == second.replace(token_in(second), "").splitlines()[:2]
    assert sorted(p.name for p in lease.path.iterdir()) == [".gitconfig", "git"]
    assert [p.name for p in (lease.path / "git").iterdir()] == ["config"]


def test_each_open_mints_a_token_of_its_own(lease: Lease, recorded: Daemon) -> None:
    tokens = {token_in(lease.gitconfig.read_text()) for _ in range(20)}
    assert len(tokens) == 20


def test_overlapping_opens_each_keep_their_own_snapshot(lease: Lease) -> None:
    with lease.gitconfig.open() as first, lease.gitconfig.open() as second:
        a, b = first.read(), second.read()
        assert token_in(a) != token_in(b)
        for handle, text in ((first, a), (second, b)):
            handle.seek(0)
            assert handle.read() == text


@pytest.mark.parametrize("size", [1, 7, 512, 4096, 1 << 20])
def test_a_handle_is_one_snapshot_whatever_the_read_size(lease: Lease, size: int) -> None:
    fd = os.open(lease.gitconfig, os.O_RDONLY)
    try:
        whole = os.pread(fd, 1 << 20, 0)
        pieces = [os.pread(fd, size, offset) for offset in range(0, len(whole), size)]
        assert b"".join(pieces) == whole
        assert os.pread(fd, 10, len(whole)) == b"" and os.pread(fd, 10, len(whole) + 5000) == b""
    finally:
        os.close(fd)


def test_the_size_is_exact_and_constant(lease: Lease) -> None:
    for path in (lease.gitconfig, lease.path / "git/config"):
        for _ in range(5):
            assert path.stat().st_size == len(path.read_bytes())
            with path.open("rb") as handle:
                assert os.fstat(handle.fileno()).st_size == len(handle.read())


def test_a_stat_without_an_open_mints_nothing(lease: Lease, recorded: Daemon) -> None:
    for _ in range(5):
        lease.gitconfig.stat()
    list(lease.path.iterdir())
    lease.gitconfig.read_bytes()
    recorded.stop()
    assert len(recorded.audit("mint")) == 1


def test_git_itself_reads_the_file_as_it_is_meant(lease: Lease, caller: Job, recorded: Daemon) -> None:
    key = f"http.{recorded.url}{recorded.path()}.extraHeader"
    values = caller.git("config", "--file", lease.gitconfig, "--get-all", key).stdout.splitlines()
    assert values[0] == "" and values[1].startswith("Authorization: Basic ") and len(values) == 2


#: What git's configuration could take for something else, as far as a pattern and an address may hold it.
OWNERS = ("a=b", "a'b", "a$b", "a{}b", "a]b", "[a]", "a`b", "a|b", "a~b^c", "a!b&c", "a<b>c", "a,b:c@d+e")
PATHS = ("a=b", "a'b", "$a", "(a)", "a!b&c", "a,b:c@d+e")


@pytest.mark.parametrize("who", ["connector", "lease"])
def test_no_name_adds_a_key(password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], who: str) -> None:
    """Names of repositories are written by administrators, and by whoever opens a lease."""
    patterns = [f"{owner}/*" for owner in OWNERS]
    rights = {"repositories": patterns} if who == "connector" else {}
    mintfs = start_mintfs(*(connector(f"git{n}", f"https://git{n}.example/{path}", password, **rights)
                            for n, path in enumerate(PATHS)))  # fmt: skip
    names = [f"git{n}" for n in range(len(PATHS))]
    narrowed = [word for pattern in patterns for word in ("--repository", pattern)] if who == "lease" else []
    job = new_job(lease := mintfs.open_lease(*narrowed, connectors=names))
    listed = job.git("config", "--file", lease.gitconfig, "--null", "--list").stdout.split("\0")
    expected = {(f"credential.{mintfs.url}.helper", "")}
    for name, path in zip(names, PATHS):
        own, host = f"{mintfs.url}{mintfs.path(name=name)}", f"{name}.example"
        expected |= {(f"http.{own}.extraheader", ""), (f"http.{own}.followredirects", "false"), (f"http.{own}.proxy", "")}
        for owner in OWNERS:
            expected |= {(f"url.{own}{owner}/.insteadof", f"{spelling}{owner}/")
                         for spelling in (f"https://{host}/{path}/", f"http://{host}/{path}/",
                                          f"git@{host}:", f"ssh://git@{host}/")}  # fmt: skip
    found = {(key, value) for key, _, value in (entry.partition("\n") for entry in listed if entry)}
    assert {pair for pair in found if not pair[1].startswith("Authorization: ")} == expected


@pytest.mark.parametrize("owner", ['a"b', "a\\b", "a#b", "a;b", "a\nb", "a b", "a%b", "a\u00e9"])
def test_a_name_that_would_need_quotes_is_refused(
    password: Path, start_mintfs: Callable[..., Daemon], owner: str
) -> None:
    mintfs = start_mintfs(connector("git", "https://git.example", password))
    status, problem = mintfs.control_api("POST", "/v1/leases", {"connectors": ["git"], "repositories": [f"{owner}/*"]})
    assert status == 400 and "is a repository pattern; one given is not" in problem["detail"] and mintfs.leases() == []
    for wrong in (connector("git", "https://git.example", password, repositories=[f"{owner}/*"]),
                  connector("git", f"https://git.example/{owner}", password)):  # fmt: skip
        mintfs.configure(wrong)
        assert mintfs.cli("config", "check", mintfs.config, check=False).returncode == 1, wrong


# --- who ---------------------------------------------------------------------------------------------


def test_modes_and_owners_are_those_of_the_lease(lease: Lease, recorded: Daemon) -> None:
    expected = {recorded.mount: 0o711, lease.path: 0o500, lease.path / "git": 0o500, lease.gitconfig: 0o400,
                lease.path / "git/config": 0o400}  # fmt: skip
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in expected} == expected
    assert lease.gitconfig.stat().st_uid == os.getuid()


@pytest.mark.root
def test_only_the_user_of_the_lease_reads_its_view(recorded: Daemon, new_job: Callable[..., Job]) -> None:
    theirs = recorded.open_lease("--uid", str(STRANGER))
    assert "Authorization" in new_job(theirs, uid=STRANGER).gitconfig()
    assert theirs.gitconfig.stat().st_uid == STRANGER
    with pytest.raises(PermissionError):  # we are root
        theirs.gitconfig.read_text()


@pytest.mark.root
def test_a_stranger_reads_and_lists_nothing(lease: Lease, recorded: Daemon) -> None:
    for tool, path in (("cat", lease.gitconfig), ("ls", lease.path), ("ls", recorded.mount), ("cat", lease.path / "git/config")):
        done = subprocess.run([*as_user(STRANGER), tool, path], capture_output=True, text=True)
        assert done.returncode != 0 and "Permission denied" in done.stderr and done.stdout == ""


@pytest.mark.root
def test_a_handle_passed_to_another_user_gives_nothing_new(lease: Lease) -> None:
    with lease.gitconfig.open("rb") as handle:
        done = subprocess.run([*as_user(STRANGER), "cat"], stdin=handle, capture_output=True)
    assert b"Authorization" not in done.stdout


@pytest.mark.root
def test_a_user_lists_the_own_view_and_not_the_mount(recorded: Daemon) -> None:
    theirs = recorded.open_lease("--uid", str(STRANGER))
    own = subprocess.run([*as_user(STRANGER), "ls", "-A", theirs.path], capture_output=True, text=True)
    assert own.stdout.split() == [".gitconfig", "git"]
    root = subprocess.run([*as_user(STRANGER), "ls", recorded.mount], capture_output=True, text=True)
    assert root.returncode != 0


def test_a_lease_that_never_was_is_not_there(recorded: Daemon, lease: Lease) -> None:
    for name in ("a" * 26, "x", "a" * 255, lease.id.upper(), f"{lease.id} "):
        with pytest.raises(FileNotFoundError):
            (recorded.mount / name / ".gitconfig").read_text()


def test_a_closed_view_is_gone_at_once(recorded: Daemon, lease: Lease) -> None:
    with lease.gitconfig.open() as handle:
        recorded.close_lease(lease)
        assert not lease.path.exists()
        try:
            handle.read()
        except OSError as error:  # a snapshot taken before may be read or refused, both are honest
            assert error.errno in (errno.EIO, errno.ENOENT, errno.ESTALE, errno.EACCES)


# --- no write ----------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Path], object]] = {
    "write": lambda v: (v / ".gitconfig").open("r+"),
    "append": lambda v: (v / ".gitconfig").open("a"),
    "truncate on open": lambda v: os.open(v / ".gitconfig", os.O_RDONLY | os.O_TRUNC),
    "truncate": lambda v: os.truncate(v / ".gitconfig", 0),
    "create": lambda v: (v / "new").open("w"),
    "create exclusively": lambda v: os.open(v / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    "create in the mount root": lambda v: (v.parent / "new").open("w"),
    "make a folder": lambda v: (v / "new").mkdir(),
    "make a node": lambda v: os.mkfifo(v / "new"),
    "symlink": lambda v: (v / "new").symlink_to("x"),
    "link": lambda v: os.link(v / ".gitconfig", v / "new"),
    "rename": lambda v: (v / ".gitconfig").rename(v / "new"),
    "rename away": lambda v: (v / ".gitconfig").rename(v / "git/new"),
    "rename over": lambda v: (v / ".gitconfig").rename(v / "git/config"),
    "rename a view": lambda v: v.rename(v.parent / "new"),
    "unlink": lambda v: (v / ".gitconfig").unlink(),
    "remove a folder": lambda v: (v / "git").rmdir(),
    "chmod": lambda v: (v / ".gitconfig").chmod(0o666),
    "chown": lambda v: os.chown(v / ".gitconfig", 1, 1),
    "set times": lambda v: os.utime(v / ".gitconfig"),
    "set xattr": lambda v: os.setxattr(v / ".gitconfig", "user.x", b"x"),
    "remove xattr": lambda v: os.removexattr(v / ".gitconfig", "user.x"),
    "unnamed file": lambda v: os.open(v, os.O_TMPFILE | os.O_RDWR),
    "execute": lambda v: subprocess.run([v / ".gitconfig"]),
}


@pytest.mark.parametrize("write", WRITES)
def test_nothing_can_be_changed(lease: Lease, write: str) -> None:
    with pytest.raises(OSError) as refused:
        WRITES[write](lease.path)
    # The mount is read-only; nothing in it has an execute bit.
    assert refused.value.errno == (errno.EACCES if write == "execute" else errno.EROFS)
    assert "Authorization" in lease.gitconfig.read_text()


def test_git_config_cannot_write_into_the_view(lease: Lease, caller: Job) -> None:
    assert caller.git("config", "--file", lease.gitconfig, "user.name", "x", check=False).returncode != 0


# --- the page cache never lends a token --------------------------------------------------------------


def _sendfile(source: int, target: Path) -> None:
    with target.open("wb") as out:
        offset = 0
        while sent := os.sendfile(out.fileno(), source, offset, 1 << 16):
            offset += sent


def _splice(source: int, target: Path) -> None:
    reader, writer = os.pipe()
    try:
        os.splice(source, writer, 1 << 15, offset_src=0)
        os.set_blocking(reader, False)
        target.write_bytes(os.read(reader, 1 << 16))
    finally:
        os.close(reader)
        os.close(writer)


def _map(source: int, target: Path) -> None:
    # Touching a page that the filesystem does not give is SIGBUS, hence another process.
    child = ("import mmap, os, sys; m = mmap.mmap(0, os.fstat(0).st_size, flags=mmap.MAP_PRIVATE,"
             " prot=mmap.PROT_READ); sys.stdout.buffer.write(m[:])")  # fmt: skip
    done = subprocess.run(["/usr/bin/python3", "-c", child], stdin=source, capture_output=True)
    target.write_bytes(done.stdout)


def _copy_file_range(source: int, target: Path) -> None:
    with target.open("wb") as out:
        os.copy_file_range(source, out.fileno(), 1 << 16, 0)


CACHED = {"sendfile": _sendfile, "splice": _splice, "mmap": _map, "copy_file_range": _copy_file_range}


@pytest.mark.parametrize("way", CACHED)
def test_a_read_through_the_page_cache_never_gives_an_earlier_token(lease: Lease, tmp_path: Path, way: str) -> None:
    seen = set()
    for _ in range(4):
        plain = lease.gitconfig.read_text()
        with lease.gitconfig.open("rb") as source:
            target = tmp_path / "copied"
            target.unlink(missing_ok=True)
            try:
                CACHED[way](source.fileno(), target)
            except OSError as error:
                assert error.errno in (errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV, errno.EXDEV)
            got = target.read_text() if target.exists() else ""
            source.seek(0)
            own = source.read().decode()
        # What came is nothing or this handle's own token; neither anybody's before nor anybody's after.
        assert "Authorization" not in got or got == own
        assert token_in(own) not in seen and token_in(plain) not in seen
        seen |= {token_in(own), token_in(plain)}


COPIES: dict[str, list[str]] = {
    "cat": ["sh", "-c", 'cat "$1" >"$2"', "sh", "{source}", "{target}"],
    "cp": ["cp", "{source}", "{target}"],
    "cp with all attributes": ["cp", "-a", "{source}", "{target}"],
    "cp with reflink": ["cp", "--reflink=auto", "{source}", "{target}"],
    "install": ["install", "-m", "600", "{source}", "{target}"],
    "dd": ["dd", "if={source}", "of={target}", "bs=100"],
    "tar": ["sh", "-c", 'tar -C "$(dirname "$1")" -cf - .gitconfig | tar -xOf - >"$2"', "sh", "{source}", "{target}"],
    "rsync": ["rsync", "{source}", "{target}"],
    "curl": ["curl", "-s", "-o", "{target}", "file://{source}"],
    "mv of a copy": ["sh", "-c", 'cp "$1" "$2.x" && mv "$2.x" "$2"', "sh", "{source}", "{target}"],
    "shutil.copy": ["/usr/bin/python3", "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", "{source}", "{target}"],
    "shutil.copyfile": ["/usr/bin/python3", "-c", "import shutil, sys; shutil.copyfile(*sys.argv[1:])", "{source}", "{target}"],
    "node readFile": ["/usr/bin/node", "-e", "const f = require('fs'); f.writeFileSync(process.argv[2], f.readFileSync(process.argv[1]))",
                      "{source}", "{target}"],
    "node copyFile": ["/usr/bin/node", "-e", "require('fs').copyFileSync(process.argv[1], process.argv[2])", "{source}", "{target}"],
    "Java": ["/usr/bin/java", "{programs}/Copy.java", "{source}", "{target}"],
    "Go ReadFile": ["{programs}/copy", "ReadFile", "{source}", "{target}"],
    "Go io.Copy": ["{programs}/copy", "Copy", "{source}", "{target}"],
    "libgit2": ["/usr/bin/python3", "-c", "import pygit2, sys\nvalues = pygit2.Config(sys.argv[1])\nopen(sys.argv[2], 'w').writelines("
                "f'{{each.value}}\\n' for each in values if each.name.endswith('.extraheader'))", "{source}", "{target}"],
    "git config": ["sh", "-c", 'git config --file "$1" --list | sed -n "s/.*[Aa]uthorization/Authorization/p" >"$2"', "sh",
                   "{source}", "{target}"],
}  # fmt: skip


#: What is no one-liner; a Java source is a program as it is, and Go is built once.
_JAVA = """
import java.nio.file.*;

class Copy {
    public static void main(String[] names) throws Exception {
        Files.writeString(Path.of(names[1]), Files.readString(Path.of(names[0])));
    }
}
"""
_GO = """
package main

import (
	"io"
	"os"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	if os.Args[1] == "ReadFile" {
		content, err := os.ReadFile(os.Args[2])
		must(err)
		must(os.WriteFile(os.Args[3], content, 0o600))
		return
	}
	from, err := os.Open(os.Args[2])
	must(err)
	to, err := os.Create(os.Args[3])
	must(err)
	_, err = io.Copy(to, from)
	must(err)
}
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    (folder / "Copy.java").write_text(_JAVA)
    (folder / "copy.go").write_text(_GO)
    build = ["/usr/bin/go", "build", "-o", folder / "copy", folder / "copy.go"]
    subprocess.run(build, check=True, env=base_environment(HOME=folder, GOFLAGS="-mod=mod", GO111MODULE="off"))
    return folder


@pytest.mark.parametrize("tool", COPIES)
def test_the_usual_tools_copy_the_file_and_each_gets_a_fresh_token(
    lease: Lease, caller: Job, tmp_path: Path, programs: Path, tool: str
) -> None:
    tokens = set()
    for number in range(3):
        target = tmp_path / f"copy{number}"
        caller.run(*(word.format(source=lease.gitconfig, target=target, programs=programs) for word in COPIES[tool]))
        tokens.add(token_in(target.read_text()))
    assert len(tokens) == 3


def test_a_page_cache_read_leaves_the_next_plain_read_whole(lease: Lease, tmp_path: Path) -> None:
    with lease.gitconfig.open("rb") as handle:
        with contextlib.suppress(OSError):
            _sendfile(handle.fileno(), tmp_path / "out")
        assert len(handle.read()) == lease.gitconfig.stat().st_size
    assert len(lease.gitconfig.read_bytes()) == lease.gitconfig.stat().st_size


def test_shared_writable_maps_are_refused(lease: Lease) -> None:
    fd = os.open(lease.gitconfig, os.O_RDONLY)
    try:
        with pytest.raises(OSError):
            mmap.mmap(fd, 100, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(fd)


# --- elsewhere ---------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("what", ["the view", "one file"])
def test_a_read_only_bind_mount_in_another_namespace_stays_fresh(lease: Lease, tmp_path: Path, what: str) -> None:
    """As a container runtime mounts it."""
    target = tmp_path / "bound"
    source = lease.path if what == "the view" else lease.gitconfig
    target.mkdir() if what == "the view" else target.touch()
    file = target / ".gitconfig" if what == "the view" else target
    script = 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && cat "$3" && echo ---- && cat "$3"'
    done = subprocess.run(["unshare", "-m", "sh", "-ec", script, "sh", source, target, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("----\n")
    assert token_in(first) != token_in(second)


def test_the_view_serves_as_xdg_config_home(mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]) -> None:
    job = new_job()
    job.env["XDG_CONFIG_HOME"] = str(mintfs.open_lease().path)
    job.clone(f"{server.url}/acme/app.git")


def test_the_view_serves_as_home(mintfs: Daemon, server: GitServer, new_job: Callable[..., Job]) -> None:
    job = new_job()
    job.env["HOME"] = str(mintfs.open_lease().path)
    job.clone(f"{server.url}/acme/app.git")


def test_a_header_that_the_user_sets_for_all_hosts_does_no_harm(job: Job, server: GitServer) -> None:
    job.git("config", "--global", "http.extraHeader", "Authorization: Basic eDp5")
    job.git("config", "--global", "credential.helper", "!echo username=x; echo password=y; :")
    job.clone(f"{server.url}/acme/app.git")
    assert {a.authorization for a in server.accesses()} != {"Basic eDp5"}


def test_a_slow_reader_delays_nobody(lease: Lease) -> None:
    fds = [os.open(lease.gitconfig, os.O_RDONLY) for _ in range(200)]
    try:
        assert os.read(fds[0], 1)
        assert "Authorization" in lease.gitconfig.read_text()
        assert len({os.pread(fd, 1 << 16, 0) for fd in fds}) == len(fds)
    finally:
        for fd in fds:
            os.close(fd)
