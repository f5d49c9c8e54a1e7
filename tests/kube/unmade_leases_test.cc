#include "kube/unmade_leases.h"

#include "kube/fake_api.h"
#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace mintfs::kube {
namespace {

struct UnmadeLeasesTest : testing::Test {
  void take_away(const std::string& id = "a") { unmade.take_away(id, "/leases/" + id); }
  void show(const std::string& id = "a") {
    auto lease = std::make_shared<broker::Lease>();
    lease->id = id;
    unmade.lease_opened(lease);
  }
  std::vector<std::string> asked() {
    context.restart();
    context.run();
    return std::exchange(api.asked, {});
  }
  const Failure kAbsent{.reason = Reason::not_found}, kAway{.reason = Reason::unreachable};
  boost::asio::io_context context;
  test::FakeApi api{context};
  test::FakePause pause;
  UnmadeLeases unmade{context, api, pause, [] { return 0.5; }};
};

using Asked = std::vector<std::string>;

TEST_F(UnmadeLeasesTest, AreDeletedAtOnceAndThenForgotten) {
  api.answer("{}");
  take_away();
  EXPECT_EQ(asked(), Asked{"DELETE /leases/a"});
  show();
  EXPECT_EQ(asked(), Asked{});
}

TEST_F(UnmadeLeasesTest, AreDeletedWhenTheyAreMadeAfterAll) {
  api.refuse(kAbsent);
  take_away();
  EXPECT_EQ(asked(), Asked{"DELETE /leases/a"});
  api.answer("{}");
  show("another");
  show();
  EXPECT_EQ(asked(), Asked{"DELETE /leases/a"});
}

TEST_F(UnmadeLeasesTest, AreAskedForAgainWhileTheApiServerIsAwayAndNotForever) {
  for (int attempt = 0; attempt < UnmadeLeases::kAttempts; ++attempt) api.refuse(kAway);
  take_away();
  EXPECT_EQ(asked().size(), static_cast<std::size_t>(UnmadeLeases::kAttempts));
  EXPECT_EQ(pause.waited.size(), static_cast<std::size_t>(UnmadeLeases::kAttempts - 1));
  EXPECT_EQ(pause.waited.front(), 500);
}

TEST_F(UnmadeLeasesTest, AreNotAskedForOnceAnotherRequestHasTakenThemAway) {
  api.refuse(kAway);
  api.answer("{}");
  take_away();
  show();
  EXPECT_EQ(asked(), (Asked{"DELETE /leases/a", "DELETE /leases/a"}));
  EXPECT_EQ(pause.waited.size(), 1U);
}

TEST_F(UnmadeLeasesTest, AreBoundedInNumber) {
  for (std::size_t number = 0; number <= UnmadeLeases::kMost; ++number) {
    api.refuse(kAbsent);
    take_away(std::to_string(number));
  }
  EXPECT_EQ(asked().size(), UnmadeLeases::kMost);
  show("0");
  EXPECT_EQ(asked(), Asked{}) << "the oldest is left to its pod's end";
  api.answer("{}");
  show("1");
  EXPECT_EQ(asked(), Asked{"DELETE /leases/1"});
}

}  // namespace
}  // namespace mintfs::kube
