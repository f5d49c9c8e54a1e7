// The objects of Kubernetes that mintfs reads and writes, as plain structures.
//
// Read strictly: a failure (Reason::invalid) says which member is wrong. Only what is wanted is kept.
#pragma once

#include "broker/clock.h"
#include "broker/config.h"
#include "broker/policy.h"
#include "broker/secret.h"
#include "kube/failure.h"

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::kube {

class Members;

inline constexpr const char* kGroup = "connectors.alauda.io";
inline constexpr const char* kVersion = "v1alpha1";
inline constexpr const char* kConnectors = "/apis/connectors.alauda.io/v1alpha1/connectors";
inline constexpr const char* kConnectorClasses = "/apis/connectors.alauda.io/v1alpha1/connectorclasses";
inline constexpr const char* kConnectorLeases = "/apis/connectors.alauda.io/v1alpha1/connectorleases";
inline constexpr const char* kBasicAuth = "kubernetes.io/basic-auth";

// "/apis/<group>/<version>/namespaces/<space>/<plural>" of a collection over all namespaces.
std::string in_namespace(std::string_view collection, std::string_view space);

// Namespace and name; the namespace is empty for what has none.
struct ObjectName {
  std::string space;
  std::string name;
  auto operator<=>(const ObjectName&) const = default;
};
std::optional<ObjectName> name_of(const boost::json::object& object);

struct Connector {
  broker::ConnectorName name;
  std::string uid;
  std::int64_t generation = 0;
  std::string class_name;
  broker::Address address;
  std::string auth;                  // which of the class's ways, "basicAuth"; empty: none
  std::optional<ObjectName> secret;  // always of the connector's own namespace
  std::string repository;            // to try the credential on
};
// A secretRef into another namespace is refused: whoever may write connectors here could send the secrets of
// others to a server of theirs.
Outcome<Connector> read_connector(const boost::json::object& object);

struct ConnectorClass {
  struct Auth {
    std::string name;
    std::string secret_type;
    bool optional = false;
  };
  std::string name;
  std::vector<Auth> auth;

  const Auth* find(std::string_view name) const;
};
Outcome<ConnectorClass> read_connector_class(const boost::json::object& object);

struct BasicAuth {
  std::string username;
  broker::Secret password;
  std::string version{};  // its resourceVersion: another one may be another password
};
// Of type kubernetes.io/basic-auth, and fit for a header line.
Outcome<BasicAuth> read_basic_auth(const boost::json::object& object);

// Our own kind: a lease of a pod. It lives and dies with the pod (ownerReference), and every gateway watches it.
struct ConnectorLease {
  std::string id;         // the object's name
  std::string version{};  // its resourceVersion; empty: it is still to be made
  std::string space;
  std::string pod;
  std::string pod_uid;
  std::string node;
  std::string service_account;
  std::vector<broker::ConnectorName> connectors;
  broker::Operations operations = broker::Operations::all();
  std::vector<std::string> repositories;  // empty: all that the connectors give
  std::uint32_t kid = 0;
  broker::Time opened;
  broker::Time expires;
};
Outcome<ConnectorLease> read_connector_lease(const boost::json::object& object);
boost::json::object write_connector_lease(const ConnectorLease& lease);
// The member `operations`, which must name one at least: none must not mean all.
broker::Operations read_operations(const Members& members);

}  // namespace mintfs::kube
