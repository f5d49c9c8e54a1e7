// Which addresses a connector stands for in a lease: what of a URL is rewritten to it, as git's insteadOf does.
//
// A connector claims every repository of its address, or the prefixes that hold all of the lease's
// repositories. Git takes the longest spelling that a URL begins with, so of two claims only equal ones are in
// each other's way: that is refused when a lease is opened, unless the connectors' priorities differ. The ssh
// spellings know neither port nor path of an address; where only those are equal, they are left out.
#pragma once

#include "broker/config.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mintfs::broker {

// Of the lease where it names any, else of the connector.
const Rights& repository_rights(const Rights& lease, const ConnectorConfig& connector);

// The prefixes that hold all repositories of these rights, such as "acme/"; none: there are no such prefixes.
std::vector<std::string> prefixes_of(const Rights& rights);

// The spellings of one prefix.
std::vector<std::string> http_spellings(const Address& address, const std::string& prefix);
std::vector<std::string> ssh_spellings(const Address& address, const std::string& prefix);

struct Clash {
  const ConnectorConfig* first;
  const ConnectorConfig* second;
  std::string spelling;
};
// Two connectors of the same priority that claim the same, where git is spoken; nothing where there are none.
std::optional<Clash> find_clash(const Rights& lease, const std::vector<const ConnectorConfig*>& connectors);

}  // namespace mintfs::broker
