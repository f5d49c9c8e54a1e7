"""What tests have Maven deploy and resolve, and by which of its plugins."""

from __future__ import annotations

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>org.acme</groupId><artifactId>a</artifactId>
  <version>1.0</version><packaging>pom</packaging>
</project>
"""
DEPLOY, GET = (f"org.apache.maven.plugins:maven-{name}" for name in ("deploy-plugin:3.1.1", "dependency-plugin:3.6.1"))
