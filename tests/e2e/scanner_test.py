"""sonar-scanner 7 against a server that demands the real credential for all that it asks."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.mintfs import Daemon, connector, secret_file
from support.package_server import PackageServer
from support.waiting import DEADLINE

SECRET = "the-real-credential"
SCANNER = "org.sonarsource.scanner.cli:sonar-scanner-cli:7.0.2.4839"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy"
OF_THE_ENGINE = "/api/settings/values.protobuf"
# What SonarQube would send: asks with what the scanner hands on to it on standard input, as the true one does.
ENGINE = """
import java.net.URI; import java.net.http.*; import java.util.*; import java.util.regex.*;
public class Engine {
  public static void main(String[] arguments) throws Exception {
    String said = new String(System.in.readAllBytes(), "UTF-8");
    Map<String, String> of = new HashMap<>();
    Matcher each = Pattern.compile("\\\\{\\"key\\":\\"([^\\"]*)\\",\\"value\\":\\"([^\\"]*)\\"\\\\}").matcher(said);
    while (each.find()) of.put(each.group(1), each.group(2));
    String login = of.get("sonar.login") + ":" + of.get("sonar.password");
    HttpRequest request = HttpRequest.newBuilder(URI.create(of.get("sonar.host.url") + "/api/settings/values.protobuf"))
      .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(login.getBytes())).build();
    HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    System.err.println("engine: " + answer.statusCode());
    System.exit(answer.statusCode() == 200 ? 0 : 1);
  }
}
"""


@pytest.fixture(scope="session")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetched by Maven from where the machine has its plugins from."""
    folder = tmp_path_factory.mktemp("scanner")
    done = subprocess.run(["mvn", "-B", "-q", COPY, f"-Dartifact={SCANNER}", f"-DoutputDirectory={folder}"],
                          capture_output=True, text=True, timeout=16 * DEADLINE)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.jar"))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("engine")
    (folder / "Engine.java").write_text(ENGINE)
    for command in (["javac", "Engine.java"], ["jar", "cfe", "engine.jar", "Engine", "Engine.class"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=4 * DEADLINE)
    return (folder / "engine.jar").read_bytes()


class SonarQube(PackageServer):
    def __init__(self, header: str, value: str, engine: bytes) -> None:
        super().__init__(header, value)
        self.engine = engine

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        if target == "/api/v2/analysis/version":
            return 200, "text/plain", b"2025.1.0.1"
        if target == "/api/v2/analysis/engine" and headers["Accept"] == "application/octet-stream":
            return 200, "application/octet-stream", self.engine
        if target == "/api/v2/analysis/engine":
            described = {"filename": "engine.jar", "sha256": hashlib.sha256(self.engine).hexdigest()}
            return 200, "application/json", json.dumps(described).encode()
        return (200 if target == OF_THE_ENGINE else 404), "text/plain", b""


@pytest.fixture
def server(engine: bytes) -> Iterator[SonarQube]:
    server = SonarQube("Authorization", "Basic " + base64.b64encode(f"{SECRET}:".encode()).decode(), engine)
    yield server
    server.stop()


def test_sonar_scanner_gets_its_engine_which_asks_as_it_did(
    server: SonarQube, scanner: Path, tmp_path: Path, start_mintfs: Callable[..., Daemon]
) -> None:
    secret = secret_file(tmp_path / "secret", SECRET)
    mintfs = start_mintfs(
        connector("sonar", server.url, secret, **{"class": "sonarqube", "auth": {"type": "token", "token_file": str(secret)}})
    )
    work = tmp_path / "work"
    work.mkdir()
    script = """exec java -cp "$1" org.sonarsource.scanner.cli.Main "-Dscanner.settings=$2/$MINTFS_LEASE/sonar-project.properties" \
        -Dsonar.projectKey=app "-Dsonar.projectBaseDir=$3" "-Dsonar.userHome=$3/cache" -Dsonar.scanner.skipJreProvisioning=true \
        "-Dsonar.scanner.javaExePath=$(command -v java)" -Dsonar.scanner.skipSystemTruststore=true"""
    done = mintfs.cli("run", "-c", "sonar", "--configuration", "sonar", "--", "sh", "-ec", script, "sh", scanner, mintfs.mount, work,
                      check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("GET", OF_THE_ENGINE) in server.seen and server.strangers == []
    assert all("eyJ" not in head for head in server.heads), "the job's token stays at the proxy"
