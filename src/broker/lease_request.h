// What an opener asks for, and the lease that it becomes. Pure but for a look at processes and control groups.
//
// Every count, character and time is checked here; what the connectors give is asked of a table of them, be it
// this daemon's own or what gateways have granted.
#pragma once

#include "broker/config.h"
#include "broker/error.h"
#include "broker/lease.h"
#include "broker/secret.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace mintfs::broker {

struct LeaseRequest {
  std::vector<std::string> connectors;  // as written: "github" or "team/github"
  std::optional<uid_t> uid{};           // default: the caller's
  std::optional<std::chrono::seconds> ttl{};
  std::map<std::string, std::string> labels{};
  std::optional<Operations> operations{};
  std::vector<std::string> repositories{};
  std::vector<std::string> references{};
  std::optional<pid_t> pid{};           // close the lease when this process ends
  std::vector<std::string> origins{};   // where tokens may be used; as OriginPattern::parse() reads them
  std::optional<std::string> cgroup{};  // bind to it: "self" is the caller's, else as Cgroup::parse() reads it
  bool exact_protocol = false;          // of what the job stores, see Lease
  std::optional<std::string> pod{};     // "namespace/name": for whoever runs in it, see Lease; administrators only
  std::optional<std::chrono::seconds> token_ttl{};  // shorter than the daemon's, or the same
  std::vector<std::string> configurations{};        // which files its view holds; empty: default_configurations()
  std::string credential_store{};                   // where that is kept, see Lease
  std::string proxy_url{};                          // what its job is told, see LeaseTerms; empty: the proxy's own
  std::string seen_at{};                            // where its job sees the view; empty: where it is
  Secret pod_token{};                               // by which the pod proves itself to gateways; with `pod` only
};

// What this daemon makes of a request that leaves something out, and its bounds.
struct LeaseTerms {
  Time now;
  std::chrono::seconds token_ttl;
  std::chrono::seconds default_ttl;
  std::chrono::seconds max_ttl;
  bool bind_cgroup = false;
  const FileConfigs& files;
  const std::string& audience;                 // the proxy's URL
  const std::vector<std::string>& other_urls;  // by which a lease may ask to be told of it, beside that
};

// The lease without connectors, id and key. lease_malformed, lease_denied; `detail` gets a sentence.
Result<Lease> describe_lease(const Caller& caller, const LeaseRequest& request, const LeaseTerms& terms,
                             std::string& detail);

// Adds what was asked for, which each connector must give. lease_malformed, connector_unknown, connector_denied,
// operation_denied, repository_denied, reference_denied.
Errc add_connectors(Lease& lease, const Caller& caller, const LeaseRequest& request, const Connectors& table,
                    std::string& detail);

// A lease that gateways have granted.
struct LeaseGrant {
  std::string id;
  std::string subject;  // whose it is, as they have found out
  std::uint32_t kid = 0;
  LeaseKey key;
  Time expires;
  std::string audience;  // the proxy's URL
  Connectors connectors;
};

}  // namespace mintfs::broker
