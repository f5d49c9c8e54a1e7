// Whether the helper that shall keep what a job stores is there.
#pragma once

#include <string>
#include <vector>

namespace mintfs::cli {

// A line on standard error where git, as it is found with `environment`, has no such helper (`--credential-store`):
// the job's own git would say so only when something is stored. It is no error, since the job may run elsewhere.
void warn_of_missing_helper(const std::string& helper, const std::vector<std::string>& environment);

}  // namespace mintfs::cli
