#include "broker/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

namespace {
int lookups = 0;
}

// Before the C library's, to count how often the system is asked for a name.
extern "C" int getpwnam_r(const char* name, passwd* entry, char* buffer, std::size_t size, passwd** found) {
  ++lookups;
  return reinterpret_cast<decltype(&getpwnam_r)>(::dlsym(RTLD_NEXT, "getpwnam_r"))(name, entry, buffer, size, found);
}
extern "C" int getgrnam_r(const char* name, group* entry, char* buffer, std::size_t size, group** found) {
  ++lookups;
  return reinterpret_cast<decltype(&getgrnam_r)>(::dlsym(RTLD_NEXT, "getgrnam_r"))(name, entry, buffer, size, found);
}

namespace mintfs::broker {
namespace {

TEST(Policy, KnowsARepositoryByOneName) {
  struct Case {
    std::string_view path, name;
  };
  for (const auto& each :
       {Case{"acme/app", "acme/app"}, Case{"/acme/app", "acme/app"}, Case{"acme/app.git", "acme/app"},
        Case{"/acme/app.git/", "acme/app"}, Case{"acme/.git", "acme/.git"}, Case{".git", ".git"},
        Case{"app.git.git", "app.git"}, Case{"acme/app.GIT", "acme/app.GIT"}, Case{"", ""}, Case{"///", ""}})
    EXPECT_EQ(canonical_repository(each.path), each.name) << each.path;
}

TEST(Policy, MatchesRepositories) {
  struct Case {
    std::string_view pattern, repository;
    bool matches;
  };
  for (const auto& each : {
           Case{"acme/app", "acme/app", true},
           Case{"acme/app", "acme/app2", false},
           Case{"acme/app", "acme/ap", false},
           Case{"acme/app", "evil/acme/app", false},
           Case{"acme/app", "acme/app/evil", false},
           Case{"acme/app.git", "acme/app", true},
           Case{"acme/app", "acme/app.git", false},  // whoever asks has taken one ".git" off
           // Letter case is part of the name: another spelling is refused.
           Case{"acme/app", "Acme/App", false},
           Case{"ACME/*", "acme/app", false},
           // One segment.
           Case{"acme/*", "acme/app", true},
           Case{"acme/*", "acme", false},
           Case{"acme/*", "acme/", false},
           Case{"acme/*", "acme/sub/app", false},
           Case{"acme/*", "acme2/app", false},
           Case{"acme/*", "acmeapp", false},
           Case{"*", "app", true},
           Case{"*", "acme/app", false},
           Case{"*", "", false},
           Case{"*/*", "acme/app", true},
           Case{"acme/app-*", "acme/app-", true},
           Case{"acme/app-*", "acme/app-x/y", false},
           Case{"acme/*-*-end", "acme/a-b-c-end", true},
           Case{"acme/*-*-end", "acme/a-end", false},
           Case{"acme/a*b*c", "acme/aXbXbXc", true},
           Case{"acme/a*b*c", "acme/aXbXbX", false},
           // Any number of segments.
           Case{"**", "", true},
           Case{"**", "acme/sub/app", true},
           Case{"acme/**", "acme/sub/app", true},
           Case{"acme/**", "acme", true},
           Case{"acme/**", "acme2", false},
           Case{"acme/**", "acme2/app", false},
           Case{"**/app", "app", true},
           Case{"**/app", "acme/sub/app", true},
           Case{"**/app", "acme/application", false},
           Case{"acme/**/app", "acme/app", true},
           Case{"acme/**/app", "acme/a/b/app", true},
           Case{"acme/**/app", "acme/a/b/app/x", false},
           Case{"acme/**/x/**/app", "acme/x/x/app", true},
           Case{"acme/**/x/**/app", "acme/y/app", false},
           Case{"acme/**/x/*", "acme/x/x/x", true},
       })
    EXPECT_EQ(RepositoryPattern(each.pattern).matches(each.repository), each.matches)
        << each.pattern << " and " << each.repository;
}

TEST(Policy, MatchesAnotherLetterCaseWhereTheServerDoes) {
  struct Case {
    std::string_view pattern, repository;
    bool matches;
  };
  for (const auto& each : {
           Case{"acme/app", "Acme/APP", true},
           Case{"ACME/*", "acme/app", true},
           Case{"acme/**/App-*", "Acme/x/aPP-1", true},
           Case{"acme/app", "acme/app2", false},
           Case{"acme/a_", "acme/a\x7f", false},  // letters alone have a case
           Case{"acme/a@", "acme/a`", false},
           Case{"acme/a[", "acme/a{", false},
       })
    EXPECT_EQ(RepositoryPattern(each.pattern).matches(each.repository, LetterCase::ignored), each.matches)
        << each.pattern << " and " << each.repository;
  EXPECT_TRUE(RepositoryPattern("ACME/*").covers(RepositoryPattern("acme/App"), LetterCase::ignored));
  EXPECT_FALSE(RepositoryPattern("ACME/app").covers(RepositoryPattern("acme/*"), LetterCase::ignored));
}

// A pattern is an opener's choice: it must not cost more than its length times the path's.
TEST(Policy, MatchesHostilePatternsQuickly) {
  std::string stars, deep, path, name;
  for (int i = 0; i < 60; ++i) stars += "*a", deep += "**/a/", path += "a/", name += "aaaa";
  EXPECT_FALSE(RepositoryPattern(stars + "b").matches(name));
  EXPECT_FALSE(RepositoryPattern(deep.substr(0, 245) + "b").matches(path + path + path + "c"));
}

TEST(Policy, AcceptsPatternsThatMeanOneThing) {
  for (const std::string_view text : {"acme/app", "acme/*", "acme/**", "**", "*", "a", "/acme/app.git", "acme/.git",
                                      "...", "acme/a*b*", "group/sub/app", "acme/app@v1", "~user/app"})
    EXPECT_TRUE(RepositoryPattern::is_valid(text)) << text;
  EXPECT_TRUE(RepositoryPattern::is_valid(std::string(255, 'a')));
}

TEST(Policy, RefusesPatternsThatAreNoRepository) {
  for (const std::string_view text : {"",        "/",         "//",       ".",        "..",
                                      "acme/..", "acme/../x", "acme/./x", "acme//x",  "acme/...git",
                                      "a**",     "acme/**x",  "***",      "a b",      "a\tb",
                                      "a\nb",    "a\"b",      "a\\b",     "a%2fb",    "a;b",
                                      "a#b",     "a?b",       "a\x7f",    "\xc3\xa4", "acme/app.git.git"})
    EXPECT_FALSE(RepositoryPattern::is_valid(text)) << text;
  EXPECT_FALSE(RepositoryPattern::is_valid(std::string(256, 'a')));
  EXPECT_FALSE(RepositoryPattern::is_valid(std::string_view("a\0b", 3)));
}

// A lease file holds the text of a pattern; reading it back must not change the rights.
TEST(Policy, ReadsAPatternBackAsItWasWritten) {
  for (const std::string_view text : {"acme/app.git", "/acme/*", "acme/.git", "*.git", "acme/**"}) {
    const RepositoryPattern once(text);
    EXPECT_TRUE(RepositoryPattern::is_valid(once.text()));
    EXPECT_EQ(RepositoryPattern(once.text()).text(), once.text());
  }
}

TEST(Policy, CoversWhatItMatchesWhollyOnly) {
  struct Case {
    std::string_view given, asked;
    bool covers;
  };
  for (const auto& each : {
           Case{"**", "**", true},
           Case{"**", "acme/app", true},
           Case{"**", "acme/**/x", true},
           Case{"acme/*", "acme/*", true},
           Case{"acme/*", "acme/app", true},
           Case{"acme/*", "acme/a*z", true},
           Case{"acme/*", "acme/**", false},
           Case{"acme/*", "*/*", false},
           Case{"acme/*", "**", false},
           Case{"acme/a*", "acme/*a", false},
           Case{"acme/a*", "acme/ab*", true},
           Case{"acme/app", "acme/*", false},
           Case{"*", "**", false},
           Case{"*/*", "**/**", false},
           Case{"acme/**", "acme/**", true},
           Case{"acme/**", "acme/sub/**", true},
           Case{"acme/**", "acme/*/x", true},
           Case{"acme/**", "acme2/**", false},
           Case{"acme/**", "**/x", false},
           Case{"acme/**", "**", false},
           Case{"a*/**", "ab/c/**", true},
           Case{"**/app", "acme/**/app", true},
           Case{"**/app", "acme/**", false},
           // ".git" is taken off at the end of a path only.
           Case{"acme/**", "acme.git/**", false},
           Case{"acme.git/**", "acme/**", false},
           Case{"acme.git/**", "acme.git/x", true},
       })
    EXPECT_EQ(RepositoryPattern(each.given).covers(RepositoryPattern(each.asked)), each.covers)
        << each.given << " and " << each.asked;
}

// Every pattern and path of up to three segments over a small alphabet: a yes must hold for each path.
TEST(Policy, NeverCoversMoreThanItMatches) {
  const auto combine = [](const std::vector<std::string>& segments) {
    std::vector<std::string> all = segments, level = segments;
    for (int depth = 2; depth <= 3; ++depth) {
      std::vector<std::string> next;
      for (const auto& head : level)
        for (const auto& tail : segments) next.push_back(head + "/" + tail);
      all.insert(all.end(), next.begin(), next.end());
      level = std::move(next);
    }
    return all;
  };
  std::vector<RepositoryPattern> patterns;
  for (const auto& text : combine({"a", "a.git", "*", "a*", "**"}))
    if (RepositoryPattern::is_valid(text)) patterns.emplace_back(text);
  const auto paths = combine({"a", "b", "ab", "a.git"});
  std::vector<std::vector<bool>> matches;
  for (const auto& pattern : patterns) {
    auto& row = matches.emplace_back();
    for (const auto& path : paths) row.push_back(pattern.matches(path));
  }
  int yes = 0;
  for (std::size_t given = 0; given < patterns.size(); ++given)
    for (std::size_t asked = 0; asked < patterns.size(); ++asked) {
      if (!patterns[given].covers(patterns[asked])) continue;
      ++yes;
      for (std::size_t path = 0; path < paths.size(); ++path)
        ASSERT_TRUE(!matches[asked][path] || matches[given][path])
            << patterns[given].text() << " must not cover " << patterns[asked].text() << ": " << paths[path];
    }
  EXPECT_GT(yes, 1000);
}

TEST(Policy, TellsThePrefixThatRewritesAPattern) {
  struct Case {
    std::string_view pattern, prefix;
  };
  for (const auto& each : {Case{"acme/*", "acme/"}, Case{"acme/**", "acme/"}, Case{"group/sub/*", "group/sub/"},
                           Case{"acme/app", "acme/app"}, Case{"acme/a*", ""}, Case{"*", ""}, Case{"**", ""},
                           Case{"*/app", ""}, Case{"acme/*/app", ""}, Case{"acme/**/app", ""}})
    EXPECT_EQ(RepositoryPattern(each.pattern).literal_prefix(), each.prefix) << each.pattern;
}

TEST(Policy, NamesThePatternThatGivesARepository) {
  Rights rights;
  rights.repositories = {RepositoryPattern("acme/*"), RepositoryPattern("other/one")};
  const auto giving = [&](std::string_view name, LetterCase letters = LetterCase::counts) {
    const auto* const pattern = rights.giving(name, letters);
    return pattern == nullptr ? std::string() : pattern->text();
  };
  EXPECT_EQ(giving("acme/app"), "acme/*");
  EXPECT_EQ(giving("other/one"), "other/one");
  EXPECT_EQ(giving("Other/one"), "");
  EXPECT_EQ(giving("Other/one", LetterCase::ignored), "other/one");
  EXPECT_EQ(giving("other/two"), "");
  EXPECT_EQ(giving(""), "");
}

TEST(Policy, IntersectsOperations) {
  const auto fetch = Operations::only(Operation::fetch);
  const auto push = Operations::only(Operation::push);
  EXPECT_EQ(Operations::all() & fetch, fetch);
  EXPECT_TRUE((fetch & push).empty());
  EXPECT_EQ(fetch | push, Operations::all());
  EXPECT_FALSE(fetch.contains(Operation::push));
  EXPECT_EQ(Operations::all().names(), (std::vector<std::string_view>{"fetch", "push"}));
  EXPECT_TRUE(Operations().names().empty());
}

constexpr uid_t kSomebody = 4001;

TEST(Policy, AdmitsUsersAndGroupsByNumber) {
  const Caller caller{.uid = kSomebody, .gid = 5001, .groups = {5002, 5003}};
  EXPECT_FALSE(admits({}, caller));
  EXPECT_TRUE(admits({.users = {"4001"}}, caller));
  EXPECT_FALSE(admits({.users = {"4002"}}, caller));
  EXPECT_TRUE(admits({.groups = {"5001"}}, caller));
  EXPECT_TRUE(admits({.groups = {"9", "5003"}}, caller));
  EXPECT_FALSE(admits({.groups = {"4001"}}, caller));
  EXPECT_FALSE(admits({.users = {"5001"}}, caller));
}

TEST(Policy, AdmitsUsersAndGroupsByName) {
  const passwd* user = getpwnam("daemon");
  const group* team = getgrnam("daemon");
  if (user == nullptr || team == nullptr) GTEST_SKIP() << "there is no user and group 'daemon' here";
  const uid_t uid = user->pw_uid;
  EXPECT_TRUE(admits({.users = {"daemon"}}, {.uid = uid, .gid = 1'000'000}));
  EXPECT_FALSE(admits({.users = {"daemon"}}, {.uid = kSomebody, .gid = uid}));
  EXPECT_TRUE(admits({.groups = {"daemon"}}, {.uid = kSomebody, .gid = 7, .groups = {team->gr_gid}}));
}

TEST(Policy, AdmitsNobodyByANameThatDoesNotExist) {
  const Caller caller{.uid = kSomebody, .gid = 5001};
  for (const std::string name :
       {"no-such-user-here", "", " 4001", "4001 ", "+4001", "-1", "4001x", "0x1", "4294971297"})
    EXPECT_FALSE(admits({.users = {name}, .groups = {name}}, caller)) << name;
}

TEST(Policy, AsksTheSystemForEachNameOnce) {
  const Caller caller{.uid = kSomebody, .gid = 5001};
  const Allow allow{.users = {"no-such-user-here"}, .groups = {"no-such-group-here"}};
  Names names;
  lookups = 0;
  for (int connector = 0; connector < 1000; ++connector) EXPECT_FALSE(admits(allow, caller, names));
  EXPECT_EQ(lookups, 2);
  Names later;
  EXPECT_FALSE(admits(allow, caller, later));
  EXPECT_EQ(lookups, 4) << "the next request asks again: the user may be there now";
}

TEST(Policy, AlwaysAdmitsRootAndTheDaemonsOwnUser) {
  EXPECT_TRUE(admits({}, {.uid = 0}));
  EXPECT_TRUE(admits({}, {.uid = geteuid()}));
  EXPECT_FALSE(is_administrator(kSomebody));
}

}  // namespace
}  // namespace mintfs::broker
