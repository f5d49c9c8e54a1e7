// A broker with its view really mounted, and processes of other users that look at it.
#pragma once

#include "fs/mount.h"
#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::fs {

inline std::string why_not_mountable() {
  if (geteuid() != 0) return "mounting for other users needs root";
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) return "/dev/fuse cannot be opened";
  ::close(device);
  return {};
}

// An open file of the view, read as a whole or in parts.
class File {
 public:
  explicit File(const std::filesystem::path& path, int flags = O_RDONLY)
      : descriptor_(::open(path.c_str(), flags | O_CLOEXEC)), error_(descriptor_ < 0 ? errno : 0) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int descriptor() const { return descriptor_; }
  int error() const { return error_; }  // of the open

  // From the beginning, `step` bytes at a time.
  std::string content(std::size_t step = 65536) const {
    std::string all;
    std::string part(step, '\0');
    for (;;) {
      const ssize_t size = pread(descriptor_, part.data(), step, static_cast<off_t>(all.size()));
      if (size <= 0) return all;
      all.append(part, 0, static_cast<std::size_t>(size));
    }
  }

 private:
  int descriptor_;
  int error_;
};

// Runs `act` in a child process of that user and gives its wait status; the child exits with what
// `act` returns. Only system calls belong there: the parent has threads.
template <class Act>
int status_as(uid_t uid, Act act) {
  const pid_t child = fork();
  if (child == 0) {
    if (uid != 0 && (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)) _exit(255);
    _exit(act());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

template <class Act>
int result_as(uid_t uid, Act act) {
  const int status = status_as(uid, act);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// The errno of opening `path` as that user; 0 when it opens.
inline int open_error_as(uid_t uid, const std::filesystem::path& path, int flags = O_RDONLY) {
  return result_as(uid, [&] { return ::open(path.c_str(), flags) < 0 ? errno : 0; });
}

class Mounted : public testing::Test {
 protected:
  static constexpr uid_t kOwner = 54321, kOther = 54322;

  void SetUp() override {
    if (const std::string reason = why_not_mountable(); !reason.empty()) GTEST_SKIP() << reason;
    broker.broker.observe(mount);
    mount.start();
    lease = broker.open(0);
  }

  std::filesystem::path view_of(const broker::LeasePtr& which) const { return mountpoint / which->id; }
  std::filesystem::path gitconfig() const { return view_of(lease) / ".gitconfig"; }

  test::TestBroker broker;
  std::filesystem::path mountpoint = broker.directory.path() / "fs";
  Mount mount{broker.broker, mountpoint};
  broker::LeasePtr lease;
};

}  // namespace mintfs::fs
