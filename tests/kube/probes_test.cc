#include "kube/probes.h"

#include "kube/fake_api.h"

#include <gmock/gmock.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <set>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
using broker::Errc;
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

struct Nobody final : Serving {
  void serve(const broker::ConnectorConfig& /*connector*/, const broker::Secret* /*password*/) override {}
  void withdraw(const broker::ConnectorName& /*name*/) override {}
};

// Servers whose answers wait until the test lets them go.
struct ProbesTest : testing::Test {
  static inline const std::string kClass =
      R"({"metadata":{"name":"git"},"spec":{"auth":{"types":[{"name":"basicAuth","secretType":"kubernetes.io/basic-auth"}]}}})";
  static std::string secret(const std::string& version) {
    return R"({"metadata":{"name":"s","namespace":"a","resourceVersion":")" + version +
           R"("},"type":"kubernetes.io/basic-auth","data":{"username":"Ym90","password":"cHc="}})";
  }
  static std::string connector(const std::string& name, const std::string& address = "https://h") {
    return R"({"metadata":{"name":")" + name +
           R"(","namespace":"a","uid":"u","generation":1},"spec":{"connectorClassName":"git","address":")" + address +
           R"(","auth":{"name":"basicAuth","secretRef":{"name":"s"}}}})";
  }

  ProbesTest() {
    for (ObjectSink* each : {&catalog.connectors(), &catalog.classes(), &catalog.secrets()}) {
      each->begin();
      each->complete();
    }
    catalog.classes().upsert(test::object_of(kClass));
    catalog.secrets().upsert(test::object_of(secret("1")));
  }

  asio::awaitable<Probed> ask(const Connector& connector) {
    asked.push_back(connector.name.name);
    if (held) co_await gate.async_wait(asio::as_tuple(asio::use_awaitable));
    co_return said;
  }
  void put(const std::string& name, const std::string& address = "https://h") {
    catalog.connectors().upsert(test::object_of(connector(name, address)));
  }
  // One turn, and whatever it began, as far as it gets.
  std::vector<std::string> turn() {
    asked.clear();
    asio::co_spawn(context, probes.turn(), asio::detached);
    context.restart();
    context.poll();
    return asked;
  }

  asio::io_context context;
  test::FakePause pause;
  Nobody nobody;
  Catalog catalog{nobody};
  asio::steady_timer gate{context, asio::steady_timer::time_point::max()};
  bool held = false;
  bool leads = true;
  Probed said{.status = 200, .tried = true};
  Probes::Monotonic now{1000s};
  std::vector<std::string> asked, told;
  Probes probes{catalog,
                {.pause = pause,
                 .ask = [this](const Connector& connector) { return ask(connector); },
                 .leads = [this] { return leads; },
                 .told = [this](const ObjectName& name) { told.push_back(name.name); },
                 .now = [this] { return now; }}};
};

TEST_F(ProbesTest, AskEachServerOnceInFiveMinutes) {
  put("c");
  EXPECT_FALSE(probes.conditions({"a", "c"})) << "nothing is said before it is known";
  EXPECT_THAT(turn(), ElementsAre("c"));
  EXPECT_EQ(probes.conditions({"a", "c"})->at(0).reason, "Answered");
  EXPECT_THAT(turn(), IsEmpty());
  now += Probes::kEvery - 1s;
  EXPECT_THAT(turn(), IsEmpty());
  now += 1s;
  EXPECT_THAT(turn(), ElementsAre("c"));
  EXPECT_THAT(told, ElementsAre("c")) << "the same answer is no news";
}

TEST_F(ProbesTest, AskSoonerWhereNobodyAnsweredYet) {
  said = Probed{.failure = broker::Errc::upstream_unreachable};
  put("c");
  turn();
  const auto asked_after = [&](std::initializer_list<std::chrono::seconds> waits) {
    for (const auto wait : waits) {
      now += wait - 1s;
      EXPECT_THAT(turn(), IsEmpty()) << wait.count();
      now += 1s;
      EXPECT_THAT(turn(), ElementsAre("c")) << wait.count();
    }
  };
  asked_after({15s, 30s, 60s, 60s});
  said = Probed{.status = 503, .tried = true};
  now += 60s;
  turn();
  asked_after({120s, 240s, 300s, 300s});
  said = Probed{.status = 401, .tried = true};
  now += Probes::kEvery;
  turn();
  now += Probes::kEvery - 1s;
  EXPECT_THAT(turn(), IsEmpty()) << "servers lock accounts that try again and again";
}

TEST_F(ProbesTest, AskAtOnceWhenAddressOrCredentialChanged) {
  put("c");
  turn();
  put("c");
  EXPECT_THAT(turn(), IsEmpty()) << "our own status makes such an event";
  put("c", "https://other");
  EXPECT_THAT(turn(), ElementsAre("c"));
  catalog.secrets().upsert(test::object_of(secret("1")));
  EXPECT_THAT(turn(), IsEmpty());
  catalog.secrets().upsert(test::object_of(secret("2")));
  said.status = 401;
  EXPECT_THAT(turn(), ElementsAre("c"));
  EXPECT_THAT(told, ElementsAre("c", "c"));
  EXPECT_EQ(probes.conditions({"a", "c"})->at(1).reason, "CredentialRefused");
}

