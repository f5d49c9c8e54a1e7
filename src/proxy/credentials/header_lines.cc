#include "proxy/credentials/header_lines.h"

#include "broker/encoding.h"

#include <algorithm>
#include <initializer_list>

namespace mintfs::proxy {
namespace {

using broker::AuthConfig;
using broker::ConnectorClass;
using broker::Secret;

Secret join(std::initializer_list<std::string_view> parts) {
  std::size_t size = 0;
  for (const auto part : parts) size += part.size();
  Secret joined(size);
  char* out = joined.bytes().data();
  for (const auto part : parts) out = std::copy(part.begin(), part.end(), out);
  return joined;
}

// RFC 7617 section 2: base64 of "user:password".
Secret basic(std::string_view username, std::string_view password) {
  const Secret pair = join({username, ":", password});
  Secret encoded(broker::base64_size(pair.size()));
  broker::base64_encode(pair.reveal(), encoded.bytes().data());
  return join({"Authorization: Basic ", encoded.reveal(), "\r\n"});
}

Secret bearer(std::string_view token) { return join({"Authorization: Bearer ", token, "\r\n"}); }

// A token as the class's own servers issue them.
HeaderLines token_lines(ConnectorClass connector_class, std::string_view token) {
  switch (connector_class) {
    // A token's own name tells these servers more than the user's: git takes any with it.
    case ConnectorClass::github:
      return {basic("x-access-token", token), bearer(token)};
    case ConnectorClass::gitlab:
      return {basic("oauth2", token), join({"PRIVATE-TOKEN: ", token, "\r\n"})};
    case ConnectorClass::pypi:
      return {basic("__token__", token), {}};
    case ConnectorClass::sonarqube:
      return {basic(token, ""), {}};
    case ConnectorClass::jfrog:
      return {join({"X-JFrog-Art-Api: ", token, "\r\n"}), {}};
    case ConnectorClass::git:
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
    case ConnectorClass::npm:
    case ConnectorClass::maven:
    case ConnectorClass::nexus:
    case ConnectorClass::k8s:
      return {bearer(token), {}};
  }
  return {bearer(token), {}};
}

std::string_view token_username(ConnectorClass connector_class) noexcept {
  switch (connector_class) {
    case ConnectorClass::github:
      return "x-access-token";
    case ConnectorClass::gitlab:
      return "oauth2";
    case ConnectorClass::pypi:
      return "__token__";
    case ConnectorClass::git:
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
    case ConnectorClass::npm:
    case ConnectorClass::maven:
    case ConnectorClass::nexus:
    case ConnectorClass::jfrog:
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return {};
  }
  return {};
}

}  // namespace

HeaderLines header_lines(const broker::ConnectorConfig& connector, std::string_view secret) {
  switch (connector.auth.type) {
    case AuthConfig::Type::basic:
      return {basic(connector.auth.username, secret), {}};
    case AuthConfig::Type::bearer:
      return {bearer(secret), {}};
    case AuthConfig::Type::token:
      return token_lines(connector.connector_class, secret);
    case AuthConfig::Type::header:
      return {join({connector.auth.header_name, ": ", secret, "\r\n"}), {}};
  }
  return {bearer(secret), {}};
}

std::string_view sent_username(const broker::ConnectorConfig& connector) noexcept {
  switch (connector.auth.type) {
    case AuthConfig::Type::basic:
      return connector.auth.username;
    case AuthConfig::Type::token:
      return token_username(connector.connector_class);
    case AuthConfig::Type::bearer:
    case AuthConfig::Type::header:
      return {};
  }
  return {};
}

}  // namespace mintfs::proxy
