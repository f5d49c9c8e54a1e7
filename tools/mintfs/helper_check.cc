#include "mintfs/helper_check.h"

#include "broker/system_helper.h"
#include "mintfs/program_output.h"

#include <cstdio>
#include <sstream>

#include <unistd.h>

namespace mintfs::cli {
namespace {

// As git looks for what it runs: among its own programs, then in PATH.
bool git_has(const std::string& command, const std::vector<std::string>& environment) {
  std::istringstream all(output_of({"git", "--list-cmds=main,others"}, environment));
  for (std::string each; std::getline(all, each);)
    if (each == command) return true;
  return false;
}

}  // namespace

void warn_of_missing_helper(const std::string& helper, const std::vector<std::string>& environment) {
  if (helper == broker::kOwnMemory) return;
  if (helper.starts_with('/')) {
    if (::access(helper.c_str(), X_OK) != 0)
      std::fprintf(stderr, "mintfs: %s cannot be run, so nothing can be stored; correct --credential-store\n",
                   helper.c_str());
  } else if (!git_has("credential-" + helper, environment)) {
    std::fprintf(stderr,
                 "mintfs: there is no git-credential-%s here, so nothing can be stored; install it, or choose"
                 " another --credential-store\n",
                 helper.c_str());
  }
}

}  // namespace mintfs::cli
