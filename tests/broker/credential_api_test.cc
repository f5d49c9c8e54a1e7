#include "broker/credential_api.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr uid_t kAlice = 4001;

class CredentialRoutes : public testing::Test {
 protected:
  CredentialRoutes() { api.serve_credentials(credentials, stores); }

  ControlAnswer ask(std::string_view verb, std::string_view body, uid_t uid = kAlice,
                    std::string_view method = "POST") {
    const std::string target = "/v1/leases/" + lease->id + "/credentials/" + std::string(verb);
    return api.answer({.uid = uid, .gid = uid, .groups = {}, .pid = ::getpid()},
                      {.method = method, .target = target, .body = body});
  }

  test::TestBroker broker;
  JobCredentials credentials{broker.clock};
  ControlApi api{broker.broker, "/run/mintfs/fs", {}};
  boost::asio::io_context context;
  HelperStores stores{context, broker.broker, broker.directory.path() / "helpers", [](const std::string&) {}};
  LeasePtr lease = broker.open(kAlice);
};

constexpr std::string_view kStored =
    R"({"protocol":"https","host":"a.example","username":"u","password":"p","password_expiry_utc":4000000000})";

TEST_F(CredentialRoutes, StoreGetAndErase) {
  EXPECT_EQ(ask("get", R"({"protocol":"https","host":"a.example"})").status, 204U);
  EXPECT_EQ(ask("store", kStored).status, 204U);
  const auto got = ask("get", R"({"protocol":"https","host":"a.example"})");
  EXPECT_EQ(got.status, 200U);
  EXPECT_EQ(got.body, R"({"username":"u","password":"p","password_expiry_utc":4000000000})");
  EXPECT_EQ(ask("erase", R"({"host":"a.example","password":"stale"})").status, 204U);
  EXPECT_EQ(credentials.count(), 1U);
  EXPECT_EQ(ask("erase", R"({"host":"a.example"})").status, 204U);
  EXPECT_EQ(credentials.count(), 0U);
}

TEST_F(CredentialRoutes, RefuseWhatIsMalformedWithoutRepeatingIt) {
  for (const auto* body :
       {"", "[]", R"({"canary":"x"})", R"({"protocol":"HTTPS","host":"canary"})",
        R"({"protocol":"https","host":"canary/x"})", R"({"protocol":"https","host":""})",
        R"({"protocol":"https","host":"a","username":"canary\n"})",
        R"({"protocol":"https","host":"a","password":"canary\u0000"})",
        R"({"protocol":"https","host":"a","password":7})", R"({"protocol":"https","host":"a","username":"canary"})",
        R"({"host":"a","username":"canary","password":"x"})", "{}"}) {
    const auto refused = ask("store", body);
    EXPECT_EQ(refused.status, 400U) << body;
    EXPECT_EQ(refused.body.find("canary"), std::string::npos) << refused.body;
  }
  EXPECT_EQ(ask("get", R"({"host":"a"})").status, 400U);
  EXPECT_EQ(ask("erase", "{}").status, 400U);
  EXPECT_EQ(credentials.count(), 0U);
}

TEST_F(CredentialRoutes, AreTheOwnersAndAnAdministratorMayNotGet) {
  ASSERT_EQ(ask("store", kStored).status, 204U);
  constexpr std::string_view kWanted = R"({"protocol":"https","host":"a.example"})";
  for (const auto* verb : {"get", "store", "erase", "hand-over"}) EXPECT_EQ(ask(verb, kStored, 4002).status, 404U);
  EXPECT_EQ(ask("get", kWanted, 0).status, 404U);
  EXPECT_EQ(ask("store", kStored, 0).status, 204U);
  EXPECT_EQ(ask("get", kWanted).status, 200U);
}

TEST_F(CredentialRoutes, AreClosedOutsideTheLeasesControlGroup) {
  LeaseRequest request{.connectors = {"github"}};
  request.uid = kAlice;
  request.cgroup = "/mintfs-test/no-such-group";
  lease = broker.broker.open_lease({}, request).value();
  EXPECT_EQ(ask("store", kStored).status, 403U);
  EXPECT_EQ(ask("get", kStored).status, 403U);
  EXPECT_EQ(credentials.count(), 0U);
}

TEST_F(CredentialRoutes, EndWhenTheLeaseExpiresAndNotAtTheNextHousekeeping) {
  ASSERT_EQ(ask("store", kStored).status, 204U);
  broker.clock.advance(std::chrono::hours(13));
  EXPECT_EQ(ask("get", R"({"protocol":"https","host":"a.example"})").status, 404U);
}

TEST_F(CredentialRoutes, AreNoPathsByAnyOtherNameOrMethod) {
  EXPECT_EQ(ask("list", "{}").status, 404U);
  EXPECT_EQ(ask("get/", "{}").status, 404U);
  EXPECT_EQ(ask("get", "{}", kAlice, "GET").status, 405U);
  ControlApi without(broker.broker, "/run/mintfs/fs", {});
  const std::string target = "/v1/leases/" + lease->id + "/credentials/get";
  EXPECT_EQ(without.answer({.uid = kAlice}, {.method = "POST", .target = target, .body = "{}"}).status, 404U);
}

TEST_F(CredentialRoutes, MintForTheProxyATokenThatTheProxyRedeems) {
  const auto got = ask("get", R"({"protocol":"http","host":"127.0.0.1:8418"})");
  ASSERT_EQ(got.status, 200U) << got.body;
  const auto object = boost::json::parse(got.body).as_object();
  const Access access{.space = "default", .connector = "github", .repository = "acme/app"};
  Scratch scratch;
  EXPECT_TRUE(broker.broker.redeem(std::string(object.at("password").as_string()), access, scratch));
  EXPECT_EQ(object.at("password_expiry_utc").as_int64(), 1'767'225'600 + 30 * 60);
  EXPECT_EQ(ask("store", R"({"protocol":"http","host":"127.0.0.1:8418","username":"u","password":"p"})").status, 204U);
  EXPECT_EQ(credentials.count(), 0U);
}

}  // namespace
}  // namespace mintfs::broker
