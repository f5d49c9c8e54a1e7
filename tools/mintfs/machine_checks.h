// Checks of this machine that need no daemon.
#pragma once

#include "mintfs/finding.h"

#include <vector>

namespace mintfs::cli {

// Whose mintfsd mounts the view: one of the caller's user, or one that serves the caller too.
enum class Mounter { caller, another };

// /dev/fuse, fusermount3 and user_allow_other (where not root) if the caller mounts; git, clock, core dumps.
std::vector<Finding> check_machine(Mounter mounter);

// `state` is what adjtimex(2) returned; it is refused (-1) in most containers.
Finding judge_clock(int state);

}  // namespace mintfs::cli
