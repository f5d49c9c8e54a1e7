#include "csi/mounter.h"

#include <cerrno>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mintfs::csi {
namespace {

std::error_code last_error() { return {errno, std::system_category()}; }

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_;
};

constexpr int kPlace = O_PATH | O_DIRECTORY | O_CLOEXEC;

int open_below(int directory, const std::filesystem::path& path) {
  open_how how{.flags = kPlace, .mode = 0, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how));
}

}  // namespace

Mounter::Mounter(const std::filesystem::path& kubelet) {
  std::error_code error;
  kubelet_ = std::filesystem::canonical(kubelet, error);
  if (error)
    throw std::runtime_error("kubelet's directory " + kubelet.string() + ": " + error.message() +
                             "; --kubelet-dir must be kubelet's --root-dir");
}

std::error_code Mounter::bind(const std::filesystem::path& view, const std::filesystem::path& target) const {
  const Descriptor copy(::open_tree(AT_FDCWD, view.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  if (!copy) return last_error();
  mount_attr attributes{};
  attributes.attr_set =
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;
  attributes.propagation = MS_PRIVATE;  // nothing that happens to the daemon's mount happens to the pod's
  if (::mount_setattr(copy.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) return last_error();

  const Descriptor kubelet(::open(kubelet_.c_str(), kPlace));
  const Descriptor above(kubelet ? open_below(kubelet.get(), target.parent_path()) : -1);
  if (!above) return last_error();
  if (::mkdirat(above.get(), target.filename().c_str(), 0750) != 0 && errno != EEXIST) return last_error();
  const Descriptor place(open_below(above.get(), target.filename()));
  if (!place) return last_error();
  if (::move_mount(copy.get(), "", place.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    return last_error();
  return {};
}

std::error_code Mounter::unbind(const std::filesystem::path& target) const {
  const auto point = point_of(target);
  for (auto left = MountTable::read().at(point); !left.empty(); left.pop_back()) {
    if (left.back().lease().empty()) return std::make_error_code(std::errc::device_or_resource_busy);
    if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL) return last_error();
  }
  return {};
}

std::error_code Mounter::remove(const std::filesystem::path& target) const {
  const Descriptor kubelet(::open(kubelet_.c_str(), kPlace));
  const Descriptor above(kubelet ? open_below(kubelet.get(), target.parent_path()) : -1);
  if (!above) return errno == ENOENT ? std::error_code() : last_error();
  if (::unlinkat(above.get(), target.filename().c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return last_error();
  return {};
}

bool Mounter::is_alive(const MountTable& table, const MountPoint& mounted, const std::filesystem::path& view) {
  const auto serving = table.at(view.parent_path());
  return !serving.empty() && serving.back().device == mounted.device;
}

}  // namespace mintfs::csi
