#include "kube/client.h"

#include "kube/fake_api.h"

#include <gtest/gtest.h>

namespace mintfs::kube {
namespace {

using namespace std::chrono_literals;

std::string status(const std::string& members) { return R"({"kind":"Status")" + members + "}"; }

TEST(Failure, IsReadFromStatusCodeAndStatusObject) {
  struct Case {
    unsigned code;
    std::string body;
    Reason reason;
  };
  const Case cases[] = {
      {401, "", Reason::unauthorized},
      {403, status(R"(,"reason":"Forbidden")"), Reason::forbidden},
      {404, "<html>", Reason::not_found},
      {409, status(R"(,"reason":"AlreadyExists")"), Reason::already_exists},
      {409, status(R"(,"reason":"Conflict")"), Reason::conflict},
      {410, status(R"(,"reason":"Expired")"), Reason::gone},
      {422, status(R"(,"reason":"Invalid")"), Reason::invalid},
      {429, "", Reason::too_many},
      {500, "", Reason::server_failed},
      {503, "", Reason::server_failed},
      {503, status(R"(,"details":{"retryAfterSeconds":3})"), Reason::too_many},
      {302, "", Reason::malformed},
  };
  for (const auto& each : cases) EXPECT_EQ(to_failure(each.code, each.body, {}).reason, each.reason) << each.code;
}

TEST(Failure, SaysWhatTheServerSaidInPrintableCharactersOnly) {
  const auto failure = to_failure(403, status(R"(,"message":"no\nway \u001b[31m")"), {});
  EXPECT_EQ(failure.text(), "forbidden: the API server answers 403: no?way ?[31m");
  EXPECT_LT(to_failure(403, status(R"(,"message":")" + std::string(9999, 'x') + "\""), {}).message.size(), 600u);
}

TEST(Failure, TakesTheWaitThatIsAskedForUpToABound) {
  EXPECT_EQ(to_failure(429, status(R"(,"details":{"retryAfterSeconds":3})"), {}).retry_after, 3s);
  EXPECT_EQ(to_failure(429, status(R"(,"details":{"retryAfterSeconds":3})"), 9s).retry_after, 9s);
  EXPECT_EQ(to_failure(429, status(R"(,"details":{"retryAfterSeconds":99999999})"), {}).retry_after, 300s);
  EXPECT_EQ(to_failure(429, status(R"(,"details":{"retryAfterSeconds":-1})"), {}).retry_after, std::nullopt);
}

TEST(Failure, OfAnErrorEventTellsWhetherAListHelps) {
  EXPECT_EQ(to_failure(test::object_of(R"({"code":410})")).reason, Reason::gone);
  EXPECT_EQ(to_failure(test::object_of(R"({"reason":"Expired"})")).reason, Reason::gone);
  EXPECT_EQ(to_failure(test::object_of(R"({"code":504})")).reason, Reason::server_failed);
  EXPECT_EQ(to_failure(test::object_of(R"({"code":-7})")).reason, Reason::server_failed);
  EXPECT_EQ(to_failure(test::object_of("{}")).reason, Reason::server_failed);
}

}  // namespace
}  // namespace mintfs::kube
