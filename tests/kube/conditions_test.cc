#include "kube/conditions.h"

#include "kube/events.h"
#include "kube/fake_api.h"
#include "kube/fields.h"
#include "support/broker_fixture.h"

#include <boost/json.hpp>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;

using namespace std::chrono_literals;

ConnectorStatus status_of(Truth secret) {
  return {.conditions = with_ready({{ConditionType::connector_class_ready, Truth::yes, "Found", ""},
                                    {ConditionType::secret_ready, secret, "Why", "Do this."}}),
          .proxy_url = "http://proxy/",
          .generation = 4};
}

TEST(Conditions, AreReadyTogetherOrSayWhyNot) {
  const auto ready = [](Truth secret) { return status_of(secret).conditions.back(); };
  EXPECT_EQ(ready(Truth::yes).status, Truth::yes);
  EXPECT_EQ(ready(Truth::no).status, Truth::no);
  EXPECT_EQ(ready(Truth::no).message, "Do this.");
  EXPECT_EQ(ready(Truth::unknown).status, Truth::unknown);
  const auto both = with_ready({{ConditionType::secret_ready, Truth::unknown, "Later", ""},
                                {ConditionType::auth_ready, Truth::no, "Refused", ""}});
  EXPECT_EQ(both.back().reason, "Refused");
}

TEST(Conditions, KeepTheTimeOfTheirLastTransition) {
  const broker::Time then(1'767'225'600'000ms);
  const auto first = next_status(nullptr, status_of(Truth::no), then);
  ASSERT_TRUE(first);
  EXPECT_EQ(text_at(*first, {"proxy", "httpAddress", "url"}), "http://proxy/");
  EXPECT_EQ(next_status(&*first, status_of(Truth::no), then + 1h), std::nullopt) << "nothing is news";
  const auto second = next_status(&*first, status_of(Truth::yes), then + 1h);
  ASSERT_TRUE(second);
  const auto& conditions = second->at("conditions").as_array();
  EXPECT_EQ(conditions[0].at("lastTransitionTime"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(conditions[1].at("lastTransitionTime"), "2026-01-01T01:00:00Z");
  EXPECT_EQ(conditions[2].at("type"), "Ready");
}

TEST(Conditions, AreWrittenAgainWhereAnythingElseSaysOtherwise) {
  const broker::Time then(1'767'225'600'000ms);
  const auto first = next_status(nullptr, status_of(Truth::yes), then);
  auto other = status_of(Truth::yes);
  other.generation = 5;
  EXPECT_TRUE(next_status(&*first, other, then));
  other = status_of(Truth::yes);
  other.proxy_url = "https://proxy/";
  EXPECT_TRUE(next_status(&*first, other, then));
  const auto strange = test::object_of(R"({"conditions":[1,{"type":7}],"proxy":[]})");
  EXPECT_TRUE(next_status(&strange, status_of(Truth::yes), then));
}

TEST(Conditions, AreMergedIntoTheStatusAlone) {
  asio::io_context context;
  test::FakeApi api(context);
  api.answer("{}");
  EXPECT_TRUE(test::run(context, patch_status(api, "/things/a", {{"ready", true}})));
  EXPECT_EQ(api.asked[0], "PATCH /things/a/status");
  EXPECT_EQ(api.bodies[0], R"({"status":{"ready":true}})");
}

struct EventsTest : testing::Test {
  Outcome<void> warn(const std::string& message) {
    const ObjectReference about{"connectors.alauda.io/v1alpha1", "Connector", "x", "github", "u1"};
    return test::run(context, events.warn(about, "SecretMissing", message));
  }
  asio::io_context context;
  test::FakeApi api{context};
  test::FakeClock clock;
  Events events{api, clock, "gateway-1"};
};

TEST_F(EventsTest, AreToldOnceInAWhile) {
  api.answer("{}");
  EXPECT_TRUE(warn("a"));
  EXPECT_TRUE(warn("a"));
  ASSERT_EQ(api.asked.size(), 1u);
  EXPECT_EQ(api.asked[0], "POST /api/v1/namespaces/x/events");
  const auto event = test::object_of(api.bodies[0]);
  EXPECT_EQ(text_at(event, {"involvedObject", "uid"}), "u1");
  EXPECT_EQ(text_at(event, {"reason"}), "SecretMissing");
  clock.advance(10min);
  api.answer("{}");
  EXPECT_TRUE(warn("a"));
  EXPECT_EQ(api.asked.size(), 2u);
}

TEST_F(EventsTest, AreBounded) {
  for (std::size_t i = 0; i < Events::kPerMinute; ++i) {
    api.answer("{}");
    EXPECT_TRUE(warn(std::to_string(i)));
  }
  EXPECT_EQ(warn("more").error().reason, Reason::too_many);
  clock.advance(1min);
  api.answer("{}");
  EXPECT_TRUE(warn("more")) << "what was held back may be told later";
}

TEST_F(EventsTest, ThatCouldNotBeToldMayBeToldAgain) {
  api.refuse({.reason = Reason::unreachable, .message = "gone"});
  EXPECT_FALSE(warn("a"));
  api.answer("{}");
  EXPECT_TRUE(warn("a"));
  EXPECT_EQ(api.asked.size(), 2u);
}

}  // namespace
}  // namespace mintfs::kube
