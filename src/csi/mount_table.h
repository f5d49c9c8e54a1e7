// What is mounted where, as the kernel tells it (proc(5), mountinfo). Asks no file system anything, so a dead
// or a waiting one holds nobody up.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <set>
#include <string>
#include <vector>

namespace mintfs::csi {

struct MountPoint {
  std::string device;           // "0:45", one for each file system that was mounted
  std::string root;             // which directory of it
  std::filesystem::path point;  // where
  std::string type;             // "fuse.mintfs"

  // The lease whose view this is; empty: it is none of ours.
  std::string lease() const;
};

class MountTable {
 public:
  static MountTable read();  // of this process; throws when that cannot be
  explicit MountTable(std::istream& mountinfo);

  // The last one is what is seen there.
  std::vector<MountPoint> at(const std::filesystem::path& point) const;
  // Leases whose view is mounted somewhere below.
  std::set<std::string> leases_below(const std::filesystem::path& directory) const;

 private:
  std::vector<MountPoint> points_;
};

}  // namespace mintfs::csi
