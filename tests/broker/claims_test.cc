#include "broker/claims.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

namespace mintfs::broker {
namespace {

using test::connector;
using test::connector_of;

std::optional<Clash> clash_of(const std::vector<ConnectorConfig>& connectors,
                              const std::vector<std::string>& lease = {}) {
  Rights rights;
  for (const auto& pattern : lease) rights.repositories.emplace_back(pattern);
  std::vector<const ConnectorConfig*> all;
  for (const auto& each : connectors) all.push_back(&each);
  const auto found = find_clash(rights, all);
  return found;
}

ConnectorConfig with_priority(ConnectorConfig made, std::int32_t priority) {
  made.priority = priority;
  return made;
}

TEST(Claims, ClashWhereTwoConnectorsStandForTheSameAddress) {
  const auto whole = connector("a", "https://git.example"), other = connector("b", "https://git.example");
  EXPECT_TRUE(clash_of({whole, other}));
  EXPECT_EQ(clash_of({whole, other})->spelling, "https://git.example/");
  EXPECT_TRUE(clash_of({whole, connector("b", "http://git.example")})) << "either spelling is rewritten";
  EXPECT_TRUE(clash_of({connector("a", "https://git.example", {"acme/*", "x/y"}),
                        connector("b", "https://git.example", {"other/*", "acme/*"})}));
  EXPECT_TRUE(
      clash_of({connector("a", "https://git.example", {"acme/*"}), connector("b", "https://git.example", {"acme/*"})},
               {"acme/app"}))
      << "the lease's own repositories are claimed by both";
}

TEST(Claims, DoNotClashWhereGitCanTellThemApart) {
  EXPECT_FALSE(clash_of(
      {connector("a", "https://git.example", {"acme/*"}), connector("b", "https://git.example", {"other/*"})}));
  EXPECT_FALSE(clash_of({connector("a", "https://git.example"), connector("b", "https://git.example", {"acme/*"})}))
      << "the longer wins";
  EXPECT_FALSE(clash_of(
      {connector("a", "https://git.example", {"acme/*"}), connector("b", "https://git.example", {"acme/app"})}));
  EXPECT_FALSE(clash_of({connector("a", "https://git.example:8443"), connector("b", "https://git.example:9443")}));
  EXPECT_FALSE(clash_of({connector("a", "https://git.example/a"), connector("b", "https://git.example/b")}));
  EXPECT_FALSE(
      clash_of({connector("a", "https://git.example"), connector_of(ConnectorClass::npm, "b", "https://git.example")}))
      << "only git rewrites addresses";
}

TEST(Claims, AreOrderedByPriority) {
  const auto whole = connector("a", "https://git.example"), other = connector("b", "https://git.example");
  EXPECT_FALSE(clash_of({whole, with_priority(other, 1)}));
  EXPECT_FALSE(clash_of({with_priority(whole, -1), other}));
  EXPECT_TRUE(clash_of({with_priority(whole, 1), connector("c", "https://x.example"), with_priority(other, 1)}));
}

}  // namespace
}  // namespace mintfs::broker
