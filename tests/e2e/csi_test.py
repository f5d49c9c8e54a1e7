"""mintfs-csi between a kubelet and mintfsd: real mounts, in a kubelet's directory of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from support import podman
from support.cgroup import Group, unified
from support.csi import SERVICE_ACCOUNT_TOKEN, Driver, Kubelet, PluginWatcher, Pod, mounts_below, running
from support.git_server import GitServer
from support.mintfs import STRANGER, Daemon, as_user, base_environment, connector, token_in
from support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stubs")


@pytest.fixture
def start_driver(tmp_path: Path, stubs: Path) -> Iterator[Callable[..., Kubelet]]:
    with ExitStack() as started:

        def start(daemon: Daemon, *options: str | Path) -> Kubelet:
            driver = started.enter_context(running(Driver(tmp_path, daemon.control, *options)))
            return Kubelet(driver.start(), stubs)

        yield start


@pytest.fixture
def kubelet(mintfs: Daemon, start_driver: Callable[..., Kubelet]) -> Kubelet:
    """Of a node whose daemon has the connector default/git."""
    return start_driver(mintfs)


def _read(pod: Pod, uid: int = 0) -> str:
    done = subprocess.run([*as_user(uid), "cat", str(pod.gitconfig)], capture_output=True, text=True, timeout=DEADLINE)
    return done.stdout


def _clones(pod: Pod, server: GitServer, to: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", f"{server.url}/acme/app.git", str(to)], env=pod.environment(), check=True,
                   capture_output=True, timeout=DEADLINE)  # fmt: skip


# --- what a user sees ---------------------------------------------------------------------------------


def test_a_pod_clones_with_its_view_as_the_home(
    kubelet: Kubelet, mintfs: Daemon, server: GitServer, tmp_path: Path
) -> None:
    pod = Pod(kubelet).publish()
    _clones(pod, server, tmp_path / "clone")
    assert (tmp_path / "clone/hello.txt").read_text() == "hello\n"
    first, second = _read(pod), _read(pod)
    assert token_in(first) != token_in(second), "each cat shows another token"
    assert f"{mintfs.url}/namespaces/default/connectors/git/" in first
    assert "Authorization: Basic " in first
    pod.unpublish()
    assert not mounts_below(kubelet.driver.kubelet) and not pod.target.exists() and mintfs.leases() == []


def test_the_volume_is_the_home_of_a_container(kubelet: Kubelet, server: GitServer) -> None:
    if missing := podman.what_is_missing():
        pytest.skip(missing)
    pod = Pod(kubelet).publish()
    volume = ["--volume", f"{pod.target}:/root:ro"]
    root = podman.Container("--network", "host", *volume, environment=["HOME=/root"])
    other = podman.Container("--network", "host", *volume, user=1234, environment=["HOME=/root"])
    try:
        for container in (root, other):
            container.run("git", "clone", "--quiet", f"{server.url}/acme/app.git", "/tmp/app")
            assert "Authorization: Basic " in container.run("cat", "/root/.gitconfig").stdout
            assert container.run("sh", "-c", "echo x >/root/.gitconfig", check=False).returncode != 0
        pod.unpublish()
        assert root.run("cat", "/root/.gitconfig", check=False).returncode != 0, "the lease is closed"
    finally:
        root.remove()
        other.remove()


def test_any_user_of_the_pod_reads_and_nobody_else_finds_the_way(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet).publish()
    assert pod.gitconfig.stat().st_mode & 0o777 == 0o444 and pod.target.stat().st_mode & 0o777 == 0o555
    for uid in (0, 1000, 65534):
        assert "Authorization: Basic " in _read(pod, uid)
    # On the node itself, by the lease's id, also right after root has been there.
    view = mintfs.mount / pod.mount()[3].split("/")[1] / ".gitconfig"
    for _ in range(2):
        assert subprocess.run(["cat", str(view)], capture_output=True).returncode == 0
        done = subprocess.run([*as_user(STRANGER), "cat", str(view)], capture_output=True, text=True)
        assert done.returncode != 0 and "Permission denied" in done.stderr, done
    assert "Authorization: Basic " in _read(pod, 1000)
    pod.publish()
    pod.unpublish()
    assert mintfs.leases() == [], "it is found again though the kernel has forgotten its name"


def test_a_lease_can_be_bound_to_the_pods_control_group(mintfs: Daemon, start_driver: Callable[..., Kubelet]) -> None:
    root = unified()
    pod = Pod(start_driver(mintfs, "--pod-cgroups", root))
    code, message = pod.refusal()
    assert code == "UNAVAILABLE" and pod.uid in message and "control group" in message and mintfs.leases() == []
    group = Group(root / f"pod{pod.uid}", root)
    try:
        pod.publish()
        assert "Authorization" in group.run("cat", pod.gitconfig).stdout
        assert "Authorization" in group.child("container").run("cat", pod.gitconfig, uid=1000).stdout
        assert _read(pod) == "" and _read(pod, 1000) == "", "from outside of the pod"
    finally:
        group.remove()


def test_the_mount_allows_nothing_but_reading(kubelet: Kubelet, mintfs: Daemon) -> None:
    """Whatever became of the daemon's own mount, of which it is a copy."""
    subprocess.run(["mount", "-o", "remount,bind,rw,suid,dev,exec", str(mintfs.mount)], check=True)
    options = set(Pod(kubelet).publish().mount()[5].split(","))
    assert {"ro", "nosuid", "nodev", "noexec"} <= options, options


