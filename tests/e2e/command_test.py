"""The command line: what it prints, how it ends, and that `run` always closes what it opened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.git_server import GitServer
from support.job import Job
from support.mintfs import MINTFS, STRANGER, Daemon, base_environment, connector, token_in
from support.waiting import DEADLINE, eventually


@pytest.fixture
def idle(password: Path, start_mintfs: Callable[..., Daemon]) -> Daemon:
    """A daemon whose upstream nobody asks."""
    return start_mintfs(connector("git", "https://git.example", password),
                        connector("team/tools", "https://tools.example", password, repositories=["a/*"]))  # fmt: skip


# --- run ---------------------------------------------------------------------------------------------


def test_run_gives_git_to_the_command(mintfs: Daemon, server: GitServer) -> None:
    mintfs.cli("run", "-c", "git", "--", "git", "clone", "--quiet", f"{server.url}/acme/app.git", mintfs.root / "app")
    assert (mintfs.root / "app/hello.txt").exists()
    assert mintfs.leases() == []


@pytest.mark.parametrize("via", ["env", "global", "xdg"])
def test_run_points_git_at_the_view_in_each_way(mintfs: Daemon, server: GitServer, via: str) -> None:
    ask = ["git", "ls-remote", f"{server.url}/acme/app.git", "HEAD"]
    assert "HEAD" in mintfs.cli("run", "-c", "git", "--via", via, "--", *ask).stdout


def test_run_keeps_the_users_own_configuration_readable_and_writable(mintfs: Daemon, server: GitServer) -> None:
    script = f"""
        git config --global user.name 'Own Name'
        git clone --quiet {server.url}/acme/app.git app
        git config user.name"""
    assert mintfs.cli("run", "-c", "git", "--", "sh", "-ec", script).stdout == "Own Name\n"
    assert "Own Name" in (mintfs.root / ".gitconfig").read_text()


def test_run_adds_to_git_settings_that_the_environment_already_has(mintfs: Daemon, server: GitServer) -> None:
    already = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "mine.key", "GIT_CONFIG_VALUE_0": "kept"}
    script = f"git config mine.key && git ls-remote {server.url}/acme/app.git HEAD"
    done = mintfs.cli("run", "-c", "git", "--", "sh", "-ec", script, env=already)
    assert done.stdout.startswith("kept\n") and "HEAD" in done.stdout


@pytest.mark.parametrize("status", [0, 1, 2, 42, 255])
def test_run_passes_the_exit_status_on(idle: Daemon, status: int) -> None:
    done = idle.cli("run", "-c", "git", "--", "sh", "-c", f"exit {status}", check=False)
    assert done.returncode == status and done.stderr == ""
    assert idle.leases() == []


def test_run_of_a_command_that_a_signal_ends_says_so_as_a_shell_does(idle: Daemon) -> None:
    done = idle.cli("run", "-c", "git", "--", "sh", "-c", "kill -KILL $$", check=False)
    assert done.returncode in (128 + signal.SIGKILL, -signal.SIGKILL)
    assert idle.leases() == []


def test_run_of_a_command_that_is_not_there_is_said(idle: Daemon) -> None:
    done = idle.cli("run", "-c", "git", "--", "no-such-command", check=False)
    assert done.returncode in (1, 127) and "no-such-command" in done.stderr
    assert idle.leases() == []


def _running(daemon: Daemon, script: str) -> tuple[subprocess.Popen[str], str]:
    """A `mintfs run` that has started its command; the command's first line."""
    # A shell cannot trap what was ignored when it started, as nohup and CI runners leave it.
    command = ["env", "--default-signal=HUP,INT,TERM", MINTFS, "run", "-c", "git", "--", "sh", "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
                               env=daemon.environment(), start_new_session=True)  # fmt: skip
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_run_killed_with_sigkill_leaves_no_lease_behind(idle: Daemon) -> None:
    process, child = _running(idle, "echo $$; read line")
    assert len(idle.leases()) == 1
    process.kill()
    process.wait()
    try:
        eventually("the daemon has closed the lease", lambda: idle.leases() == [])
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_command_killed_with_sigkill_ends_the_lease(idle: Daemon) -> None:
    process, child = _running(idle, "echo $$; read line")
    os.kill(int(child), signal.SIGKILL)
    assert process.wait(DEADLINE) != 0
    assert idle.leases() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_run_reaches_the_command_and_the_lease_ends(idle: Daemon, number: signal.Signals) -> None:
    # A shell that gets it just before it reads goes on to read; one that waits is woken all the same.
    trap = f"trap 'echo told; kill $!; exit 7' {number.name[3:]}"
    process, _ = _running(idle, f"sleep 600 >/dev/null & {trap}; echo ready; wait")
    process.send_signal(number)
    assert process.wait(DEADLINE) == 7
    assert process.stdout and process.stdout.read() == "told\n"
    assert idle.leases() == []


