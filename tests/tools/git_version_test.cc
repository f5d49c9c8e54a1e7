#include "mintfs/git_version.h"

#include <gtest/gtest.h>

namespace mintfs::cli {
namespace {

TEST(GitVersion, IsReadAsGitSaysIt) {
  const struct {
    const char* said;
    GitVersion version;
  } cases[] = {
      {"git version 2.39.5", {2, 39}},           {"git version 2.39.5 (Apple Git-154)", {2, 39}},
      {"git version 2.47.1.windows.2", {2, 47}}, {"git version 2.31", {2, 31}},
      {"git version 2.9.0-rc1", {2, 9}},         {"git version 10.0.0", {10, 0}},
  };
  for (const auto& one : cases) EXPECT_EQ(parse_git_version(one.said), one.version) << one.said;
}

TEST(GitVersion, IsUnknownWhereItIsSaidOtherwise) {
  for (const char* said :
       {"", "git", "git version ", "git version x", "git version 2", "git version 2.", "git version 2.x",
        "git version .39", "hub version 2.39", "git version 99999999999999999999.1"})
    EXPECT_FALSE(parse_git_version(said)) << said;
}

TEST(GitVersion, IsComparedByNumberAndNotByText) {
  EXPECT_LT((GitVersion{2, 9}), kOldestGit);
  EXPECT_LT((GitVersion{2, 30}), kOldestGit);
  EXPECT_GE((GitVersion{2, 31}), kOldestGit);
  EXPECT_GE((GitVersion{2, 100}), kOldestGit);
  EXPECT_GE((GitVersion{3, 0}), kOldestGit);
}

}  // namespace
}  // namespace mintfs::cli
