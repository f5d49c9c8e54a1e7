// Checks of this machine that need no daemon.
#pragma once

#include "mintfs/finding.h"

#include <vector>

namespace mintfs::cli {

// /dev/fuse, fusermount3 and user_allow_other (where not root), git, clock, core dumps.
std::vector<Finding> check_machine();

// `state` is what adjtimex(2) returned; it is refused (-1) in most containers.
Finding judge_clock(int state);

}  // namespace mintfs::cli
