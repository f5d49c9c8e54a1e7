#include "csi/pod_cgroup.h"

#include <algorithm>
#include <system_error>

namespace mintfs::csi {
namespace {

constexpr int kDeepest = 5;  // of kubelet in a container of its own: /system.slice/x.scope/kubelet/kubepods/burstable
constexpr std::size_t kMost = 100'000;

}  // namespace

std::string find_pod_cgroup(const std::filesystem::path& mounted, std::string_view uid) {
  const std::string plain = "pod" + std::string(uid);
  std::string slice = plain + ".slice";
  std::replace(slice.begin(), slice.end(), '-', '_');

  std::error_code error;
  using Options = std::filesystem::directory_options;
  std::filesystem::recursive_directory_iterator each(mounted, Options::skip_permission_denied, error);
  for (std::size_t seen = 0; !error && each != std::filesystem::end(each) && seen < kMost; ++seen) {
    std::error_code gone;
    const std::string name = each->path().filename();
    const bool fits = name == plain || name == slice || name.ends_with("-" + slice);
    if (fits && each->is_directory(gone)) {
      const bool unified = std::filesystem::exists(mounted / "cgroup.controllers", gone);
      return (unified ? "" : mounted.filename().string() + ":") + "/" +
             each->path().lexically_relative(mounted).string();
    }
    if (each.depth() >= kDeepest) each.disable_recursion_pending();
    each.increment(error);
  }
  return {};
}

}  // namespace mintfs::csi
