#include "proxy/moves.h"

#include <gtest/gtest.h>

namespace mintfs::proxy {
namespace {

broker::ConnectorConfig connector(std::string_view name, std::string_view address = "http://git.example") {
  broker::ConnectorConfig made;
  made.name = broker::ConnectorName::parse(name).value();
  made.address = broker::Address::parse(address).value();
  return made;
}

class MovesTest : public testing::Test {
 protected:
  Moves moves;
  Moves::Time now{};
  broker::ConnectorConfig git = connector("git");
};

TEST_F(MovesTest, AreRememberedForTheirConnectorAndAddressAlone) {
  moves.learn(git, "/acme/old", "/acme/new.git", now);
  EXPECT_EQ(moves.find(git, "/acme/old", now), "/acme/new.git");
  EXPECT_EQ(moves.find(git, "/acme/old.git", now), std::nullopt);
  EXPECT_EQ(moves.find(connector("other"), "/acme/old", now), std::nullopt);
  EXPECT_EQ(moves.find(connector("git", "http://elsewhere.example"), "/acme/old", now), std::nullopt);
}

TEST_F(MovesTest, AreLearntAnewAndForgotten) {
  moves.learn(git, "/a", "/b", now);
  moves.learn(git, "/a", "/c", now);
  EXPECT_EQ(moves.find(git, "/a", now), "/c");
  moves.forget(git, "/a");
  moves.forget(git, "/a");
  EXPECT_EQ(moves.find(git, "/a", now), std::nullopt);
}

TEST_F(MovesTest, Expire) {
  moves.learn(git, "/a", "/b", now);
  EXPECT_EQ(moves.find(git, "/a", now + Moves::kRememberedFor - std::chrono::seconds(1)), "/b");
  EXPECT_EQ(moves.find(git, "/a", now + Moves::kRememberedFor), std::nullopt);
}

TEST_F(MovesTest, AreBoundedAndTheOldestGoes) {
  for (std::size_t i = 0; i <= Moves::kMost; ++i) moves.learn(git, "/" + std::to_string(i), "/x", now);
  EXPECT_EQ(moves.find(git, "/0", now), std::nullopt);
  EXPECT_EQ(moves.find(git, "/1", now), "/x");
  EXPECT_EQ(moves.find(git, "/" + std::to_string(Moves::kMost), now), "/x");
}

}  // namespace
}  // namespace mintfs::proxy
