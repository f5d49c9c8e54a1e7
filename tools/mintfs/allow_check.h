// Whether this machine knows the users and groups that a configuration lets open leases.
#pragma once

#include "broker/config.h"
#include "mintfs/finding.h"

#include <vector>

namespace mintfs::cli {

// One finding (warn) for each name in an `allow` that is unknown here: mintfsd lets nobody in by it and says nothing,
// since the user may be made later.
std::vector<Finding> check_allowed(const broker::Config& config);

}  // namespace mintfs::cli
