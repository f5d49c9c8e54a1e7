// From the options of `run` and `lease open` to the body of POST /v1/leases.
#pragma once

#include "mintfs/environment.h"

#include <boost/json/object.hpp>

#include <stdexcept>
#include <string>
#include <vector>

namespace mintfs::cli {

// The command line is wrong: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// As written on the command line; empty where not given.
struct LeaseOptions {
  std::vector<std::string> connectors{};
  std::string uid{};  // a number or a user's name
  std::string ttl{};
  std::vector<std::string> labels{};  // KEY=VALUE
  std::vector<std::string> repositories{};
  std::vector<std::string> references{};
  std::vector<std::string> origins{};
  std::vector<std::string> configurations{};  // names, or several in one with commas
  std::string pid{};
  std::string cgroup{};
  bool read_only = false;
  bool exact_protocol = false;
  std::string credential_store{};
  std::string proxy_url{};
  std::string seen_at{};
};

// Only restrictions that were asked for are in it. Throws UsageError that names the option.
boost::json::object lease_request(const LeaseOptions& options);

// From the daemon's answer.
LeaseView lease_view(const boost::json::object& lease);

// The lease of the whole job, which keeps what one of its steps, of the lease `id`, has stored: the one that
// MINTFS_LEASE names. Throws UsageError where there is none but that.
std::string keeping_lease(const std::string& id);

}  // namespace mintfs::cli
