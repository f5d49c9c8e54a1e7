// What libfuse calls for each request of the kernel: it asks the Tree and answers.
#pragma once

#include <fuse_lowlevel.h>

namespace mintfs::fs {

// For a session whose user data is the Tree.
fuse_lowlevel_ops mount_operations();

}  // namespace mintfs::fs
