#include "broker/cgroup.h"

#include "broker/process_watch.h"

#include <algorithm>
#include <array>
#include <fstream>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxText = 1024;

// linux/pidfd.h of Linux 6.13, in its first size.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroupid;
  std::uint32_t others[12];
};
constexpr std::uint64_t kInfoCgroup = 1 << 2;
constexpr unsigned long kGetInfo = _IOWR(0xFF, 11, PidfdInfo);
constexpr unsigned kPidfdThread = O_EXCL;  // Linux 6.9

// 0 where the kernel cannot say.
std::uint64_t cgroup_id_of(pid_t thread) {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, thread, kPidfdThread));
  if (pidfd < 0) return 0;
  PidfdInfo info{.mask = kInfoCgroup, .cgroupid = 0, .others = {}};
  const bool told = ::ioctl(pidfd, kGetInfo, &info) == 0 && (info.mask & kInfoCgroup) != 0;
  ::close(pidfd);
  return told ? info.cgroupid : 0;
}

// Calls `each(hierarchy, path)` for the lines "ID:CONTROLLERS:PATH".
template <class Each>
void for_each_group(pid_t thread, const char* proc, Each each) {
  std::ifstream file(std::string(proc) + "/" + std::to_string(thread) + "/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    each(std::string_view(line).substr(first + 1, second - first - 1), std::string_view(line).substr(second + 1));
  }
}

bool is_below(std::string_view path, std::string_view group) {
  return path.starts_with(group) && (path.size() == group.size() || path[group.size()] == '/');
}

}  // namespace

std::optional<Cgroup> Cgroup::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || text.size() > kMaxText) return std::nullopt;
  Cgroup group{.hierarchy = "", .path = std::string(text.substr(slash)), .id = 0};
  if (slash != 0) {
    if (text[slash - 1] != ':') return std::nullopt;
    group.hierarchy = text.substr(0, slash - 1);
  }
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  // A path as the kernel writes it; "/../x" is a group outside of what is visible here.
  const bool plain = group.path.size() > 1 && !group.path.ends_with('/') &&
                     group.path.find("//") == std::string::npos && group.path.find("/.") == std::string::npos;
  if (!printable || !plain || group.hierarchy.find(':') != std::string::npos) return std::nullopt;
  return group;
}

std::optional<Cgroup> cgroup_of(pid_t process) {
  constexpr std::array<std::string_view, 5> kPreferred = {"", "pids", "memory", "devices", "name=systemd"};
  std::optional<Cgroup> best;
  std::size_t rank = kPreferred.size();
  const std::uint64_t id = cgroup_id_of(process);
  for_each_group(process, "/proc", [&](std::string_view hierarchy, std::string_view path) {
    const auto found = std::find(kPreferred.begin(), kPreferred.end(), hierarchy);
    const auto place = static_cast<std::size_t>(found - kPreferred.begin());
    if (place >= rank) return;
    auto group = Cgroup::parse(std::string(hierarchy) + (hierarchy.empty() ? "" : ":") + std::string(path));
    if (!group) return;
    if (hierarchy.empty()) group->id = id;
    best = std::move(group);
    rank = place;
  });
  return best;
}

bool is_in(pid_t thread, const Cgroup& group, const char* proc) {
  if (thread <= 0) return false;
  if (group.id != 0 && cgroup_id_of(thread) == group.id) return true;
  const std::uint64_t before = process_start_time(thread, proc);
  bool inside = false;
  for_each_group(thread, proc, [&](std::string_view hierarchy, std::string_view path) {
    inside = inside || (hierarchy == group.hierarchy && is_below(path, group.path));
  });
  return inside && before != 0 && process_start_time(thread, proc) == before;
}

}  // namespace mintfs::broker
