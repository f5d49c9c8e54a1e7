#include "mintfs/machine_checks.h"

#include "mintfs/environment.h"
#include "mintfs/git_version.h"
#include "mintfs/program_output.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/timex.h>
#include <unistd.h>

namespace mintfs::cli {
namespace {

using State = Finding::State;

Finding check_fuse_device() {
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device >= 0) {
    ::close(device);
    return {State::ok, "/dev/fuse", "is there"};
  }
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
    return {State::fail, "/dev/fuse", "is missing, so nothing can be mounted",
            "modprobe fuse; for a container: docker run --device /dev/fuse --cap-add SYS_ADMIN ..."};
  return {State::fail, "/dev/fuse", std::string("cannot be opened: ") + std::strerror(errno),
          errno == EPERM ? "in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN ..."
                         : "sudo chmod 666 /dev/fuse"};
}

std::optional<std::filesystem::path> find_program(std::string_view name) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const auto file = std::filesystem::path(directory) / name;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return std::nullopt;
}

Finding check_fusermount() {
  if (find_program("fusermount3")) return {State::ok, "fusermount3", "is there"};
  return {State::fail, "fusermount3", "is missing; without root mintfsd mounts with its help",
          "sudo apt install fuse3"};
}

// As mintfsd and fusermount3 read it: the words alone on a line.
Finding check_allow_other() {
  constexpr const char* kSpace = " \t\r\v\f";
  std::ifstream file("/etc/fuse.conf");
  for (std::string line; std::getline(file, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    line.erase(line.find_last_not_of(kSpace) + 1);
    line.erase(0, line.find_first_not_of(kSpace));
    if (line == "user_allow_other") return {State::ok, "user_allow_other", "is set in /etc/fuse.conf"};
  }
  return {State::warn, "user_allow_other",
          "is not set: a mintfsd without root serves only processes of its own user (root's not either)",
          "echo user_allow_other | sudo tee -a /etc/fuse.conf   (only if other users shall read views)"};
}

Finding check_git() {
  if (!find_program("git")) return {State::fail, "git", "is missing", "apt install git"};
  std::string said = output_of({"git", "--version"}, merged(environ, {}));
  said.erase(std::min(said.find('\n'), said.size()));
  if (said.empty()) return {State::fail, "git", "does not run", "git --version"};
  const auto version = parse_git_version(said);
  if (!version) return {State::warn, "git", "has an unknown version: " + said};
  if (*version >= kOldestGit) return {State::ok, "git", said};
  return {State::fail, "git", said + " is too old: GIT_CONFIG_COUNT came with 2.31",
          "install a newer git, or use 'mintfs run --via global' (git 2.32) or '--via xdg'"};
}

Finding check_clock() {
  timex state{};
  return judge_clock(::adjtimex(&state));
}

// mintfsd never dumps; git in a job does, and holds a token then.
Finding check_core_dumps() {
  std::ifstream file("/proc/sys/kernel/core_pattern");
  std::string pattern;
  std::getline(file, pattern);
  if (!pattern.starts_with('|'))
    return {State::ok, "core dumps", "stay with the process (core_pattern '" + pattern + "')"};
  return {State::warn, "core dumps",
          "go to a collector ('" + pattern.substr(0, pattern.find(' ')) +
              "'): the dump of a crashed job may hold a token, which is dead once the lease is closed",
          "nothing, or for jobs: ulimit -c 0 and Storage=none in coredump.conf"};
}

}  // namespace

Finding judge_clock(int state) {
  constexpr const char* kConsequence = "; tokens are refused when clocks are over 60 s apart";
  if (state < 0)
    return {State::warn, "clock", std::string("cannot be asked whether it is synchronised") + kConsequence,
            "in a container: look at the host's clock"};
  if (state == TIME_ERROR)
    return {State::warn, "clock", std::string("is not synchronised") + kConsequence, "timedatectl set-ntp true"};
  return {State::ok, "clock", "is synchronised"};
}

std::vector<Finding> check_machine(Mounter mounter) {
  std::vector<Finding> findings;
  if (mounter == Mounter::caller) findings.push_back(check_fuse_device());
  if (mounter == Mounter::caller && ::geteuid() != 0) {
    findings.push_back(check_fusermount());
    findings.push_back(check_allow_other());
  }
  findings.push_back(check_git());
  findings.push_back(check_clock());
  findings.push_back(check_core_dumps());
  return findings;
}

}  // namespace mintfs::cli
