#include "broker/reference.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {
namespace {

TEST(Reference, IsNamedInFullAndAsGitHasIt) {
  for (const std::string_view name :
       {"refs/heads/main", "refs/heads/bot/a.b", "refs/tags/v1.0", "refs/stash", "refs/for/main%submit", "refs/heads/@",
        "refs/heads/-x", "refs/heads/\xc3\xa4", "refs/heads/a.lock.b"})
    EXPECT_TRUE(is_reference(name)) << name;
  for (const std::string_view name : {"",
                                      "HEAD",
                                      "main",
                                      "heads/main",
                                      "refs",
                                      "refs/",
                                      "/refs/heads/x",
                                      "refs//x",
                                      "refs/heads/",
                                      "refs/heads//x",
                                      "refs/heads/.x",
                                      "refs/heads/x.",
                                      "refs/heads/x.lock",
                                      "refs/heads/x.lock/y",
                                      "refs/heads/../tags/x",
                                      "refs/heads/a..b",
                                      "refs/heads/./x",
                                      "refs/heads/a b",
                                      "refs/heads/a\nb",
                                      "refs/heads/a\tb",
                                      "refs/heads/a\x7f",
                                      "refs/heads/a~1",
                                      "refs/heads/a^",
                                      "refs/heads/a:b",
                                      "refs/heads/a?",
                                      "refs/heads/a*",
                                      "refs/heads/[a]",
                                      "refs/heads/a\\b",
                                      "refs/heads/a@{1}",
                                      "REFS/heads/x"})
    EXPECT_FALSE(is_reference(name)) << name;
  EXPECT_FALSE(is_reference(std::string_view("refs/heads/a\0b", 14)));
  EXPECT_TRUE(is_reference("refs/" + std::string(kMaxReference - 5, 'a')));
  EXPECT_FALSE(is_reference("refs/" + std::string(kMaxReference - 4, 'a')));
}

TEST(Reference, PatternsAreNamesWithOneStar) {
  for (const std::string_view text : {"refs/heads/main", "refs/heads/*", "refs/*", "refs/heads/bot-*", "refs/heads/*/x",
                                      "refs/heads/bot*end", "refs/*/main"})
    EXPECT_TRUE(ReferencePattern::is_valid(text)) << text;
  for (const std::string_view text :
       {"", "*", "main", "heads/*", "refs/heads/**", "refs/*/bot/*", "refs/heads/.*", "refs/heads/*.lock",
        "refs/heads/", "refs/heads//*", "refs/heads/../*", "refs/heads/a b", "refs/heads/?", "refs/heads/[ab]",
        "!refs/heads/x", "refs/heads/\xc3\xa4"})
    EXPECT_FALSE(ReferencePattern::is_valid(text)) << text;
  EXPECT_FALSE(ReferencePattern::is_valid("refs/" + std::string(251, 'a')));
}

TEST(Reference, MatchesAsARefspecDoes) {
  struct Case {
    std::string_view pattern, name;
    bool matches;
  };
  for (const auto& each : {
           Case{"refs/heads/main", "refs/heads/main", true},
           Case{"refs/heads/main", "refs/heads/main2", false},
           Case{"refs/heads/main", "refs/heads/mai", false},
           Case{"refs/heads/main", "refs/heads/Main", false},
           Case{"refs/heads/main", "refs/heads/main/x", false},
           Case{"refs/heads/bot/*", "refs/heads/bot/a", true},
           Case{"refs/heads/bot/*", "refs/heads/bot/a/b", true},
           Case{"refs/heads/bot/*", "refs/heads/bot", false},
           Case{"refs/heads/bot/*", "refs/heads/bots/a", false},
           Case{"refs/heads/bot*", "refs/heads/bots/a", true},
           Case{"refs/heads/bot/*", "refs/heads/Bot/a", false},
           Case{"refs/heads/bot/*", "x/refs/heads/bot/a", false},
           Case{"refs/*/main", "refs/heads/main", true},
           Case{"refs/*/main", "refs/main", false},  // the parts do not overlap
           Case{"refs/heads/a*a", "refs/heads/aa", true},
           Case{"refs/heads/a*a", "refs/heads/a", false},
           Case{"refs/*", "refs/stash", true},
       })
    EXPECT_EQ(ReferencePattern(each.pattern).matches(each.name), each.matches) << each.pattern << " and " << each.name;
}

TEST(Reference, IsDeniedInAnyLetterCase) {
  const ReferenceRules rules{.allow = {ReferencePattern("refs/heads/*")},
                             .deny = {ReferencePattern("refs/heads/main"), ReferencePattern("refs/heads/rel/*")}};
  for (const std::string_view name :
       {"refs/heads/main", "refs/heads/MAIN", "REFS/heads/main", "refs/heads/Rel/1", "refs/heads/rel/a/b"})
    EXPECT_NE(rules.denying(name), nullptr) << name;
  EXPECT_EQ(rules.denying("refs/heads/mains"), nullptr);
  EXPECT_NE(rules.allowing("refs/heads/x"), nullptr);
  EXPECT_EQ(rules.allowing("refs/Heads/x"), nullptr);
}

TEST(Reference, RulesRestrictWhereThereIsOne) {
  EXPECT_FALSE(ReferenceRules().restrict());
  EXPECT_TRUE(ReferenceRules{.allow = {ReferencePattern("refs/*")}}.restrict());
  EXPECT_TRUE(ReferenceRules{.deny = {ReferencePattern("refs/x")}}.restrict());
  EXPECT_TRUE(ReferenceRules{.deny_create = true}.restrict());
  EXPECT_TRUE(ReferenceRules{.deny_delete = true}.restrict());
}

// Every pattern and name over a small alphabet: a yes must hold for each name, and a no must have one
// against it.
TEST(Reference, CoversWhatItMatchesWhollyOnly) {
  std::vector<std::string> words{""}, names;
  for (std::size_t begin = 0, length = 1; length <= 4; ++length) {
    const std::size_t end = words.size();
    for (; begin < end; ++begin)
      for (const char c : {'a', 'b', '*'}) words.push_back(words[begin] + c);
  }
  std::vector<ReferencePattern> patterns;
  for (const auto& word : words) {
    if (is_reference("refs/" + word)) names.push_back("refs/" + word);
    if (word.size() <= 3 && ReferencePattern::is_valid("refs/" + word)) patterns.emplace_back("refs/" + word);
  }
  int yes = 0;
  for (const auto& given : patterns)
    for (const auto& asked : patterns) {
      bool holds = true;
      for (const auto& name : names) holds = holds && (!asked.matches(name) || given.matches(name));
      if (given.covers(asked)) {
        ++yes;
        EXPECT_TRUE(holds) << given.text() << " must not cover " << asked.text();
      }
    }
  EXPECT_GT(yes, 100);
}

}  // namespace
}  // namespace mintfs::broker