TEST_F(ProbesTest, AskAtMostSixteenAtOnce) {
  for (int i = 10; i < 50; ++i) put("c" + std::to_string(i));
  held = true;
  EXPECT_EQ(turn().size(), Probes::kAtOnce);
  EXPECT_THAT(turn(), IsEmpty());
  gate.cancel();
  EXPECT_EQ(turn().size(), Probes::kAtOnce);
  EXPECT_EQ(probes.under_way(), Probes::kAtOnce);
  gate.cancel();
  EXPECT_EQ(turn().size(), 8u);
}

TEST_F(ProbesTest, AskTheOthersAlsoWhereMoreThanSixteenNeverAnswer) {
  for (int i = 10; i < 50; ++i) put("c" + std::to_string(i));
  said = Probed{.failure = Errc::upstream_timeout};
  held = true;
  std::set<std::string> seen;
  for (int round = 0; round < 3; ++round) {
    for (const auto& name : turn()) seen.insert(name);
    gate.cancel();
    context.restart();
    context.poll();
    now += Probes::kEvery;  // all are due again
  }
  EXPECT_EQ(seen.size(), 40u);
}

TEST_F(ProbesTest, AskNobodyWhereAnotherReplicaDoes) {
  put("c");
  leads = false;
  EXPECT_THAT(turn(), IsEmpty());
  leads = true;
  EXPECT_THAT(turn(), ElementsAre("c"));
  leads = false;
  turn();
  leads = true;
  EXPECT_THAT(turn(), ElementsAre("c")) << "what it knew may be old";
}

TEST_F(ProbesTest, AskNothingOfWhatIsNotServed) {
  put("c");
  catalog.secrets().remove(test::object_of(secret("1")));
  EXPECT_THAT(turn(), IsEmpty());
  const auto conditions = probes.conditions({"a", "c"});
  ASSERT_TRUE(conditions);
  EXPECT_EQ(conditions->at(0).reason, "NotProbed");
  EXPECT_EQ(conditions->at(0).status, Truth::unknown);
}

Connector some_connector(bool secret = true, const std::string& repository = "acme/app.git") {
  Connector connector;
  connector.address = *broker::Address::parse("https://git.example");
  if (secret) connector.secret = ObjectName{"a", "s"};
  connector.repository = repository;
  return connector;
}

struct Said {
  Probed probed;
  Truth alive;
  const char* liveness;
  Truth accepted;
  const char* auth;
};

TEST(ProbeConditions, SayWhatIsWrongAndWhatToDo) {
  const auto failed = [](Errc error, const char* reason) {
    return Said{{.failure = error}, Truth::no, reason, Truth::unknown, "NotTried"};
  };
  const auto answered = [](unsigned status, Truth truth, const char* reason) {
    return Said{{.status = status, .tried = true}, Truth::yes, "Answered", truth, reason};
  };
  for (const Said& each :
       {failed(Errc::upstream_unreachable, "Unreachable"), failed(Errc::upstream_timeout, "TimedOut"),
        failed(Errc::upstream_untrusted, "CertificateUntrusted"), failed(Errc::address_denied, "AddressDenied"),
        failed(Errc::egress_refused, "EgressRefused"), failed(Errc::upstream_malformed, "AnswerMalformed"),
        failed(Errc::upstream_redirect, "Redirected"), failed(Errc::internal, "Unreachable"),
        answered(200, Truth::yes, "CredentialAccepted"), answered(401, Truth::no, "CredentialRefused"),
        answered(403, Truth::no, "CredentialRefused"), answered(404, Truth::no, "RepositoryNotFound"),
        answered(302, Truth::no, "Redirected"), answered(429, Truth::unknown, "NotTried"),
        Said{{.status = 503, .tried = true}, Truth::no, "ServerFailed", Truth::unknown, "NotTried"},
        Said{{.status = 200}, Truth::yes, "Answered", Truth::unknown, "NotTried"},
        Said{{.status = 401}, Truth::yes, "Answered", Truth::unknown, "NotTried"}}) {
    const auto both = conditions_of(some_connector(), each.probed);
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(both[0].reason, each.liveness);
    EXPECT_EQ(both[0].status, each.alive) << each.liveness;
    EXPECT_EQ(both[1].reason, each.auth);
    EXPECT_EQ(both[1].status, each.accepted) << each.auth;
    for (const Condition& condition : both)
      EXPECT_EQ(condition.message.empty(), condition.status == Truth::yes) << condition.reason;
  }
}

TEST(ProbeConditions, OfAConnectorWithoutASecretAskForOneWhereItIsNeeded) {
  const auto reason = [](unsigned status) {
    return conditions_of(some_connector(false), {.status = status, .tried = true})[1].reason;
  };
  EXPECT_EQ(reason(200), "CredentialNotNeeded");
  EXPECT_EQ(reason(401), "CredentialNeeded");
}

TEST(ProbeConditions, KeepNobodyWaitingForWhatCannotBeTried) {
  EXPECT_EQ(with_ready(conditions_of(some_connector(), {.status = 200})).back().status, Truth::yes);
  EXPECT_EQ(with_ready(conditions_of(some_connector(), {.failure = Errc::upstream_timeout})).back().reason, "TimedOut");
}

}  // namespace
}  // namespace mintfs::kube
