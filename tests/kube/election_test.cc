#include "kube/election.h"

#include "kube/fake_api.h"
#include "kube/fields.h"
#include "support/broker_fixture.h"

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;

using namespace std::chrono_literals;

struct ElectionTest : testing::Test {
  void attempt() { last = test::run(context, election.attempt()); }
  static std::string held_by(const std::string& who, const std::string& version) {
    return R"({"metadata":{"resourceVersion":")" + version + R"("},"spec":{"holderIdentity":")" + who +
           R"(","acquireTime":"2025-01-01T00:00:00.000000Z","leaseTransitions":3}})";
  }
  asio::io_context context;
  test::FakeApi api{context};
  test::FakePause pause;
  test::FakeClock clock;
  Election::Monotonic now{1000s};
  Election election{api,
                    {.space = "system", .name = "status", .identity = "me"},
                    {.pause = pause, .chance = [] { return 0.5; }, .clock = clock, .now = [this] { return now; }}};
  Outcome<void> last{boost::system::in_place_value};
};

TEST_F(ElectionTest, MakesTheLeaseWhereThereIsNone) {
  api.refuse({.reason = Reason::not_found, .message = "none"});
  api.answer("{}");
  attempt();
  EXPECT_TRUE(election.leads());
  EXPECT_EQ(api.asked[1], "POST /apis/coordination.k8s.io/v1/namespaces/system/leases");
  const auto lease = test::object_of(api.bodies[1]);
  EXPECT_EQ(text_at(lease, {"spec", "holderIdentity"}), "me");
  EXPECT_EQ(text_at(lease, {"spec", "renewTime"}), "2026-01-01T00:00:00.000000Z");
  EXPECT_EQ(number_at(lease, {"spec", "leaseDurationSeconds"}), 15);
}

TEST_F(ElectionTest, TakesOverOnlyWhatHasNotChangedForItsDuration) {
  api.answer(held_by("other", "1"));
  attempt();
  now += 14s;
  api.answer(held_by("other", "2"));  // renewed
  attempt();
  now += 14s;
  api.answer(held_by("other", "2"));
  attempt();
  EXPECT_FALSE(election.leads());
  now += 1s;
  api.answer(held_by("other", "2"));
  api.answer("{}");
  attempt();
  EXPECT_TRUE(election.leads());
  const auto lease = test::object_of(api.bodies.back());
  EXPECT_EQ(text_at(lease, {"metadata", "resourceVersion"}), "2");
  EXPECT_EQ(number_at(lease, {"spec", "leaseTransitions"}), 4);
}

TEST_F(ElectionTest, StaysWithTheTimeItBegan) {
  api.answer(held_by("me", "1"));
  api.answer("{}");
  attempt();
  const auto lease = test::object_of(api.bodies.back());
  EXPECT_EQ(text_at(lease, {"spec", "acquireTime"}), "2025-01-01T00:00:00.000000Z");
  EXPECT_EQ(number_at(lease, {"spec", "leaseTransitions"}), 3);
}

TEST_F(ElectionTest, StopsByItselfBeforeAnotherCanBegin) {
  api.answer(held_by("me", "1"));
  api.answer("{}");
  attempt();
  EXPECT_TRUE(election.leads());
  now += 9s;
  api.refuse({.reason = Reason::unreachable, .message = "gone"});
  attempt();
  EXPECT_TRUE(election.leads());
  now += 1s;
  EXPECT_FALSE(election.leads());
}

TEST_F(ElectionTest, YieldsToWhoWasQuicker) {
  api.answer(held_by("me", "1"));
  api.answer("{}");
  attempt();
  api.answer(held_by("me", "2"));
  api.refuse({.reason = Reason::conflict, .message = "changed"});
  attempt();
  EXPECT_FALSE(election.leads());
  api.answer(held_by("other", "3"));
  attempt();
  EXPECT_FALSE(election.leads());
}

TEST_F(ElectionTest, TriesAgainEachWhileWithJitter) {
  api.answer(held_by("other", "1"));
  asio::co_spawn(context, election.run(), asio::detached);
  context.run();
  EXPECT_EQ(pause.waited, (std::vector<std::int64_t>{2200}));
}

}  // namespace
}  // namespace mintfs::kube
