#include "proxy/services/service.h"

#include "proxy/git_service.h"

namespace mintfs::proxy {
namespace {

// As what the class's clients fold a segment.
Folded::Kind folded_by(broker::ConnectorClass connector_class) noexcept {
  using broker::ConnectorClass;
  switch (connector_class) {
    case ConnectorClass::npm:
    case ConnectorClass::nexus:
    case ConnectorClass::jfrog:
      return Folded::Kind::scope;
    case ConnectorClass::gitlab:
      return Folded::Kind::project;
    case ConnectorClass::git:
    case ConnectorClass::github:
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
    case ConnectorClass::pypi:
    case ConnectorClass::maven:
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return Folded::Kind::none;
  }
  return Folded::Kind::none;
}

}  // namespace

boost::system::error_code classify(const broker::ConnectorConfig& connector, Method method, const Target& target,
                                   ServiceRequest& out) {
  using broker::ConnectorClass;
  const Folded::Kind folded = target.folded.kind;
  if (folded != Folded::Kind::none && folded != folded_by(connector.connector_class))
    return broker::Errc::request_malformed;
  switch (connector.connector_class) {
    case ConnectorClass::git:
    case ConnectorClass::github:
      return classify(method, target, out);
    case ConnectorClass::gitlab:
      return classify_gitlab(method, target, out);
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
      return classify_oci(method, target, out);
    case ConnectorClass::npm:
      return classify_npm(method, target.path, out);
    case ConnectorClass::pypi:
      return classify_pypi(method, target.path, out);
    case ConnectorClass::maven:
      return classify_maven(method, target.path, out);
    case ConnectorClass::nexus:
      return classify_nexus(method, target.path, out);
    case ConnectorClass::jfrog:
      return classify_jfrog(method, target.path, connector.address.prefix.ends_with("/artifactory"), out);
    case ConnectorClass::sonarqube:
      return classify_sonarqube(method, target, out);
    case ConnectorClass::k8s:
      return classify_k8s(method, target.path, out);
  }
  return broker::Errc::operation_denied;
}

bool waits_to_be_asked(broker::ConnectorClass connector_class) noexcept {
  using broker::ConnectorClass;
  switch (connector_class) {
    case ConnectorClass::maven:
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
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return false;
  }
  return false;
}

std::string_view token_field(broker::ConnectorClass connector_class) noexcept {
  using broker::ConnectorClass;
  switch (connector_class) {
    case ConnectorClass::gitlab:
      return "private-token";
    case ConnectorClass::jfrog:
      return "x-jfrog-art-api";
    case ConnectorClass::git:
    case ConnectorClass::github:
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
    case ConnectorClass::npm:
    case ConnectorClass::pypi:
    case ConnectorClass::maven:
    case ConnectorClass::nexus:
    case ConnectorClass::sonarqube:
    case ConnectorClass::k8s:
      return {};
  }
  return {};
}

}  // namespace mintfs::proxy
