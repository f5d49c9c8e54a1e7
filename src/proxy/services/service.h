// What a request wants, told by the class of its connector.
//
// Only what is known is let through: an API that is not listed may hand out credentials of the stored
// account (npm's and Artifactory's tokens, a registry's token service, a Kubernetes service account's), and
// the job would keep one. Methods that may change something are pushes; a few POSTs that only ask are not.
#pragma once

#include "broker/config.h"
#include "proxy/path.h"
#include "proxy/request.h"
#include "proxy/service_request.h"

#include <string_view>

namespace mintfs::proxy {

// request_malformed where it is ambiguous what is meant or the target is folded as the class's clients do not fold,
// operation_denied where it is nothing that a job may do there. `target` outlives `out`.
boost::system::error_code classify(const broker::ConnectorConfig& connector, Method method, const Target& target,
                                   ServiceRequest& out);

// The field in which the class's clients send a token where they send no Authorization; empty where none is known.
std::string_view token_field(broker::ConnectorClass connector_class) noexcept;

// Whether the class's clients show a token only to who has asked for one (Maven, for what it reads).
bool waits_to_be_asked(broker::ConnectorClass connector_class) noexcept;

// Whether an upload to a registry asks for a layer of another repository. It is sent on without: the client then
// uploads the layer, and nobody reads from a repository that was not asked about.
bool mounts(const Target& target) noexcept;

// Of one class each. `path` is canonical.
boost::system::error_code classify_npm(Method method, std::string_view path, ServiceRequest& out);
boost::system::error_code classify_pypi(Method method, std::string_view path, ServiceRequest& out);
boost::system::error_code classify_maven(Method method, std::string_view path, ServiceRequest& out);
boost::system::error_code classify_nexus(Method method, std::string_view path, ServiceRequest& out);
// `below_artifactory`: the path begins behind "/artifactory".
boost::system::error_code classify_jfrog(Method method, std::string_view path, bool below_artifactory,
                                         ServiceRequest& out);
boost::system::error_code classify_oci(Method method, const Target& target, ServiceRequest& out);
boost::system::error_code classify_gitlab(Method method, const Target& target, ServiceRequest& out);
boost::system::error_code classify_sonarqube(Method method, const Target& target, ServiceRequest& out);
boost::system::error_code classify_k8s(Method method, std::string_view path, ServiceRequest& out);

// "@scope/name" or "name", taken off `path` with the slash behind it; nothing where it begins with none.
std::string_view take_npm_package(std::string_view& path) noexcept;

}  // namespace mintfs::proxy
