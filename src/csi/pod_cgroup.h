// Where a pod's processes are among the control groups.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mintfs::csi {

// The group that kubelet has made for the pod, whichever way it names it ("pod<uid>" or "...-pod<uid>.slice"), as
// /proc/PID/cgroup has it: "/kubepods/burstable/pod1234", or "pids:/..." where `mounted` is a hierarchy of version
// 1. Empty when there is none (yet). Looks a few levels deep and at a bounded number of groups.
std::string find_pod_cgroup(const std::filesystem::path& mounted, std::string_view uid);

}  // namespace mintfs::csi
