#include "fs/mountpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include <pwd.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

constexpr unsigned kFuseMagic = 0x65735546;  // FUSE_SUPER_MAGIC of linux/magic.h
constexpr int kMaxStacked = 16;

bool is_root() { return geteuid() == 0; }

bool is_in_path(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const auto colon = std::min(rest.find(':'), rest.size());
    if (access((std::string(rest.substr(0, colon)) + "/" + program).c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return false;
}

// statfs(2) always asks the file system, where stat(2) may answer from the kernel's cache.
int state_of(const std::filesystem::path& path, struct statfs& found) {
  return statfs(path.c_str(), &found) == 0 ? 0 : errno;
}

bool is_dead(int error) { return error == ENOTCONN || error == ECONNABORTED || error == ECONNREFUSED; }

// As in mountinfo: white space and backslashes are escaped in octal (proc(5)).
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

bool is_view_mounted(const std::filesystem::path& path) {
  std::ifstream table("/proc/self/mountinfo");
  bool found = false;
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string skipped, point, word, type;
    words >> skipped >> skipped >> skipped >> skipped >> point;
    while (words >> word && word != "-") {
    }
    words >> type;
    if (unescaped(point) == path.string()) found = type == "fuse.mintfs";  // the last is the uppermost
  }
  return found;
}

bool detach(const std::filesystem::path& path) {
  if (is_root()) return umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
  std::string target = path.string();
  char program[] = "fusermount3", unmount[] = "-u", lazy[] = "-z", quiet[] = "-q", end[] = "--";
  char* arguments[] = {program, unmount, lazy, quiet, end, target.data(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, program, nullptr, nullptr, arguments, environ) != 0) return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void prepare_mountpoint(const std::filesystem::path& path) {
  const std::string name = path.string();
  if (access("/dev/fuse", F_OK) != 0)
    throw std::runtime_error(
        "/dev/fuse is missing; load the module with 'modprobe fuse', or start the container with "
        "'--device /dev/fuse --cap-add SYS_ADMIN'");
  if (!is_root() && !is_in_path("fusermount3"))
    throw std::runtime_error("fusermount3 is missing; install the package fuse3, or run mintfsd as root");
  if (!is_root() && getpwuid(getuid()) == nullptr)
    throw std::runtime_error("user " + std::to_string(getuid()) +
                             " has no name, which fusermount3 needs; add the user to /etc/passwd");

  struct statfs found {};
  int error = state_of(path, found);
  for (int stacked = 0; is_dead(error) && stacked < kMaxStacked; ++stacked) {
    if (!detach(path))
      throw std::runtime_error("a dead mount at " + name + " cannot be removed; run 'sudo umount -l " + name + "'");
    error = state_of(path, found);
  }
  if (error == ENOENT) {
    std::error_code failure;
    std::filesystem::create_directories(path, failure);
    if (failure)
      throw std::runtime_error("cannot make the directory " + name + ": " + failure.message() +
                               "; make room there or choose another daemon.runtime_dir");
    return;
  }
  if (error != 0)
    throw std::runtime_error("cannot use " + name + " as mountpoint: " + std::strerror(error) +
                             "; correct its permissions or choose another daemon.runtime_dir");
  if (static_cast<unsigned>(found.f_type) == kFuseMagic)
    throw std::runtime_error("another FUSE file system is mounted at " + name +
                             "; stop the mintfsd that serves it, or choose another daemon.runtime_dir");
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure))
    throw std::runtime_error(name + " is not a directory; remove it, or choose another daemon.runtime_dir");
  const bool empty = std::filesystem::is_empty(path, failure);
  if (failure)
    throw std::runtime_error("cannot read " + name + ": " + failure.message() +
                             "; correct its permissions or choose another daemon.runtime_dir");
  if (!empty)
    throw std::runtime_error("the mountpoint " + name +
                             " is not empty; move its files away, or choose another daemon.runtime_dir");
}

bool sets_user_allow_other(std::istream& conf) {
  constexpr const char* kSpace = " \t\r\v\f";
  for (std::string line; std::getline(conf, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    line.erase(line.find_last_not_of(kSpace) + 1);
    line.erase(0, line.find_first_not_of(kSpace));
    if (line == "user_allow_other") return true;
  }
  return false;
}

bool may_allow_other() {
  if (is_root()) return true;
  std::ifstream file("/etc/fuse.conf");
  return sets_user_allow_other(file);
}

std::string mount_failure(const std::filesystem::path& path, std::string reason) {
  while (!reason.empty() && (reason.back() == '\n' || reason.back() == '.')) reason.pop_back();
  for (const char* prefix : {"fuse: ", "fusermount3: "})
    if (reason.starts_with(prefix)) reason.erase(0, std::strlen(prefix));
  std::string text = "cannot mount at " + path.string();
  if (!reason.empty()) text += " (" + reason + ")";
  if (is_root()) return text + "; in a container, start it with '--device /dev/fuse --cap-add SYS_ADMIN'";
  return text + "; check that " + path.string() + " is yours and that you may read and write /dev/fuse";
}

}  // namespace mintfs::fs
