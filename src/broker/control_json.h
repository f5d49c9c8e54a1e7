// What the control API says, as JSON: leases, connectors, problems; and what it reads.
//
// Pure. Described for users in docs/openapi.yaml, which must say the same. Nothing that is said
// here ever holds a token, a key or where a credential comes from; what is read may hold the token of a pod.
#pragma once

#include "broker/broker.h"
#include "broker/policy_question.h"

#include <boost/json/fwd.hpp>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::broker {

// Reads the body of POST /v1/leases. Nothing when it is malformed; `detail` then names the member
// and what it must be. Members that are not known are refused: a misspelt restriction must not be
// a right. "pid": "self" stands for the caller, whatever its number is in its own pid namespace.
std::optional<LeaseRequest> parse_lease_request(std::string_view body, const Caller& caller, std::string& detail);

// The same of POST /v1/leases/{id}/renew: how long the lease shall live from now on, and by which token its pod
// proves itself once more, where gateways have granted it.
struct Renewal {
  std::chrono::seconds ttl;
  Secret pod_token{};
};
std::optional<Renewal> parse_renewal(std::string_view body, std::string& detail);

// The same of POST /v1/policy/test.
std::optional<PolicyQuestion> parse_policy_question(std::string_view body, std::string& detail);

boost::json::object to_json(const PolicyAnswer& answer);
// `files`: for the variables that point at those that the administrator defines.
boost::json::object to_json(const Lease& lease, const std::filesystem::path& mount, const FileConfigs& files);
boost::json::object to_json(const ConnectorConfig& connector, bool allowed);

// A problem document (RFC 9457).
std::string problem_document(unsigned status, std::string_view title, std::string_view detail, std::string_view reason);

// RFC 3339 in UTC with whole seconds: "2024-05-01T12:00:00Z".
std::string to_rfc3339(Time time);

}  // namespace mintfs::broker
