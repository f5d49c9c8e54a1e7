"""Jobs in real containers: the view is bind-mounted, and nothing of it works for another container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import podman
from support.git_server import GitServer
from support.mintfs import Daemon, Lease, connector, token_in
from support.podman import Container, Network

pytestmark = pytest.mark.root

USER = 1234  # somebody in the container who is not root
SUBORDINATE = 231_000  # the first of the users that a user namespace maps


@pytest.fixture(scope="module", autouse=True)
def containers() -> None:
    if missing := podman.what_is_missing():
        pytest.skip(missing)


@pytest.fixture
def start() -> Iterator[Callable[..., Container]]:
    """Starts a container on this machine's own network, unless told otherwise."""
    with ExitStack() as stack:

        def start(*options: str, network: str = "host", user: int | None = None) -> Container:
            container = Container("--network", network, *options, user=user, environment=["HOME=/job"])
            stack.callback(container.remove)
            return container

        yield start


def _clones(container: Container, server: GitServer, check: bool = True) -> str:
    """Clones within the container; returns what git said."""
    url = f"{server.url}/acme/app.git"
    return container.run("sh", "-c", f"rm -rf /tmp/app && git clone --quiet {url} /tmp/app", check=check).stderr


def _view(lease: Lease, at: str = "/job") -> list[str]:
    return ["--volume", f"{lease.path}:{at}:ro"]


def test_a_view_that_is_the_home(mintfs: Daemon, server: GitServer, start: Callable[..., Container]) -> None:
    container = start(*_view(mintfs.open_lease()))
    _clones(container, server)
    first, second = (container.run("cat", "/job/.gitconfig").stdout for _ in range(2))
    assert token_in(first) != token_in(second)
    assert container.run("sh", "-c", "echo x >/job/.gitconfig", check=False).returncode != 0
    assert server.head("acme/app") == container.run("git", "-C", "/tmp/app", "rev-parse", "HEAD").stdout.strip()


def test_a_view_in_the_same_place_as_outside(
    mintfs: Daemon, server: GitServer, start: Callable[..., Container]
) -> None:
    """So that every path which the lease names is right inside, too."""
    lease = mintfs.open_lease()
    container = start(*_view(lease, str(lease.path)), "--env", f"GIT_CONFIG_GLOBAL={lease.gitconfig}")
    _clones(container, server)


def test_a_single_file_of_a_view(mintfs: Daemon, server: GitServer, start: Callable[..., Container]) -> None:
    """Each open of the bound file mints, as in the folder."""
    lease = mintfs.open_lease()
    container = start("--tmpfs", "/job", "--volume", f"{lease.gitconfig}:/job/.gitconfig:ro")
    _clones(container, server)
    first, second = (container.run("cat", "/job/.gitconfig").stdout for _ in range(2))
    assert token_in(first) != token_in(second)
    container.run("touch", "/job/written")  # the home itself is the container's


def test_a_user_who_is_not_root(mintfs: Daemon, server: GitServer, start: Callable[..., Container]) -> None:
    container = start(*_view(mintfs.open_lease("--uid", str(USER))), user=USER)
    _clones(container, server)
    as_root = start(*_view(mintfs.open_lease("--uid", str(USER))))
    assert as_root.run("cat", "/job/.gitconfig", check=False).returncode != 0, "root is not that user"


def test_a_user_namespace(mintfs: Daemon, server: GitServer, start: Callable[..., Container]) -> None:
    """As rootless Podman has it: the container's root is an ordinary user outside, and the lease is that user's."""
    mapped = ["--uidmap", f"0:{SUBORDINATE}:5000", "--gidmap", f"0:{SUBORDINATE}:5000"]
    container = start(*mapped, *_view(mintfs.open_lease("--uid", str(SUBORDINATE))))
    assert container.run("id", "-u").stdout.strip() == "0"
    _clones(container, server)
    others = start(*mapped, *_view(mintfs.open_lease()))
    assert others.run("cat", "/job/.gitconfig", check=False).returncode != 0, "this lease is of the real root"


def test_everything_is_dead_after_the_end(mintfs: Daemon, server: GitServer, start: Callable[..., Container]) -> None:
    leases = [mintfs.open_lease() for _ in range(2)]
    containers = [start(*_view(lease)) for lease in leases]
    kept = [container.run("cat", "/job/.gitconfig").stdout for container in containers]
    for container in containers:
        _clones(container, server)
        container.run("sh", "-c", "cat /job/.gitconfig >/tmp/kept")
    for lease in leases:
        mintfs.close_lease(lease)
    for container in containers:
        assert container.run("cat", "/job/.gitconfig", check=False).returncode != 0
        said = container.run("env", "GIT_CONFIG_GLOBAL=/tmp/kept", "git", "-C", "/tmp/app", "fetch", check=False).stderr
        assert "lease-closed" in said or "403" in said, said
    assert token_in(kept[0]) != token_in(kept[1])


def test_a_view_outlives_the_daemon_in_a_container(
    kept: Daemon, server: GitServer, start: Callable[..., Container]
) -> None:
    container = start(*_view(kept.open_lease()))
    kept.wait_for_successor_of(kept.kill_served())
    _clones(container, server)


# --- networks of their own ----------------------------------------------------------------------------


@pytest.fixture
def networks() -> Iterator[tuple[Network, Network]]:
    with podman.network(1) as first, podman.network(2) as second:
        yield first, second


def test_a_token_is_no_good_in_another_container(
    networks: tuple[Network, Network], server: GitServer, password: Path, start_mintfs: Callable[..., Daemon],
    start: Callable[..., Container],
) -> None:  # fmt: skip
    """The proxy is reached at this machine's end of each container's wire; a lease is bound to one container."""
    here, there = networks
    mintfs = start_mintfs(connector("git", server.url, password), ready=False)
    urls = [f"http://{network.host}:{mintfs.port}" for network in networks]
    mintfs.configure(connector("git", server.url, password), proxy={"listen": urls, "url": urls[0]})
    mintfs.start()
    lease = mintfs.open_lease("--origin", here.address)
    first = start(*_view(lease), network=f"ns:{here.path}")
    _clones(first, server)

    # Another container that was given the very same files: as by a job that sent its gitconfig there.
    stolen = first.run("cat", "/job/.gitconfig").stdout.replace(urls[0], urls[1])
    second = start(network=f"ns:{there.path}")
    second.run("sh", "-c", f"cat >/tmp/stolen <<'END'\n{stolen}\nEND")
    url = f"{server.url}/acme/app.git"
    said = second.run("env", "GIT_CONFIG_GLOBAL=/tmp/stolen", "git", "ls-remote", url, check=False)
    assert said.returncode != 0 and ("token-origin" in said.stderr or "403" in said.stderr), said.stderr
    assert [line["reason"] for line in mintfs.wait_for_audit("refuse", 1)] == ["token-origin"]
    assert second.run("ls", mintfs.mount, check=False).returncode != 0, "nothing of any view is there"
    _clones(first, server)