def test_run_narrows_what_the_command_may_do(mintfs: Daemon, server: GitServer) -> None:
    ask = ["git", "ls-remote"]
    allowed = ["run", "-c", "git", "--repository", "acme/app", "--read-only", "--"]
    mintfs.cli(*allowed, *ask, f"{server.url}/acme/app.git")
    assert mintfs.cli(*allowed, "env", "GIT_TERMINAL_PROMPT=0", *ask, f"{server.url}/other/secret.git",
                      check=False).returncode != 0  # fmt: skip


def test_run_tells_the_command_its_lease(idle: Daemon) -> None:
    lease = idle.cli("run", "-c", "git", "--", "sh", "-c", "echo $MINTFS_LEASE").stdout.strip()
    opened = eventually("the lease is in the audit log", lambda: idle.audit("open"))
    assert lease == opened[0]["lease"]


# --- lease -------------------------------------------------------------------------------------------


def test_lease_open_prints_text_json_or_an_environment(idle: Daemon, new_job: Callable[..., Job]) -> None:
    text = idle.cli("lease", "open", "-c", "git").stdout
    assert Path(text.strip()).is_dir() and text.count("\n") == 1
    answer = json.loads(idle.cli("lease", "open", "-c", "git", "--format", "json").stdout)
    assert Path(answer["path"]).name == answer["id"] and answer["expires"]
    shell = 'set -a; eval "$1"; git config --get-regexp "^http" >/dev/null && echo "$MINTFS_LEASE"'
    env = idle.cli("lease", "open", "-c", "git", "--format", "env").stdout
    assert len(new_job().run("sh", "-ec", shell, "sh", env).stdout.strip()) == 26
    assert len(idle.leases()) == 3


def test_lease_list_and_show_tell_about_it_without_a_token(idle: Daemon) -> None:
    lease = idle.open_lease("--label", "build=77", "--label", "job=compile", "--ttl", "1h")
    for args in (["lease", "list"], ["lease", "show", lease.id]):
        said = idle.cli(*args).stdout
        assert lease.id in said and "Authorization" not in said
        assert lease.id in json.dumps(json.loads(idle.cli(*args, "--format", "json").stdout))
    shown = idle.cli("lease", "show", lease.id).stdout
    assert "build" in shown and "77" in shown and "git" in shown


def test_a_lease_of_several_connectors_serves_them_all(idle: Daemon) -> None:
    text = idle.open_lease(connectors=["git", "team/tools"]).gitconfig.read_text()
    assert "insteadOf = https://git.example/\n" in text
    assert "insteadOf = https://tools.example/a/\n" in text and "tools.example/\n" not in text
    assert text.count("Authorization: Basic ") == 2


def test_closing_a_lease_that_is_not_there_is_said(idle: Daemon) -> None:
    lease = idle.open_lease()
    idle.close_lease(lease)
    for identity in (lease.id, "nonsense"):
        done = idle.cli("lease", "close", identity, check=False)
        assert done.returncode == 1 and identity in done.stderr


@pytest.mark.parametrize("label", ["novalue", "=x", "a\nb=c", "k=" + "v" * 5000])
def test_a_label_that_is_none_is_refused(idle: Daemon, label: str) -> None:
    assert idle.cli("lease", "open", "-c", "git", "--label", label, check=False).returncode in (1, 2)
    assert idle.leases() == []


def test_an_unknown_connector_is_said(idle: Daemon) -> None:
    done = idle.cli("lease", "open", "-c", "nothing", check=False)
    assert done.returncode == 1 and "nothing" in done.stderr and "connector list" in done.stderr


# --- the rest ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["nonsense"], ["run"], ["run", "-c", "git"], ["lease"], ["lease", "open"],
                                  ["lease", "open", "-c", "git", "--ttl", "nonsense"], ["lease", "close"], ["--nonsense"],
                                  ["lease", "open", "-c", "git", "--format", "xml"], ["config", "check"]])  # fmt: skip
