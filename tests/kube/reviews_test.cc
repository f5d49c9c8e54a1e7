#include "kube/reviews.h"

#include "kube/fake_api.h"
#include "kube/fields.h"

#include <boost/json.hpp>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;

std::string kGood() {
  return R"({"status":{"authenticated":true,"audiences":["mintfs"],"user":{
    "username":"system:serviceaccount:team-a:builder","uid":"u1","groups":["system:serviceaccounts"],
    "extra":{"authentication.kubernetes.io/pod-name":["job-1"],"authentication.kubernetes.io/pod-uid":["p1"],
             "authentication.kubernetes.io/node-name":["node-7"]}}}})";
}

std::string without(std::string text, const std::string& part, const std::string& instead = "") {
  const auto at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), instead);
}

struct ReviewTest : testing::Test {
  Outcome<PodIdentity> review(const std::string& answer) {
    api.answer(answer);
    return test::run(context, review_token(api, broker::Secret(std::string_view("t0ken")), "mintfs"));
  }
  asio::io_context context;
  test::FakeApi api{context};
};

TEST_F(ReviewTest, TellsWhoseTokenItIs) {
  const auto pod = review(kGood());
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->space, "team-a");
  EXPECT_EQ(pod->service_account, "builder");
  EXPECT_EQ(pod->pod, "job-1");
  EXPECT_EQ(pod->pod_uid, "p1");
  EXPECT_EQ(pod->node, "node-7");
  const auto sent = test::object_of(api.bodies[0]);
  EXPECT_EQ(text_at(sent, {"spec", "token"}), "t0ken");
  EXPECT_EQ(boost::json::serialize(*value_at(sent, {"spec", "audiences"})), R"(["mintfs"])");
}

TEST_F(ReviewTest, RefusesATokenThatTheServerDoesNotVouchFor) {
  struct Case {
    const char* why;
    std::string answer;
  };
  const Case cases[] = {
      {"not authenticated", without(kGood(), "true", "false")},
      {"authenticated as a word", without(kGood(), "true", "\"true\"")},
      {"no audience confirmed", without(kGood(), R"("audiences":["mintfs"],)")},
      {"another audience", without(kGood(), R"(["mintfs"])", R"(["https://kubernetes.default.svc"])")},
      {"a user", without(kGood(), "system:serviceaccount:team-a:builder", "admin")},
      {"a user with the prefix", without(kGood(), "system:serviceaccount:team-a:builder", "system:serviceaccount:x")},
      {"no pod", without(kGood(), R"("authentication.kubernetes.io/pod-name":["job-1"],)")},
      {"two pods", without(kGood(), R"(["p1"])", R"(["p1","p2"])")},
      {"no node", without(kGood(), "node-name", "node-nome")},
      {"empty", "{}"},
  };
  for (const auto& each : cases) {
    const auto pod = review(each.answer);
    ASSERT_FALSE(pod) << each.why;
    EXPECT_EQ(pod.error().reason, Reason::unauthorized) << each.why;
    EXPECT_EQ(pod.error().text().find("t0ken"), std::string::npos);
  }
}

TEST_F(ReviewTest, AFailureIsNoIdentity) {
  api.refuse({.reason = Reason::forbidden, .message = "no"});
  EXPECT_FALSE(test::run(context, review_token(api, broker::Secret(std::string_view("t")), "mintfs")));
}

TEST_F(ReviewTest, ThatWeOurselvesAreNotKnownSaysNothingOfTheToken) {
  api.refuse({.reason = Reason::unauthorized, .message = "401"});
  const auto pod = test::run(context, review_token(api, broker::Secret(std::string_view("t")), "mintfs"));
  ASSERT_FALSE(pod);
  EXPECT_NE(pod.error().reason, Reason::unauthorized);
}

TEST_F(ReviewTest, AsksWhetherTheServiceAccountMayGetTheConnector) {
  const auto pod = review(kGood());
  ASSERT_TRUE(pod);
  const broker::ConnectorName connector{"team-b", "github"};
  api.answer(R"({"status":{"allowed":true}})");
  EXPECT_TRUE(test::run(context, may_use(api, *pod, connector)) == Outcome<bool>(true));
  const auto spec = test::object_of(api.bodies[1]);
  EXPECT_EQ(boost::json::serialize(*value_at(spec, {"spec"})),
            R"({"user":"system:serviceaccount:team-a:builder","uid":"u1","groups":["system:serviceaccounts"],)"
            R"("resourceAttributes":{"verb":"get","group":"connectors.alauda.io","version":"v1alpha1",)"
            R"("resource":"connectors","namespace":"team-b","name":"github"}})");
  for (const char* const answer : {R"({"status":{"allowed":false}})", R"({"status":{"allowed":true,"denied":true}})",
                                   R"({"status":{"allowed":"true"}})", "{}"}) {
    api.answer(answer);
    EXPECT_TRUE(test::run(context, may_use(api, *pod, connector)) == Outcome<bool>(false)) << answer;
  }
  api.refuse({.reason = Reason::timed_out, .message = "late"});
  EXPECT_FALSE(test::run(context, may_use(api, *pod, connector)).has_value());
}

}  // namespace
}  // namespace mintfs::kube
