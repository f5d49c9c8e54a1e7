// Control groups (cgroups(7)) that leases can be bound to: then only processes in the group, or in one
// below it, may open the lease's files. It keeps jobs apart that run under one user.
//
// The kernel vouches for the group of a process: by its pidfd where it can (PIDFD_GET_INFO, Linux 6.13),
// in /proc/PID/cgroup everywhere. A process moves itself only where it may write in the group's directory;
// whoever runs jobs must not give them that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace mintfs::broker {

struct Cgroup {
  std::string hierarchy;  // the controllers as in /proc/PID/cgroup; empty for version 2
  std::string path;       // "/ci.slice/job-42.scope", never "/"
  std::uint64_t id = 0;   // the kernel's number of it (version 2 only); 0: not known

  // "/path" or "hierarchy:/path"; nothing when malformed, over 1024 bytes or the root group.
  static std::optional<Cgroup> parse(std::string_view text);
  std::string text() const { return hierarchy.empty() ? path : hierarchy + ":" + path; }
  bool operator==(const Cgroup&) const = default;
};

// The group of a process that says most: of version 2, else of the pids, memory, devices or systemd hierarchy.
// Nothing when it is in the root of all of them, which would say nothing, or has ended.
std::optional<Cgroup> cgroup_of(pid_t process);

// Whether a thread is in the group or below it. False when that cannot be told: it has ended, or is not
// visible here (0). A number that was used again meanwhile is noticed.
// `proc` is where tests have another /proc.
bool is_in(pid_t thread, const Cgroup& group, const char* proc = "/proc");

}  // namespace mintfs::broker
