// The version of git, as `git --version` says it.
#pragma once

#include <compare>
#include <optional>
#include <string_view>

namespace mintfs::cli {

struct GitVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const GitVersion&) const = default;
};

// The first that reads GIT_CONFIG_COUNT.
inline constexpr GitVersion kOldestGit{2, 31};

// "git version 2.39.5 (Apple Git-154)" and the like.
std::optional<GitVersion> parse_git_version(std::string_view output);

}  // namespace mintfs::cli
