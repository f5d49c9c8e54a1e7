// Which environment variables point other tools than git at their files in the view of a lease. Pure.
//
// None holds a token. Tools that have no such variable (yarn 2 and newer, twine, sonar-scanner, Maven before
// 3.9) find their file where HOME is the view, or are told it: docs/configurations.md.
#pragma once

#include "mintfs/environment.h"

namespace mintfs::cli {

void add_tool_variables(Variables& variables, const LeaseView& lease, const Inherited& inherited);

// For git's own list of entries: get from the view's .git-credentials, and store and erase nothing there.
std::string credential_helper(const std::filesystem::path& view);

}  // namespace mintfs::cli
