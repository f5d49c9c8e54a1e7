#include "kube/strangers.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mintfs::kube {
namespace {

using namespace std::chrono_literals;

struct StrangersTest : testing::Test {
  auto ask(const std::string& bearer, const std::string& address = "10.0.0.1") {
    return strangers.ask(broker::Secret(std::string_view(bearer)), address);
  }
  // How many more are asked about, each another one, of `most`.
  int asked(int most, const std::string& address = "10.0.0.1") {
    int count = 0;
    for (int turn = 0; turn < most; ++turn) count += ask("junk " + std::to_string(++serial), address) ? 1 : 0;
    return count;
  }
  int serial = 0;
  Strangers::Monotonic now{1h};
  Strangers strangers{{.of_address = {8, 2}, .in_all = {20, 4}, .now = [this] { return now; }}};
};

TEST_F(StrangersTest, AreBoundedForEachAddressAndInAll) {
  EXPECT_EQ(asked(100), 8);
  EXPECT_EQ(asked(100, "10.0.0.2"), 8);
  EXPECT_EQ(asked(100, "10.0.0.3"), 4) << "no more in all";
  now += 1s;
  EXPECT_EQ(asked(100), 2);
  EXPECT_EQ(asked(100, "10.0.0.2"), 2);
  EXPECT_EQ(asked(100, "10.0.0.3"), 0);
  now += 1h;
  EXPECT_EQ(asked(100), 8);
}

TEST_F(StrangersTest, KeepNoNodeOutThatIsKnown) {
  const auto first = ask("node");
  ASSERT_TRUE(first);
  strangers.is_node(*first);
  EXPECT_EQ(asked(100), 8) << "it has cost nothing";
  EXPECT_EQ(asked(100, "10.0.0.2"), 8);
  EXPECT_EQ(asked(100, "10.0.0.3"), 4);
  for (int turn = 0; turn < 100; ++turn) {
    const auto again = ask("node");
    ASSERT_TRUE(again);
    strangers.is_node(*again);
  }
  EXPECT_EQ(asked(100), 0) << "what was not counted is not given back";
}

TEST_F(StrangersTest, AreNotTheManyNodesBehindOneAddress) {
  for (int node = 0; node < 1000; ++node) {
    const auto question = ask("node " + std::to_string(node));
    ASSERT_TRUE(question) << node;
    strangers.is_node(*question);
  }
}

TEST_F(StrangersTest, HaveWhatWasANodesAndEnded) {
  const auto question = ask("node");
  strangers.is_node(*question);
  strangers.is_nobody(*question);
  EXPECT_EQ(asked(100), 8);
  EXPECT_FALSE(ask("node"));
}

TEST_F(StrangersTest, AreRememberedInABoundedNumber) {
  Strangers many({.of_address = {8, 2}, .in_all = {1e9, 1}, .now = [this] { return now; }});
  const auto ask = [&](int address) {
    return many.ask(broker::Secret(std::string_view("x")), std::to_string(address));
  };
  const int most = Strangers::kMostAddresses;
  for (int address = 0; address < most; ++address) ASSERT_TRUE(ask(address));
  for (int turn = 0; turn < 100; ++turn) ASSERT_TRUE(ask(most)) << "only the bound in all is left";
  now += 10s;
  for (int turn = 0; turn < 8; ++turn) ASSERT_TRUE(ask(most));
  EXPECT_FALSE(ask(most)) << "those that have their whole bound again made room";
}

}  // namespace
}  // namespace mintfs::kube