def test_the_view_has_the_files_of_the_configurations(kubelet: Kubelet) -> None:
    pod = Pod(kubelet, configuration_names="gitconfig, netrc").publish()
    assert {".gitconfig", ".netrc"} <= set(os.listdir(pod.target))
    assert "machine" in (pod.target / ".netrc").read_text()


def test_the_lease_says_whose_it_is(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet, repositories="acme/*", operations="fetch", token_expiration="10m").publish()
    (lease,) = mintfs.control_api("GET", "/v1/leases")[1]["leases"]
    assert lease["subject"] == "pod:default/git-clone" and lease["pod"] is True
    assert lease["repositories"] == ["acme/*"] and lease["operations"] == ["fetch"] and lease["token_ttl_seconds"] == 600
    labels = lease["labels"]
    assert labels["pod.namespace"] == "default" and labels["pod.name"] == "git-clone" and labels["pod.uid"] == pod.uid
    assert labels["pod.serviceaccount"] == "default" and labels["csi.volume"] == pod.id
    _read(pod)
    (minted,) = eventually("it is written down", lambda: mintfs.audit("mint"))
    assert minted["subject"] == "pod:default/git-clone" and minted["lease"] == lease["id"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"connector_namespace": "team-a"},
        {"connector_name": "", "connectors": "git,team-a/git"},
    ],
)
def test_connectors_of_another_namespace_are_the_administrators_to_share(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], start_driver: Callable[..., Kubelet],
    attributes: dict[str, str],
) -> None:  # fmt: skip
    mintfs = start_mintfs(connector("git", server.url, password), connector("team-a/git", server.url.replace("127.0.0.1", "localhost"), password))
    pod = Pod(start_driver(mintfs), **attributes)
    code, message = pod.refusal()
    assert code == "PERMISSION_DENIED" and "team-a/git" in message and "--shared-namespace team-a" in message
    assert Pod(pod.kubelet, space="team-a").publish().is_published(), "its own it may use"
    pod.kubelet.driver.stop()
    pod.kubelet.driver.options += ["--shared-namespace", "team-a"]
    pod.kubelet.driver.start()
    assert "connectors/git/" in _read(pod.publish())
    pod.kubelet.driver.stop()
    del pod.kubelet.driver.options[-2:]
    pod.kubelet.driver.start()
    assert "connectors/git/" in _read(pod.publish()), "what is published stays"


# --- THREATS, CSI ------------------------------------------------------------------------------------------


def test_publishing_twice_is_well_and_with_other_attributes_it_is_told(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet).publish()
    (lease,) = mintfs.leases()
    first = pod.mount()
    pod.publish()
    assert mintfs.leases() == [lease] and pod.mount() == first
    code, message = pod.change(operations="fetch").refusal()
    assert code == "ALREADY_EXISTS" and "default/git" in message
    assert pod.mount() == first and "Authorization" in _read(pod), "what is there stays"


