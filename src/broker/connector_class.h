// What speaks at a connector's address.
//
// The class decides how the real credential is put on, what a request asks for, what the patterns of
// `repositories` match, and which links of an answer are pointed to the proxy. Whoever decides one of these
// does so in a switch without `default:`, so that a new class does not compile until each has answered. What is a plain
// property of a class stands in the table of connector_class.cc.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mintfs::broker {

enum class ConnectorClass : std::uint8_t {
  git,
  github,
  gitlab,
  oci,
  harbor,
  npm,
  pypi,
  maven,
  nexus,
  jfrog,
  sonarqube,
  k8s,
};

inline constexpr std::array kConnectorClasses = {
    ConnectorClass::git,    ConnectorClass::github, ConnectorClass::gitlab,    ConnectorClass::oci,
    ConnectorClass::harbor, ConnectorClass::npm,    ConnectorClass::pypi,      ConnectorClass::maven,
    ConnectorClass::nexus,  ConnectorClass::jfrog,  ConnectorClass::sonarqube, ConnectorClass::k8s,
};

// As it is written in the configuration.
std::string_view to_string(ConnectorClass connector_class) noexcept;
std::optional<ConnectorClass> parse_connector_class(std::string_view word) noexcept;

// Whether git's own protocol is spoken there, and so what is asked for are Git repositories.
bool serves_git(ConnectorClass connector_class) noexcept;
// Whether it is an OCI registry, which clients look for at "/v2/" of a host.
bool serves_oci(ConnectorClass connector_class) noexcept;
// Whether it is a server of repositories of many formats, each asked for below a path of its own.
bool keeps_formats(ConnectorClass connector_class) noexcept;

}  // namespace mintfs::broker
