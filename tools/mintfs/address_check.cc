#include "mintfs/address_check.h"

#include <string>
#include <string_view>

namespace mintfs::cli {
namespace {

bool is_like_a_server(std::string_view prefix) {
  return prefix.empty() || prefix.ends_with("/artifactory") || prefix.ends_with("/nexus") ||
         prefix.ends_with("/repository");
}

}  // namespace

std::vector<Finding> check_addresses(const broker::Config& config) {
  std::vector<Finding> findings;
  for (const auto& connector : config.connectors) {
    if (connector.connector_class != broker::ConnectorClass::maven || !connector.rights.repositories.empty() ||
        !is_like_a_server(connector.address.prefix))
      continue;
    findings.push_back({Finding::State::warn, "address of " + connector.name.text(),
                        "'" + connector.address.text() +
                            "' may be a whole server and not one Maven repository: jobs then read its API as files too",
                        "write the repository's own URL, or take the class nexus or jfrog, or name 'repositories'"});
  }
  return findings;
}

}  // namespace mintfs::cli
