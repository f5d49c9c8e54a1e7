#include "mintfs/allow_check.h"

#include "broker/policy.h"

#include <string>

namespace mintfs::cli {
namespace {

Finding unknown(const broker::ConnectorConfig& connector, const std::string& kind, const std::string& name) {
  return {Finding::State::warn, "allow of " + connector.name.text(),
          "this machine knows no " + kind + " '" + name + "', so nobody may open a lease by that",
          "correct the name, or: " + kind + "add " + name};
}

}  // namespace

std::vector<Finding> check_allowed(const broker::Config& config) {
  std::vector<Finding> findings;
  broker::Names names;
  for (const auto& connector : config.connectors) {
    for (const auto& user : connector.allow.users)
      if (!names.user(user)) findings.push_back(unknown(connector, "user", user));
    for (const auto& group : connector.allow.groups)
      if (!names.group(group)) findings.push_back(unknown(connector, "group", group));
  }
  return findings;
}

}  // namespace mintfs::cli