def test_calls_for_one_target_follow_each_other(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet)
    pod.above.mkdir(parents=True)
    failures: list[Exception] = []

    def publish() -> None:
        try:
            kubelet.call("NodePublishVolume", pod.request())
        except grpc.RpcError as error:
            failures.append(error)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(mintfs.leases()) == 1 and len(mounts_below(pod.above)) == 1


def test_unpublishing_what_is_not_there_is_well(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet)
    pod.unpublish()  # nothing has ever been there
    pod.publish().unpublish()
    pod.unpublish()
    pod.target.mkdir(parents=True)
    pod.unpublish()  # never mounted, or unmounted by somebody else
    assert not pod.target.exists()
    pod.publish()
    subprocess.run(["umount", str(pod.target)], check=True)
    pod.unpublish()
    assert not pod.target.exists()


def test_a_directory_with_something_in_it_is_not_removed(kubelet: Kubelet) -> None:
    pod = Pod(kubelet)
    pod.target.mkdir(parents=True)
    (pod.target / "kept").write_text("")
    request = kubelet.pb.NodeUnpublishVolumeRequest(volume_id=pod.id, target_path=str(pod.target))
    code, message = kubelet.refusal("NodeUnpublishVolume", request)
    assert code == "INTERNAL" and str(pod.target) in message and (pod.target / "kept").exists()


def test_what_is_not_ours_is_not_unmounted(kubelet: Kubelet) -> None:
    pod = Pod(kubelet)
    pod.target.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "other", str(pod.target)], check=True)
    assert pod.refusal()[0] == "FAILED_PRECONDITION"
    request = kubelet.pb.NodeUnpublishVolumeRequest(volume_id=pod.id, target_path=str(pod.target))
    assert kubelet.refusal("NodeUnpublishVolume", request)[0] == "INTERNAL"
    assert os.path.ismount(pod.target)


def test_a_dead_mount_is_replaced_and_unpublished(
    mintfs: Daemon, server: GitServer, start_driver: Callable[..., Kubelet], tmp_path: Path
) -> None:
    """Without a keeper the mount dies with the daemon."""
    kubelet = start_driver(mintfs)
    pod, other = Pod(kubelet).publish(), Pod(kubelet, name="other").publish()
    mintfs.kill()
    with pytest.raises(OSError):
        os.stat(pod.gitconfig)
    mintfs.start()
    pod.publish()
    _clones(pod, server, tmp_path / "clone")
    assert len(mounts_below(pod.above)) == 1 and len(mintfs.leases()) == 2
    other.unpublish()
    assert not other.target.exists() and len(mintfs.leases()) == 1


def test_a_republish_never_fails_while_the_daemon_is_away(
    kept: Daemon, start_driver: Callable[..., Kubelet]
) -> None:
    kubelet = start_driver(kept)
    pod = Pod(kubelet).publish()
    kubelet.driver.stop()
    kubelet.driver.control = kept.root / "nobody.sock"
    kubelet.driver.start()
    pod.publish()
    assert pod.is_published() and "Authorization" in _read(pod)
    code, message = Pod(kubelet, name="new").refusal()
    assert code == "UNAVAILABLE" and "default/git" in message and "mintfsd" in message


def test_a_closed_lease_is_replaced_at_the_next_publish(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet).publish()
    (lease,) = mintfs.leases()
    mintfs.cli("lease", "close", lease)
    assert _read(pod) == ""
    pod.publish()
    assert "Authorization" in _read(pod)
    assert mintfs.leases() != [lease] and len(mintfs.leases()) == 1 and len(mounts_below(pod.above)) == 1


def test_a_republish_renews_the_lease(mintfs: Daemon, start_driver: Callable[..., Kubelet]) -> None:
    kubelet = start_driver(mintfs, "--lease-ttl", "1h")
    pod = Pod(kubelet).publish()
    expires = mintfs.control_api("GET", "/v1/leases")[1]["leases"][0]["expires"]
    pod.publish()
    assert mintfs.control_api("GET", "/v1/leases")[1]["leases"][0]["expires"] == expires, "most of it is left"
    kubelet.driver.stop()
    kubelet.driver.options[:] = ["--lease-ttl", "20h"]
    kubelet.driver.start()
    pod.publish()
    assert mintfs.control_api("GET", "/v1/leases")[1]["leases"][0]["expires"] > expires


