// Whether git, as it is configured here, goes through the view of a lease.
#pragma once

#include "mintfs/environment.h"
#include "mintfs/finding.h"

#include <filesystem>
#include <string>
#include <vector>

namespace mintfs::cli {

// Asks git once, in the current directory and with `environment` (as merged() gives it), and returns
// a warning for each line that sends git past `view`. It names the line without its base, which may
// hold a password. Nothing where git cannot be asked: the job's own git will say why.
std::vector<Finding> check_rewrites(const std::filesystem::path& view, Via via,
                                    const std::vector<std::string>& environment);

// The same on standard error, for a job that is about to start.
void warn_of_rewrites(const std::filesystem::path& view, Via via, const std::vector<std::string>& environment);

}  // namespace mintfs::cli
