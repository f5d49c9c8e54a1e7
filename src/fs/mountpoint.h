// The place where the view is mounted, and what must be there before it can be.
#pragma once

#include <filesystem>
#include <istream>
#include <string>

namespace mintfs::fs {

// Checks that FUSE can be used, detaches what a killed daemon left mounted at `path`, makes the
// directory when it is missing. Throws std::runtime_error with one sentence that names the thing
// and the next step.
void prepare_mountpoint(const std::filesystem::path& path);

// Whether a view of mintfs is mounted at `path`, dead or alive, as the kernel's table says: nobody is
// asked who may not be answering yet.
bool is_view_mounted(const std::filesystem::path& path);

// Takes the uppermost mount at `path` away, also when files are open in it. False when that failed.
bool detach(const std::filesystem::path& path);

// Whether the mount may be seen by other users: always for root, by /etc/fuse.conf otherwise.
bool may_allow_other();

// Whether a fuse.conf says so, read as fusermount3 reads it: the words alone on a line, with space
// around them and a comment behind them at most.
bool sets_user_allow_other(std::istream& conf);

// What to try when mounting fails all the same; `reason` is what libfuse said, if anything.
std::string mount_failure(const std::filesystem::path& path, std::string reason);

}  // namespace mintfs::fs