def test_a_driver_that_was_killed_goes_on_where_it_was(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod, gone = Pod(kubelet).publish(), Pod(kubelet, name="gone").publish()
    leases = mintfs.leases()
    kubelet.driver.kill()
    assert "Authorization" in _read(pod), "it is not needed for reading"
    # What it was killed over: a lease that is open and mounted nowhere.
    subprocess.run(["umount", str(gone.target)], check=True)
    kubelet.driver.start()
    pod.publish()
    assert pod.change(operations="fetch").refusal()[0] == "ALREADY_EXISTS"
    eventually("the lease without a mount is closed", lambda: len(mintfs.leases()) == 1)
    assert mintfs.leases()[0] in leases
    pod.unpublish()
    gone.unpublish()
    assert mintfs.leases() == [] and not mounts_below(kubelet.driver.kubelet)


def test_leases_of_others_are_left_alone(kubelet: Kubelet, mintfs: Daemon) -> None:
    """A person's, and those of another driver or kubelet on the node; only an orphan of its own goes."""
    kubelet.driver.stop()
    ours, theirs = f"csi.kubelet={kubelet.driver.kubelet}", "csi.kubelet=/var/lib/other"
    name, other = "csi.driver=connectors-csi", "csi.driver=other-csi"
    others = [mintfs.open_lease(*[word for label in labels for word in ("--label", label)]).id
              for labels in ([], [name], [ours], [name, theirs], [other, ours])]  # fmt: skip
    mintfs.open_lease("--label", name, "--label", ours)
    kubelet.driver.start()
    eventually("the orphan is closed", lambda: len(mintfs.leases()) == len(others))
    assert mintfs.leases() == others


def test_a_pod_that_ends_while_the_daemon_is_away(mintfs: Daemon, start_driver: Callable[..., Kubelet]) -> None:
    kubelet = start_driver(mintfs)
    pod = Pod(kubelet).publish()
    mintfs.kill()
    pod.unpublish()
    assert not mounts_below(kubelet.driver.kubelet) and not pod.target.exists()
    mintfs.start()
    eventually("the lease is closed", lambda: mintfs.leases() == [])


def test_the_volume_outlives_the_daemon_and_its_upgrade(
    kept: Daemon, server: GitServer, start_driver: Callable[..., Kubelet], tmp_path: Path
) -> None:
    kubelet = start_driver(kept)
    pod = Pod(kubelet).publish()
    kept.wait_for_successor_of(kept.kill_served())
    _clones(pod, server, tmp_path / "killed")
    kept.cli("upgrade")
    _clones(pod, server, tmp_path / "upgraded")
    before = pod.mount()
    pod.publish()
    assert pod.mount() == before and len(kept.leases()) == 1
    pod.unpublish()
    assert kept.leases() == []


def test_no_token_of_a_service_account_is_anywhere(kubelet: Kubelet, mintfs: Daemon) -> None:
    pod = Pod(kubelet).publish()
    pod.publish()
    pod.change(connector_name="nothing", **{"unknown": "x"}).refusal()
    pod.refusal(readonly=False)
    pod.unpublish()
    assert kubelet.driver.process
    pid = kubelet.driver.process.pid
    seen = kubelet.driver.log() + mintfs.log() + Path(mintfs.state / "audit.log").read_text()
    seen += Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
    assert "published lease" in seen and SERVICE_ACCOUNT_TOKEN not in seen
    for file in (*mintfs.root.rglob("*.json"), *kubelet.driver.root.glob("*.log")):
        assert SERVICE_ACCOUNT_TOKEN not in file.read_text(errors="replace"), file


def test_grpc_prints_nothing_of_a_request(mintfs: Daemon, tmp_path: Path, stubs: Path) -> None:
    with running(Driver(tmp_path, mintfs.control)) as driver:
        driver.start(GRPC_TRACE="all", GRPC_VERBOSITY="DEBUG")
        Pod(Kubelet(driver, stubs)).publish().unpublish()
        assert SERVICE_ACCOUNT_TOKEN not in driver.log() and len(driver.log()) < 20_000


# --- bad input: the event says which and what to do, and nothing is left --------------------------------------


@pytest.mark.parametrize(
    "attributes, code, says",
    [
        ({"connector_name": "nothing"}, "NOT_FOUND", ["default/nothing", "connector list"]),
        ({"connector_name": "../git"}, "INVALID_ARGUMENT", ["'../git'"]),
        ({"connector_name": "team-a/git"}, "INVALID_ARGUMENT", ["'team-a/git'"]),
        ({"connector_name": "x" * 5000}, "INVALID_ARGUMENT", ["connector.name", "4096"]),
        ({"connector_name": ""}, "INVALID_ARGUMENT", ["connector.name", "connectors"]),
        ({"connectors": "git"}, "INVALID_ARGUMENT", ["one of them"]),
        ({"connector_namespace": "a/b"}, "INVALID_ARGUMENT", ["connector.namespace"]),
        ({"configuration_names": "gitconfig,npmrc-of-old"}, "INVALID_ARGUMENT", ["npmrc-of-old", "gitconfig"]),
        ({"configuration_names": "../x"}, "INVALID_ARGUMENT", ["'../x'"]),
        ({"configuration_params": "x=y"}, "INVALID_ARGUMENT", ["configuration.params"]),
        ({"token_expiration": "soon"}, "INVALID_ARGUMENT", ["token.expiration", "'soon'"]),
        ({"token_expiration": "31m"}, "INVALID_ARGUMENT", ["default/git", "token.ttl"]),
        ({"repositories": "a//b"}, "INVALID_ARGUMENT", ["'a//b'"]),
        ({"repositories": "acme/app,"}, "INVALID_ARGUMENT", ["repositories"]),
        ({"operations": "delete"}, "INVALID_ARGUMENT", ["operations"]),
        ({"repository": "acme/app"}, "INVALID_ARGUMENT", ["'repository'", "repositories"]),
        ({"csi.storage.k8s.io/ephemeral": "false"}, "INVALID_ARGUMENT", ["inline"]),
        ({"csi.storage.k8s.io/pod.uid": "another"}, "INVALID_ARGUMENT", ["another"]),
        ({"csi.storage.k8s.io/pod.name": "../x"}, "INVALID_ARGUMENT", ["podInfoOnMount"]),
    ],
)
def test_what_a_pod_asks_wrongly_is_told(
    kubelet: Kubelet, mintfs: Daemon, attributes: dict[str, str], code: str, says: list[str]
) -> None:
    pod = Pod(kubelet)
    context = {name if "/" in name else name.replace("_", "."): value for name, value in attributes.items()}
    whole = {**pod.request().volume_context, **context}
    got, message = pod.refusal(volume_context={name: value for name, value in whole.items() if value})
    assert got == code, message
    for word in says:
        assert word in message, message
    assert len(message) < 600 and not mounts_below(kubelet.driver.kubelet)
    assert not pod.target.exists() and mintfs.leases() == []


def test_what_kubelet_asks_wrongly_is_told(kubelet: Kubelet, mintfs: Daemon, tmp_path: Path) -> None:
    pod, pb = Pod(kubelet), kubelet.pb
    outside = tmp_path / "outside"
    cases = {
        "readOnly: true": {"readonly": False},
        "volume_id": {"volume_id": ""},
        "128": {"volume_id": "x" * 129},
        "block": {"volume_capability": pb.VolumeCapability(block=pb.VolumeCapability.Block())},
        "access type": {"volume_capability": pb.VolumeCapability()},
        "volume_capability is missing": {"volume_capability": None},
        "mount options": {"volume_capability": pb.VolumeCapability(mount=pb.VolumeCapability.Mount(mount_flags=["suid"]))},
        "target_path is missing": {"target_path": ""},
        "is not below": {"target_path": str(outside)},
        "'..'": {"target_path": f"{pod.above}/../../../../../../outside"},
        "component": {"target_path": f"{pod.above}//mount"},
        "own directory": {"target_path": str(kubelet.driver.kubelet / "pods" / pod.uid)},
        "printable": {"target_path": f"{pod.target}\0"},
        "not of the pod": {"target_path": str(kubelet.driver.kubelet / "pods/other/volumes/x/mount")},
    }
    for says, fields in cases.items():
        code, message = pod.refusal(**fields)
        assert code == "INVALID_ARGUMENT" and says in message, (says, message)
    for says, path in (("is not below", str(outside)), ("'..'", f"{pod.above}/../x"), ("is missing", "")):
        request = pb.NodeUnpublishVolumeRequest(volume_id=pod.id, target_path=path)
        code, message = kubelet.refusal("NodeUnpublishVolume", request)
        assert code == "INVALID_ARGUMENT" and says in message
    assert not outside.exists() and not mounts_below(kubelet.driver.kubelet) and mintfs.leases() == []


def test_a_symbolic_link_leads_no_mount_to_elsewhere(kubelet: Kubelet, mintfs: Daemon, tmp_path: Path) -> None:
    pod, outside = Pod(kubelet), tmp_path / "outside"
    outside.mkdir()
    pod.above.parent.mkdir(parents=True)
    pod.above.symlink_to(outside)
    code, message = kubelet.refusal("NodePublishVolume", pod.request())
    assert code == "INTERNAL" and "symbolic links" in message
    assert list(outside.iterdir()) == [] and mintfs.leases() == []


def test_a_request_has_a_bound(kubelet: Kubelet) -> None:
    pod = Pod(kubelet)
    context = {**pod.request().volume_context, **{f"csi.storage.k8s.io/{n}": "x" for n in range(100)}}
    assert "64 attributes" in pod.refusal(volume_context=context)[1]
    assert pod.refusal(secrets={"token": "x" * 300_000})[0] == "RESOURCE_EXHAUSTED"
    pod.publish()


def test_no_more_calls_run_at_once_than_there_is_room_for(tmp_path: Path, stubs: Path) -> None:
    """The daemon takes calls and never answers."""
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "silent.sock"))
    silent.listen(200)
    with running(Driver(tmp_path, tmp_path / "silent.sock")) as driver:
        kubelet = Kubelet(driver.start(), stubs)
        pods = [Pod(kubelet, name=f"pod-{number}") for number in range(100)]
        codes: list[str] = []
        threads = [threading.Thread(target=lambda pod=pod: codes.append(pod.refusal()[0])) for pod in pods]
        for thread in threads:
            thread.start()
        eventually("some are told to come again", lambda: "RESOURCE_EXHAUSTED" in codes)
        assert driver.watched() == (0, ""), "a busy driver is not started anew"
        silent.close()
        for thread in threads:
            thread.join()
        assert set(codes) == {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}, codes


