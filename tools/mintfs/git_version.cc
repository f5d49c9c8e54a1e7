#include "mintfs/git_version.h"

#include <charconv>

namespace mintfs::cli {

std::optional<GitVersion> parse_git_version(std::string_view output) {
  constexpr std::string_view kBefore = "git version ";
  if (!output.starts_with(kBefore)) return std::nullopt;
  const char* const end = output.data() + output.size();
  GitVersion version;
  const auto major = std::from_chars(output.data() + kBefore.size(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return std::nullopt;
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  return minor.ec == std::errc() ? std::optional(version) : std::nullopt;
}

}  // namespace mintfs::cli
