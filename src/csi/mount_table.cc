#include "csi/mount_table.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace mintfs::csi {
namespace {

constexpr std::size_t kLeaseId = 26;
constexpr char kType[] = "fuse.mintfs";

bool is_octal(std::string_view text) { return text.find_first_not_of("01234567") == std::string_view::npos; }

// Space, tab, newline and backslash stand as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text.substr(i + 1, 3));
    plain +=
        escape ? static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')) : text[i];
    if (escape) i += 3;
  }
  return plain;
}

}  // namespace

// The name may have been forgotten by the kernel since: then "//deleted" follows.
std::string MountPoint::lease() const {
  if (type != kType || root.size() <= kLeaseId || root[0] != '/') return {};
  std::string id = root.substr(1, kLeaseId);
  const bool whole = root.size() == kLeaseId + 1 || root.substr(kLeaseId + 1) == "//deleted";
  return whole && id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567") == std::string::npos ? id : std::string();
}

MountTable MountTable::read() {
  std::ifstream file("/proc/self/mountinfo");
  if (!file) throw std::runtime_error("cannot read /proc/self/mountinfo");
  return MountTable(file);
}

// ID PARENT DEVICE ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS
MountTable::MountTable(std::istream& mountinfo) {
  for (std::string line; std::getline(mountinfo, line);) {
    std::istringstream words(line);
    std::string skipped, root, point, word;
    MountPoint mounted;
    words >> skipped >> skipped >> mounted.device >> root >> point;
    while (words >> word && word != "-") continue;
    if (!(words >> mounted.type)) continue;
    mounted.root = unescape(root);
    mounted.point = unescape(point);
    points_.push_back(std::move(mounted));
  }
}

std::vector<MountPoint> MountTable::at(const std::filesystem::path& point) const {
  std::vector<MountPoint> found;
  for (const auto& each : points_)
    if (each.point == point) found.push_back(each);
  return found;
}

std::set<std::string> MountTable::leases_below(const std::filesystem::path& directory) const {
  const std::string prefix = directory.string() + "/";
  std::set<std::string> leases;
  for (const auto& each : points_)
    if (each.point.string().starts_with(prefix) && !each.lease().empty()) leases.insert(each.lease());
  return leases;
}

}  // namespace mintfs::csi