# --- the program -----------------------------------------------------------------------------------------------


def test_it_says_who_it_is(mintfs: Daemon, start_driver: Callable[..., Kubelet]) -> None:
    kubelet = start_driver(mintfs, "--driver-name", "other-csi")
    pb = kubelet.pb
    info = kubelet.call("GetPluginInfo", pb.GetPluginInfoRequest())
    assert info.name == "other-csi" and info.vendor_version
    assert kubelet.call("Probe", pb.ProbeRequest()).ready.value
    assert kubelet.call("NodeGetInfo", pb.NodeGetInfoRequest()).node_id == "node-1"
    assert kubelet.call("NodeGetCapabilities", pb.NodeGetCapabilitiesRequest()).ByteSize() == 0


def test_who_watches_learns_whether_the_driver_answers(mintfs: Daemon, tmp_path: Path, stubs: Path) -> None:
    with running(Driver(tmp_path, mintfs.control)) as driver:
        status, why = driver.watched()
        assert status == 1 and f"the driver at {driver.endpoint} does not answer" in why
        driver.start()
        assert driver.watched() == (0, "")
        assert driver.process
        driver.process.send_signal(signal.SIGSTOP)
        try:
            status, why = driver.watched()
            assert status == 1 and "does not answer" in why
        finally:
            driver.process.send_signal(signal.SIGCONT)
        assert driver.watched() == (0, "")
        driver.kill()
        assert driver.watched()[0] == 1, "its socket is still there"


