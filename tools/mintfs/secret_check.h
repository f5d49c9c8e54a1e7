// Whether the files that a configuration names, of secrets and of authorities, can be used.
#pragma once

#include "broker/config.h"
#include "mintfs/finding.h"

#include <vector>

namespace mintfs::cli {

// One finding per connector for its secret, and one for its ca_file where it has one; what mintfsd
// would refuse at its start fails. Files that this user may not read are not judged (warn): the
// daemon may be another user.
std::vector<Finding> check_named_files(const broker::Config& config);

}  // namespace mintfs::cli
