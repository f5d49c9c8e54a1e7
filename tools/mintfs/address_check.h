// Whether connectors' addresses lead to what their class says.
#pragma once

#include "broker/config.h"
#include "mintfs/finding.h"

#include <vector>

namespace mintfs::cli {

// One finding (warn) for each Maven repository whose address is rather that of a Nexus or Artifactory: its API then is
// to mintfs some more directories of files, which whoever has the right to all may read.
std::vector<Finding> check_addresses(const broker::Config& config);

}  // namespace mintfs::cli
