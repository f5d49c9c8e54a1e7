#include "mintfs/rewrites.h"

#include <gtest/gtest.h>

#include <array>

namespace mintfs::cli {
namespace {

using std::string_literals::operator""s;

const std::filesystem::path kView = "/run/mintfs/fs/abc";

std::string entry(const std::string& file, const std::string& base, const std::string& key, const std::string& value) {
  return "file:" + file + "\0"s + "url." + base + "." + key + "\n" + value + "\0"s;
}
std::string user(const std::string& key, const std::string& value, const std::string& base = "git@github.com:") {
  return entry("/home/me/.gitconfig", base, key, value);
}
std::string view(const std::string& value) {
  return entry("/run/mintfs/fs/abc/.gitconfig", "http://127.0.0.1:8418/namespaces/default/connectors/github/",
               "insteadof", value);
}
bool wins(const std::string& output) { return !overruling(parse_rewrites(output), kView).empty(); }

TEST(Rewrites, AreReadAsGitPrintsThem) {
  const auto rewrites = parse_rewrites(user("pushinsteadof", "https://github.com/", "ssh://git@a.b.c/"));
  ASSERT_EQ(rewrites.size(), 1u);
  EXPECT_EQ(rewrites[0].origin, "/home/me/.gitconfig");
  EXPECT_EQ(rewrites[0].base, "ssh://git@a.b.c/");
  EXPECT_EQ(rewrites[0].spelling, "https://github.com/");
  EXPECT_TRUE(rewrites[0].push);
  for (const auto& nonsense : {""s, "\0"s, "\0\0\0"s, "file:x"s, "file:x\0url.\n"s, "file:x\0url.x"s, "a\0b\nc\0d"s})
    EXPECT_TRUE(parse_rewrites(nonsense).empty());
}

// Each case was seen with git 2.39.
TEST(Rewrites, WinOverAViewByLengthAndOfEqualOnesByOrder) {
  struct Case {
    std::string output;
    bool wins;
  };
  const std::string host = "https://github.com/", owner = "https://github.com/acme/";
  for (const auto& each : {
           Case{user("insteadof", host) + view(host), true},
           Case{view(host) + user("insteadof", host), false},
           Case{user("insteadof", host) + view(owner), false},
           Case{view(host) + user("insteadof", owner), true},
           Case{user("insteadof", "https://") + view(host), false},
           Case{user("insteadof", "https://gitlab.com/") + view(host), false},
           Case{user("pushinsteadof", host) + view(host), true},
           Case{view(host) + user("pushinsteadof", host), true},
           Case{user("pushinsteadof", host) + view(owner), true},
           Case{user("pushinsteadof", "https://") + view(host), true},
           Case{user("pushinsteadof", owner) + view(host), true},
           Case{user("pushinsteadof", "https://gitlab.com/") + view(host), false},
           Case{view(host), false},
       })
    EXPECT_EQ(wins(each.output), each.wins) << each.output;
}

TEST(Rewrites, OfAnotherLeaseLeadToTheSamePlace) {
  const std::string base = "http://127.0.0.1:8418/namespaces/default/connectors/github/";
  EXPECT_FALSE(wins(entry("/run/mintfs/fs/other/.gitconfig", base, "insteadof", "https://github.com/") +
                    view("https://github.com/")));
}

}  // namespace
}  // namespace mintfs::cli
