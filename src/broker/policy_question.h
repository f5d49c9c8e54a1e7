// What a job may do, asked before it is done: `mintfs policy test`, POST /v1/policy/test.
//
// The answer is that of decision.h, which the proxy asks as well. A caller learns it of connectors that it
// may use and of leases that it may see.
#pragma once

#include "broker/broker.h"

#include <string>

namespace mintfs::broker {

// As it was written; see docs/openapi.yaml.
struct PolicyQuestion {
  std::string connector{};
  std::string lease{};       // id; empty: the connector alone is asked
  std::string repository{};  // "acme/app", with or without ".git"
  std::string operation{};   // "fetch", "push", "lfs-download", "lfs-upload"
  std::string reference{};   // of a push; empty: not asked
  std::string change{};      // "create", "update" (default), "delete"
};

struct PolicyAnswer {
  Decision decision{};
  Steps steps{};
  bool references_open = false;  // references are restricted, and none was named
  ConnectorsPtr connectors{};    // with `lease` keeps what the decisions point to
  LeasePtr lease{};
};

// request_malformed, connector_unknown, connector_denied, lease_closed (also for another user's); `detail`
// gets a sentence that names the thing.
Result<PolicyAnswer> answer(Broker& broker, const Caller& caller, const PolicyQuestion& question, std::string& detail);

}  // namespace mintfs::broker
