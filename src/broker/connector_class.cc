#include "broker/connector_class.h"

namespace mintfs::broker {

std::string_view to_string(ConnectorClass connector_class) noexcept {
  switch (connector_class) {
    case ConnectorClass::git:
      return "git";
    case ConnectorClass::github:
      return "github";
    case ConnectorClass::gitlab:
      return "gitlab";
    case ConnectorClass::oci:
      return "oci";
    case ConnectorClass::harbor:
      return "harbor";
    case ConnectorClass::npm:
      return "npm";
    case ConnectorClass::pypi:
      return "pypi";
    case ConnectorClass::maven:
      return "maven";
    case ConnectorClass::nexus:
      return "nexus";
    case ConnectorClass::jfrog:
      return "jfrog";
    case ConnectorClass::sonarqube:
      return "sonarqube";
    case ConnectorClass::k8s:
      return "k8s";
  }
  return "unknown";
}

std::optional<ConnectorClass> parse_connector_class(std::string_view word) noexcept {
  for (const ConnectorClass each : kConnectorClasses)
    if (word == to_string(each)) return each;
  return std::nullopt;
}

bool serves_git(ConnectorClass connector_class) noexcept {
  switch (connector_class) {
    case ConnectorClass::git:
    case ConnectorClass::github:
    case ConnectorClass::gitlab:
      return true;
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
    case ConnectorClass::npm:
    case ConnectorClass::pypi:
    case ConnectorClass::maven:
    case ConnectorClass::nexus:
    case ConnectorClass::jfrog:
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return false;
  }
  return false;
}

bool serves_oci(ConnectorClass connector_class) noexcept {
  switch (connector_class) {
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
      return true;
    case ConnectorClass::git:
    case ConnectorClass::github:
    case ConnectorClass::gitlab:
    case ConnectorClass::npm:
    case ConnectorClass::pypi:
    case ConnectorClass::maven:
    case ConnectorClass::nexus:
    case ConnectorClass::jfrog:
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return false;
  }
  return false;
}

bool keeps_formats(ConnectorClass connector_class) noexcept {
  switch (connector_class) {
    case ConnectorClass::nexus:
    case ConnectorClass::jfrog:
      return true;
    case ConnectorClass::git:
    case ConnectorClass::github:
    case ConnectorClass::gitlab:
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
    case ConnectorClass::npm:
    case ConnectorClass::pypi:
    case ConnectorClass::maven:
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return false;
  }
  return false;
}

}  // namespace mintfs::broker
