#include "broker/claims.h"

#include <algorithm>
#include <unordered_map>

namespace mintfs::broker {

const Rights& repository_rights(const Rights& lease, const ConnectorConfig& connector) {
  return lease.restricts_repositories() ? lease : connector.rights;
}

std::vector<std::string> prefixes_of(const Rights& rights) {
  std::vector<std::string> prefixes;
  for (const auto& pattern : rights.repositories) {
    std::string prefix = pattern.literal_prefix();
    if (prefix.empty()) return {};
    if (std::find(prefixes.begin(), prefixes.end(), prefix) == prefixes.end()) prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

std::vector<std::string> http_spellings(const Address& address, const std::string& prefix) {
  const std::string path = address.authority() + address.prefix + "/" + prefix;
  return {"https://" + path, "http://" + path};
}

std::vector<std::string> ssh_spellings(const Address& address, const std::string& prefix) {
  const std::string host = address.host.find(':') == std::string::npos ? address.host : "[" + address.host + "]";
  return {"git@" + host + ":" + prefix, "ssh://git@" + host + "/" + prefix};
}

std::optional<Clash> find_clash(const Rights& lease, const std::vector<const ConnectorConfig*>& connectors) {
  std::unordered_map<std::string, std::vector<const ConnectorConfig*>> claimed;
  for (const ConnectorConfig* connector : connectors) {
    if (!serves_git(connector->connector_class)) continue;
    auto prefixes = prefixes_of(repository_rights(lease, *connector));
    if (prefixes.empty()) prefixes.emplace_back();
    for (const auto& prefix : prefixes)
      for (auto& spelling : http_spellings(connector->address, prefix)) {
        auto& others = claimed[spelling];
        for (const auto* other : others)
          if (other->priority == connector->priority) return Clash{other, connector, std::move(spelling)};
        others.push_back(connector);
      }
  }
  return std::nullopt;
}

}  // namespace mintfs::broker