def test_the_endpoint_is_taken_over_and_only_ones_own_removed(mintfs: Daemon, tmp_path: Path, stubs: Path) -> None:
    first, second = Driver(tmp_path, mintfs.control), Driver(tmp_path, mintfs.control)
    second.log_file = tmp_path / "second.log"
    with running(first), running(second):
        first.start().kill()
        assert first.endpoint.is_socket(), "a stale one"
        first.start()
        pod = Pod(Kubelet(first, stubs)).publish()
        second.start()  # an upgrade: both run for a while
        assert first.stop() == 0 and second.endpoint.is_socket()
        pod.unpublish()
        assert second.endpoint.stat().st_mode & 0o077 == 0
    assert not second.endpoint.exists()


def test_kubelet_is_told_of_the_driver_as_long_as_it_serves(mintfs: Daemon, tmp_path: Path, stubs: Path) -> None:
    watcher = PluginWatcher(tmp_path / "plugins_registry", stubs)
    driver = Driver(tmp_path, mintfs.control, "--registration-dir", watcher.folder)
    newer = Driver(tmp_path, mintfs.control, "--registration-dir", watcher.folder)
    newer.log_file = tmp_path / "newer.log"
    with running(driver), running(newer):
        driver.start()
        said = watcher.ask()
        assert (said.type, said.name, list(said.supported_versions)) == ("CSIPlugin", "connectors-csi", ["1.0.0"])
        assert said.endpoint == str(driver.endpoint)
        assert [each.name for each in watcher.sockets()] == ["connectors-csi-reg.sock"]
        assert watcher.sockets()[0].stat().st_mode & 0o077 == 0
        watcher.tell(True)
        eventually("it is in the log", lambda: "kubelet has taken the driver connectors-csi" in driver.log())
        driver.kill()  # its socket stays, and the next one's is put in its place
        driver.start()
        newer.start()
        assert driver.stop() == 0 and watcher.ask().name == "connectors-csi", "the newer one's is not removed"
        Pod(Kubelet(newer, stubs)).publish().unpublish()
    assert watcher.sockets() == []


