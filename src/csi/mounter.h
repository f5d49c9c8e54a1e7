// Mounts views where kubelet wants them.
//
// A view is read-only, nosuid, nodev and noexec from the first moment on: it is copied as a mount that nobody
// sees, restricted, and only then put into its place. Targets are reached from kubelet's directory without
// following a symbolic link, so a pod cannot lead a mount to elsewhere.
#pragma once

#include "csi/mount_table.h"

#include <filesystem>
#include <string>
#include <system_error>

namespace mintfs::csi {

class Mounter {
 public:
  // Throws when there is no such directory.
  explicit Mounter(const std::filesystem::path& kubelet);

  // As the mount table has it. `target` is relative to kubelet's directory, here and below.
  std::filesystem::path point_of(const std::filesystem::path& target) const { return kubelet_ / target; }
  const std::filesystem::path& kubelet() const { return kubelet_; }

  // Makes the target's directory, too; the one above it is kubelet's to make.
  std::error_code bind(const std::filesystem::path& view, const std::filesystem::path& target) const;
  // Takes away all views that are mounted there, dead or alive, whoever still uses them.
  std::error_code unbind(const std::filesystem::path& target) const;
  // Removes the target's directory, which must be empty; that there is none is fine.
  std::error_code remove(const std::filesystem::path& target) const;

  // Whether what is mounted is of the file system that serves this view now, not of one that has died.
  static bool is_alive(const MountTable& table, const MountPoint& mounted, const std::filesystem::path& view);

 private:
  std::filesystem::path kubelet_;
};

}  // namespace mintfs::csi