def test_a_wrong_use_ends_with_two_and_says_what_to_type(idle: Daemon, args: list[str]) -> None:
    done = idle.cli(*args, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr and done.stdout == ""


@pytest.mark.parametrize("args", [["git", "status"], ["true"], ["git", "clone", "https://git.example/acme/app"]])
def test_a_command_without_the_marker_before_it_is_told_so(idle: Daemon, args: list[str]) -> None:
    done = idle.cli("run", "-c", "git", *args, check=False)
    assert done.returncode == 2 and "goes behind '--', as in: mintfs run -c NAME -- COMMAND" in done.stderr, done.stderr
    done = idle.cli("run", "-c", "git", "--nonsense", *args, check=False)
    assert done.returncode == 2 and "--nonsense" in done.stderr and "behind" not in done.stderr, done.stderr


@pytest.mark.parametrize("args", [[], ["run"], ["lease"], ["lease", "open"], ["lease", "close"], ["lease", "list"],
                                  ["lease", "show"], ["connector"], ["connector", "list"], ["connector", "check"],
                                  ["policy"], ["policy", "test"], ["config"], ["config", "check"], ["status"], ["doctor"]])  # fmt: skip
def test_every_command_explains_itself(args: list[str]) -> None:
    done = subprocess.run([MINTFS, *args, "--help"], capture_output=True, text=True, env=base_environment())
    assert done.returncode == 0 and "Usage" in done.stdout and done.stderr == ""


def test_colours_are_for_terminals_only(idle: Daemon) -> None:
    for args in (["status"], ["lease", "list"], ["connector", "list"], ["doctor"], ["--help"]):
        done = idle.cli(*args, check=False)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_daemon_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = subprocess.run([MINTFS, "status"], capture_output=True, text=True,
                          env=base_environment(MINTFS_SOCKET=tmp_path / "none.sock"))  # fmt: skip
    assert done.returncode == 1 and "none.sock" in done.stderr and "mintfsd" in done.stderr


def test_the_socket_may_be_named_by_option(idle: Daemon) -> None:
    done = subprocess.run([MINTFS, "--socket", idle.control, "status"], capture_output=True, text=True,
                          env=base_environment(MINTFS_SOCKET="/nowhere"))  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_connectors_are_listed_without_their_secrets(idle: Daemon, password: Path) -> None:
    said = idle.cli("connector", "list").stdout
    assert "git" in said and "https://git.example" in said and "team/tools" in said
    listed = json.dumps(json.loads(idle.cli("connector", "list", "--format", "json").stdout))
    for text in (said, listed):
        assert password.read_text().strip() not in text


def test_connector_check_tells_good_from_bad(mintfs: Daemon, server: GitServer) -> None:
    good = mintfs.cli("connector", "check", "git", check=False)
    assert good.returncode == 0, good.stderr
    server.stop()
    bad = mintfs.cli("connector", "check", "git", check=False)
    assert bad.returncode == 1 and "git" in bad.stdout + bad.stderr


def test_connector_check_of_what_the_connector_does_not_give_says_where_that_stands(idle: Daemon) -> None:
    done = idle.cli("connector", "check", "team/tools", "--repository", "b/c", check=False)
    assert done.returncode == 1 and "does not give 'b/c'" in done.stdout and "mintfs connector list" in done.stdout, done


def test_config_check_is_for_people_and_programs(idle: Daemon, password: Path) -> None:
    assert idle.cli("config", "check", idle.config).stdout == f"{idle.config}: ok, 2 connectors, proxy at {idle.url}\n"
    good = json.loads(idle.cli("config", "check", idle.config, "--format", "json").stdout)
    assert (good["ok"], good["connectors"]) == (True, 2)
    assert [(check["state"], check["subject"]) for check in good["checks"]] == [
        ("ok", "secret of default/git"), ("ok", "secret of team/tools")]  # fmt: skip

    password.write_text("CANARY-one\nCANARY-two\n")
    done = idle.cli("config", "check", idle.config, "--format", "json", check=False)
    bad = json.loads(done.stdout)
    assert done.returncode == 1 and bad["ok"] is False and {check["state"] for check in bad["checks"]} == {"fail"}
    assert "CANARY" not in done.stdout + done.stderr

    idle.config.write_text("[nonsense]\n")
    done = idle.cli("config", "check", idle.config, "--format", "json", check=False)
    (wrong,) = json.loads(done.stdout)["checks"]
    assert done.returncode == 1 and wrong["state"] == "fail" and f"{idle.config}:1:" in wrong["sentence"]


@pytest.mark.root
def test_config_check_does_not_judge_what_its_user_may_not_read(idle: Daemon, tmp_path: Path, password: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text("of root alone")
    authorities.chmod(0o600)
    idle.configure(connector("git", "https://git.example", password, ca_file=str(authorities)))
    idle.config.chmod(0o644)
    done = idle.cli("config", "check", idle.config, "--format", "json", uid=STRANGER)
    assert [check["state"] for check in json.loads(done.stdout)["checks"]] == ["warn", "warn"]
    assert idle.cli("config", "check", idle.config, check=False).returncode == 1, "root may"


def test_config_check_names_who_is_let_in_and_does_not_exist(idle: Daemon, password: Path) -> None:
    known = {"users": ["root", "4294967"], "groups": ["root", "4294967"]}
    idle.configure(connector("git", "https://git.example", password, allow=known))
    assert idle.cli("config", "check", idle.config).stderr == ""
    idle.configure(connector("git", "https://git.example", password,
                             allow={"users": [*known["users"], "nobody-here"], "groups": ["none-here"]}))  # fmt: skip
    done = idle.cli("config", "check", idle.config)
    assert ": ok, 1 connector," in done.stdout, "they may be made later"
    assert done.stderr.splitlines() == [
        f"mintfs: warn: allow of default/git: this machine knows no {kind} '{name}', so nobody may open a lease by that"
        for kind, name in (("user", "nobody-here"), ("group", "none-here"))]  # fmt: skip
    checks = json.loads(idle.cli("config", "check", idle.config, "--format", "json").stdout)["checks"]
    assert [check["remedy"] for check in checks if check["state"] == "warn"] == [
        "correct the name, or: useradd nobody-here", "correct the name, or: groupadd none-here"]  # fmt: skip


@pytest.mark.parametrize(("path", "repositories", "warns"), [
    ("", None, True), ("/artifactory/", None, True), ("/repository", None, True), ("", ["org/acme/**"], False),
    ("/artifactory/libs-release", None, False), ("/repository/maven-public/", None, False), ("/maven2", None, False),
])  # fmt: skip
def test_config_check_names_a_whole_server_in_the_place_of_one_maven_repository(
    idle: Daemon, password: Path, path: str, repositories: list[str] | None, warns: bool
) -> None:
    more = {"repositories": repositories} if repositories else {}
    for kind in ("maven", "nexus"):
        idle.configure(connector("git", f"https://git.example{path}", password, **more | {"class": kind}))
        done = idle.cli("config", "check", idle.config)
        assert ("mintfs: warn: address of default/git: " in done.stderr) is (warns and kind == "maven"), done.stderr


def test_status_is_for_people_and_programs(idle: Daemon) -> None:
    idle.open_lease()
    assert idle.cli("status").stdout
    assert isinstance(json.loads(idle.cli("status", "--format", "json").stdout), dict)


def test_the_control_api_answers_curl(idle: Daemon) -> None:
    status, lease = idle.control_api("POST", "/v1/leases", {"connectors": ["git"], "labels": {"build": "1"}})
    assert status in (200, 201) and "Authorization" in (Path(lease["path"]) / ".gitconfig").read_text()
    assert idle.control_api("GET", f"/v1/leases/{lease['id']}")[1]["id"] == lease["id"]
    assert idle.control_api("DELETE", f"/v1/leases/{lease['id']}")[0] in (200, 204)
    for method, path, body in (("GET", f"/v1/leases/{lease['id']}", None), ("GET", "/v1/nothing", None),
                               ("POST", "/v1/leases", {"connectors": ["none"]}), ("POST", "/v1/leases", {"nonsense": 1}),
                               ("POST", "/v1/leases", []), ("PUT", "/v1/leases", {})):  # fmt: skip
        status, problem = idle.control_api(method, path, body)
        assert 400 <= status < 500
        assert problem["status"] == status and problem["title"], "a problem document of RFC 9457"


def test_the_token_is_shown_nowhere_but_in_the_view(idle: Daemon) -> None:
    lease = idle.open_lease()
    signature = token_in(lease.gitconfig.read_text()).split(".")[2]
    said = "".join(idle.cli(*args).stdout for args in (["lease", "list"], ["lease", "show", lease.id], ["status"]))
    assert signature not in said + idle.log()