def test_a_driver_that_kubelet_refuses_ends_to_be_started_anew(mintfs: Daemon, tmp_path: Path, stubs: Path) -> None:
    watcher = PluginWatcher(tmp_path / "plugins_registry", stubs)
    driver = Driver(tmp_path, mintfs.control, "--registration-dir", watcher.folder).start()
    try:
        watcher.tell(False, "the API server was away")
        assert driver.process and driver.process.wait(DEADLINE) == 1
        assert "kubelet does not take the driver: the API server was away" in driver.log()
        assert watcher.sockets() == [] and not driver.endpoint.exists()
    finally:
        driver.stop()


@pytest.mark.parametrize(
    "options, status, says",
    [
        (["--help"], 0, "--driver-name"),
        (["--version"], 0, "mintfs-csi "),
        (["--log-level", "loud"], 2, "--log-level"),
        (["--driver-name", "a/b"], 1, "--driver-name"),
        (["--node-id", "a b"], 1, "--node-id"),
        (["--lease-ttl", "long"], 1, "--lease-ttl"),
        (["--endpoint", "tcp://0.0.0.0:1"], 1, "--endpoint"),
        (["--endpoint", "unix:///nowhere/csi.sock"], 1, "cannot listen"),
        (["--endpoint", "unix:///" + "x" * 200], 1, "too long"),
        (["--kubelet-dir", "/nowhere"], 1, "--kubelet-dir"),
        (["--pod-cgroups", "/nowhere"], 1, "--pod-cgroups"),
        (["--registration-dir", "/nowhere"], 1, "--registration-dir"),
        (["--registration-dir", "."], 1, "--registration-dir"),
    ],
)
def test_the_command_line(tmp_path: Path, options: list[str], status: int, says: str) -> None:
    driver = Driver(tmp_path, tmp_path / "control.sock")
    command = driver.command()
    for option in options[::2]:
        if option in command:
            at = command.index(option)
            del command[at : at + 2]
    done = subprocess.run([*command, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                          env=base_environment())  # fmt: skip
    assert done.returncode == status and says in done.stdout + done.stderr, done


def test_a_file_in_the_endpoints_place_is_left_alone(tmp_path: Path) -> None:
    driver = Driver(tmp_path, tmp_path / "control.sock")
    driver.endpoint.write_text("kept")
    done = subprocess.run(driver.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                          env=base_environment())  # fmt: skip
    assert done.returncode == 1 and "not a socket" in done.stderr and driver.endpoint.read_text() == "kept"
