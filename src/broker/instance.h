// The daemon as one instance among the processes of the machine.
#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

namespace mintfs::broker {

// Holds a directory for one daemon. The lock goes with the process, however it ends, or over to a
// successor that was given its descriptor.
class InstanceLock {
 public:
  // Makes the directory with `mode` where it is missing and takes `<directory>/lock`; `key` is the
  // configuration key that names it. Throws std::runtime_error with one sentence when another daemon
  // has it, it belongs to another user, or it cannot be written. `inherited` is the lock of a
  // predecessor, or -1; it becomes ours.
  InstanceLock(const std::filesystem::path& directory, mode_t mode, const std::string& key, int inherited = -1);
  ~InstanceLock();
  InstanceLock(const InstanceLock&) = delete;
  InstanceLock& operator=(const InstanceLock&) = delete;

  int descriptor() const { return descriptor_; }
  // Says in the lock who has it, for others to name; false and errno when that failed. A successor that came to
  // nothing may have said that it does.
  bool sign() const;
  // Leaves it to the successor, so that it goes with that one and not with whoever of the two ends last.
  void release();

 private:
  bool adopt(int inherited, const std::filesystem::path& file);

  int descriptor_ = -1;
};

}  // namespace mintfs::broker
