#include "broker/instance.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

// Whether it was missing and is there now. Missing parents let others pass where the directory itself
// does, whatever the umask is.
bool make_directory(const std::filesystem::path& directory, mode_t mode) {
  const auto parent = directory.parent_path();
  if (!directory.has_filename() && parent != directory) return make_directory(parent, mode);  // "/run/mintfs/"
  std::error_code error;
  if (parent != directory && !std::filesystem::exists(parent, error))
    make_directory(parent, (mode & S_IXOTH) != 0 ? 0755 : 0700);
  return ::mkdir(directory.c_str(), 0700) == 0 && ::chmod(directory.c_str(), mode) == 0;
}

}  // namespace

// It must be the lock of this very directory: the configuration may have changed meanwhile.
bool InstanceLock::adopt(int inherited, const std::filesystem::path& file) {
  struct stat theirs {};
  struct stat ours {};
  if (inherited < 0) return false;
  if (::fstat(inherited, &theirs) == 0 && ::stat(file.c_str(), &ours) == 0 && theirs.st_ino == ours.st_ino &&
      theirs.st_dev == ours.st_dev) {
    descriptor_ = inherited;
    return true;
  }
  ::close(inherited);
  return false;
}

InstanceLock::InstanceLock(const std::filesystem::path& directory, mode_t mode, const std::string& key, int inherited) {
  if (directory.empty())
    throw std::runtime_error(key + " has no default, since " +
                             (key == "daemon.runtime_dir" ? "XDG_RUNTIME_DIR" : "HOME") +
                             " names no directory here; set it, or " + key + " in mintfs.toml");
  const bool made = make_directory(directory, mode);
  // One that was there before keeps its mode, but somebody else's would let them swap what is in it.
  struct stat status {};
  const int reason = errno;
  if (::lstat(directory.c_str(), &status) != 0)
    throw std::runtime_error("cannot make the directory " + directory.string() + ": " +
                             std::generic_category().message(reason) + "; correct " + key + " or the permissions");
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid())
    throw std::runtime_error(directory.string() + " is not a directory of the daemon's own user; correct " + key);
  if (!made && (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    throw std::runtime_error(directory.string() + " can be written by other users; type: chmod go-w " +
                             directory.string());
  const std::filesystem::path file = directory / "lock";
  if (!adopt(inherited, file)) descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor_ < 0)
    throw std::runtime_error("cannot use the directory " + directory.string() + ": " +
                             std::generic_category().message(errno) + "; correct " + key + " or the permissions");
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    char owner[32] = {};
    const ssize_t size = ::pread(descriptor_, owner, sizeof owner - 1, 0);
    ::close(descriptor_);
    throw std::runtime_error("another mintfsd (process " +
                             std::string(owner, size > 0 ? static_cast<std::size_t>(size) : 0) + ") serves " +
                             directory.string() + "; stop it or choose another " + key);
  }
  if (!sign()) {
    const int failed = errno;
    ::close(descriptor_);
    throw std::runtime_error("cannot write " + file.string() + ": " + std::generic_category().message(failed) +
                             "; make room there or choose another " + key);
  }
}

// Cut off afterwards: room that it gave away first could be another's by now.
bool InstanceLock::sign() const {
  const std::string pid = std::to_string(::getpid());
  return ::pwrite(descriptor_, pid.data(), pid.size(), 0) >= 0 &&
         ::ftruncate(descriptor_, static_cast<off_t>(pid.size())) == 0;
}

InstanceLock::~InstanceLock() { release(); }

void InstanceLock::release() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

}  // namespace mintfs::broker
