// Any text is a configuration or a ConfigError with one line. What was read keeps its promises, is read
// the same again, and does not stand beside a key that nobody knows.
#include "broker/config.h"
#include "require.h"

#include <optional>
#include <string>
#include <string_view>

using namespace mintfs::broker;
using mintfs::require;

namespace {

std::optional<Config> read(std::string_view text) {
  try {
    return parse_config(text, "fuzz");
  } catch (const ConfigError& error) {
    const std::string_view what(error.what());
    require(what.starts_with("fuzz:"));
    for (const char c : what) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    return std::nullopt;
  }
}

void check_connector(const ConnectorConfig& connector) {
  require(ConnectorName::parse(connector.name.text()) == connector.name);
  const auto address = Address::parse(connector.address.text());
  require(address && *address == connector.address && address->text() == connector.address.text());
  require(!connector.rights.operations.empty());
  for (const auto& pattern : connector.rights.repositories)
    require(RepositoryPattern::is_valid(pattern.text()) && RepositoryPattern(pattern.text()).text() == pattern.text());
  require(connector.formats.empty() || keeps_formats(connector.connector_class));
  for (const auto& [format, repository] : connector.formats)
    require(is_repository_key(repository) &&
            (!connector.rights.restricts_repositories() || connector.rights.giving(repository, connector.letter_case)));
  for (const auto& origin : connector.lfs_origins) require(origin.prefix.empty());
}

bool same(const ConnectorConfig& a, const ConnectorConfig& b) {
  if (a.rights.repositories.size() != b.rights.repositories.size()) return false;
  for (std::size_t i = 0; i < a.rights.repositories.size(); ++i)
    if (a.rights.repositories[i].text() != b.rights.repositories[i].text()) return false;
  return a.name == b.name && a.address == b.address && a.auth == b.auth && a.plain_get == b.plain_get &&
         a.rights.operations == b.rights.operations && a.allow.users == b.allow.users &&
         a.allow.groups == b.allow.groups && a.ca_file == b.ca_file && a.allow_addresses == b.allow_addresses &&
         a.lfs_origins == b.lfs_origins && a.formats == b.formats;
}

bool same(const Config& a, const Config& b) {
  if (a.connectors.size() != b.connectors.size()) return false;
  for (std::size_t i = 0; i < a.connectors.size(); ++i)
    if (!same(a.connectors[i], b.connectors[i])) return false;
  return a.daemon.state_dir == b.daemon.state_dir && a.token.ttl == b.token.ttl && a.lease.max_ttl == b.lease.max_ttl &&
         a.proxy.listen == b.proxy.listen && a.proxy.egress == b.proxy.egress && a.admin.socket == b.admin.socket &&
         a.proxy.url == b.proxy.url && a.audit.file == b.audit.file && a.log.level == b.log.level;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = read(text);
  if (!config) return 0;
  require(config->lease.default_ttl <= config->lease.max_ttl);
  require(config->daemon.runtime_dir.is_absolute() && config->daemon.state_dir.is_absolute());
  require(!config->proxy.listen.empty());
  for (const auto& address : config->proxy.listen) {
    require(ListenAddress::parse(address.text(), false) == address);
    require(!address.tls || !config->proxy.tls_key.empty());
  }
  for (const auto& connector : config->connectors) {
    check_connector(connector);
    for (const auto& other : config->connectors) require(&other == &connector || other.name != connector.name);
  }
  const auto again = read(text);
  require(again && same(*config, *again));
  require(!read(text + "\n[nobody_knows]\n"));
  return 0;
}
