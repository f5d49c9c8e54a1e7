// Where a package manager finds its packages at a connector.
//
// A server that keeps repositories of many formats (nexus, jfrog) serves a package manager below the path of one
// repository, and not at its root. Which one is what the connector's `formats` say; where it has none, it is
// the only repository of the rights, if these name just one in full. Nobody guesses where neither says, or
// where the lease has no right to what is said.
#pragma once

#include "broker/config.h"
#include "fs/render.h"

#include <optional>
#include <string>

namespace mintfs::fs {

// What stands behind the connector's URL at the proxy for the file's tool; empty where that is the URL itself.
// Nothing where the connector cannot be in the file.
std::optional<std::string> package_place(Content content, const broker::Rights& lease,
                                         const broker::ConnectorConfig& connector);

}  // namespace mintfs::fs
