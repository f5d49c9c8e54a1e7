#include "kube/lease_desk.h"

#include "kube/catalog.h"
#include "kube/fake_api.h"
#include "kube/fields.h"
#include "kube/lease_watch.h"
#include "kube/status_writer.h"
#include "support/broker_fixture.h"

#include <gmock/gmock.h>
#include <boost/json.hpp>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
using testing::ElementsAre;
using namespace std::chrono_literals;

const std::string kId = "abcdefghijklmnopqrstuvwx27";

std::string lease_object(const std::string& id = kId, const std::string& expires = "2026-01-01T12:00:00Z",
                         int kid = 1) {
  return R"({"metadata":{"name":")" + id + R"(","namespace":"team-a"},"spec":{"pod":{"name":"job-1","uid":"p1"},
    "node":"node-7","serviceAccount":"builder","connectors":["default/github"],"operations":["fetch"],
    "keyVersion":)" +
         std::to_string(kid) + R"(,"opened":"2026-01-01T00:00:00Z","expires":")" + expires + R"("}})";
}

struct LeaseWatchTest : testing::Test {
  bool is_open(const std::string& id = kId) { return parts.broker.find_lease(id) != nullptr; }
  test::TestBroker parts;
  std::vector<std::string> reported;
  LeaseWatch watch{parts.broker, [this](const std::string& sentence) { reported.push_back(sentence); }};
};

TEST_F(LeaseWatchTest, OpensWhatIsThereAndClosesWhatIsGone) {
  watch.begin();
  watch.upsert(test::object_of(lease_object()));
  watch.complete();
  ASSERT_TRUE(is_open());
  EXPECT_EQ(parts.broker.find_lease(kId)->subject, "pod:team-a/job-1");
  watch.remove(test::object_of(lease_object()));
  EXPECT_FALSE(is_open());
}

TEST_F(LeaseWatchTest, ClosesWhatALaterListDoesNotHave) {
  watch.begin();
  watch.upsert(test::object_of(lease_object()));
  watch.complete();
  watch.begin();
  EXPECT_TRUE(is_open()) << "a list is on its way, nothing is missing yet";
  const std::string other = "bbbbbbbbbbbbbbbbbbbbbbbbbb";
  parts.broker.take_lease(to_lease(*read_connector_lease(test::object_of(lease_object(other)))), "open");
  watch.complete();
  EXPECT_FALSE(is_open());
  EXPECT_TRUE(is_open(other)) << "it was opened while the list was on its way";
}

TEST_F(LeaseWatchTest, LetsALeaseLiveLonger) {
  watch.upsert(test::object_of(lease_object()));
  const auto serial = parts.broker.find_lease(kId)->serial;
  watch.upsert(test::object_of(lease_object(kId, "2026-01-02T12:00:00Z")));
  EXPECT_EQ(parts.broker.find_lease(kId)->expires, parts.clock.now() + 36h);
  EXPECT_EQ(parts.broker.find_lease(kId)->serial, serial);
}

TEST_F(LeaseWatchTest, KeepsNothingOpenThatCannotBeUsedAnyMore) {
  for (const std::string& turned : {lease_object(kId, "never"), lease_object(kId, "2025-12-31T00:00:00Z"),
                                    lease_object(kId, "2026-01-01T12:00:00Z", 9)}) {
    watch.upsert(test::object_of(lease_object()));
    ASSERT_TRUE(is_open());
    watch.upsert(test::object_of(turned));
    EXPECT_FALSE(is_open()) << turned;
  }
  EXPECT_EQ(reported.size(), 2u);
}

TEST_F(LeaseWatchTest, TakesALeaseWhenItsKeyIsThere) {
  watch.upsert(test::object_of(lease_object(kId, "2026-01-01T12:00:00Z", 2)));
  watch.keys_changed();
  EXPECT_FALSE(is_open());
  parts.keys.rotate(parts.clock.now() + 1h, 1s, 24h);
  watch.keys_changed();
  EXPECT_TRUE(is_open());
}

TEST_F(LeaseWatchTest, BringsBackNothingThatWasClosedHere) {
  watch.closed(kId);
  watch.upsert(test::object_of(lease_object()));
  EXPECT_FALSE(is_open()) << "that it was made is heard after it was deleted";
  watch.begin();
  watch.closed(kId);
  watch.upsert(test::object_of(lease_object()));
  watch.complete();
  EXPECT_FALSE(is_open()) << "the list began before";
  watch.remove(test::object_of(lease_object()));
  watch.upsert(test::object_of(lease_object()));
  EXPECT_TRUE(is_open()) << "what comes after its end is news";
}

TEST_F(LeaseWatchTest, RemembersWhatWasClosedHereUntilAListIsAskedFor) {
  watch.closed(kId);
  watch.begin();
  watch.upsert(test::object_of(lease_object()));
  EXPECT_TRUE(is_open());
}

TEST_F(LeaseWatchTest, TakesWhatIsBeingDeletedForGone) {
  auto object = test::object_of(lease_object());
  watch.upsert(object);
  object["metadata"].as_object()["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  watch.upsert(object);
  EXPECT_FALSE(is_open());
}

// An API server at which a lease is made, and perhaps deleted before that is answered.
struct Making final : Api {
  explicit Making(LeaseWatch& watched) : leases(watched) {}
  static std::string review(const std::string& account, const std::string& audience) {
    return R"({"status":{"authenticated":true,"audiences":[")" + audience +
           R"("],"user":{"username":"system:serviceaccount:)" + account + R"(","uid":"u","extra":{
      "authentication.kubernetes.io/pod-name":["job-1"],"authentication.kubernetes.io/pod-uid":["p1"],
      "authentication.kubernetes.io/node-name":["node-7"]}}}})";
  }
  asio::awaitable<Outcome<boost::json::object>> send(Call call) override {
    if (call.target.ends_with("/tokenreviews") && says) co_return test::object_of(*says);
    if (call.target.ends_with("/tokenreviews"))
      co_return test::object_of(++reviews == 1 ? review("connectors-system:mintfs-node", "mintfs-gateway")
                                               : review("team-a:builder", "mintfs"));
    if (call.target.ends_with("/subjectaccessreviews")) co_return test::object_of(R"({"status":{"allowed":true}})");
    if (call.method == Call::Method::remove) co_return boost::json::object();
    auto made = test::object_of(call.body.reveal());
    if (call.method == Call::Method::merge_patch) patches.push_back(made);
    if (fails) co_return Failure{.reason = *fails, .message = "it is away"};
    if (call.method == Call::Method::merge_patch) co_return made;
    leases.upsert(made);
    if (deletes) leases.remove(made);
    co_return made;
  }
  asio::awaitable<Outcome<std::unique_ptr<Stream>>> watch(std::string) override { co_return Failure{}; }
  LeaseWatch& leases;
  int reviews = 0;
  std::vector<boost::json::object> patches;
  std::optional<std::string> says{};
  bool deletes = false;
  std::optional<Reason> fails{};
};

struct LeaseDeskTest : LeaseWatchTest {
  static DeskCaller caller(std::string_view bearer = "node") {
    return {.bearer = broker::Secret(bearer), .address = "10.0.0.1"};
  }
  int open() {
    api.reviews = 0;
    constexpr std::string_view kBody = R"({"token":"pod","connectors":["default/github"]})";
    return test::run(context, desk.open(caller(), broker::Secret(kBody))).status;
  }
  int close(const std::string& id = kId) {
    api.reviews = 0;
    return test::run(context, desk.close(caller(), id)).status;
  }
  int renew() {
    api.reviews = 0;
    constexpr std::string_view kBody = R"({"token":"pod","ttl_seconds":60})";
    return test::run(context, desk.renew(caller(), kId, broker::Secret(kBody))).status;
  }
  asio::io_context context;
  Making api{watch};
  std::vector<std::string> unmade, closed;
  bool listed = true;
  LeaseDesk desk{api,
                 parts.broker,
                 parts.keys,
                 {.node_space = "connectors-system", .node_account = "mintfs-node"},
                 {.connectors_listed = [this] { return listed; },
                  .unmade = [this](const std::string&, const std::string& target) { unmade.push_back(target); },
                  .closed = [this](const std::string& id) { closed.push_back(id); }}};
};

TEST_F(LeaseDeskTest, OpensALease) {
  EXPECT_EQ(open(), 201);
  EXPECT_EQ(parts.broker.leases().all().size(), 1u);
}

TEST_F(LeaseDeskTest, MissesNoConnectorUntilAllAreListed) {
  parts.broker.replace_connectors(std::make_shared<const broker::Connectors>());
  listed = false;
  EXPECT_EQ(open(), 503) << "the node asks again";
  listed = true;
  EXPECT_EQ(open(), 422);
}

TEST_F(LeaseDeskTest, DoesNotBringBackALeaseThatWasDeletedWhileItWasMade) {
  api.deletes = true;
  open();
  EXPECT_TRUE(parts.broker.leases().all().empty());
}

TEST_F(LeaseDeskTest, KeepsNoLeaseThatCouldNotBeMade) {
  api.fails = Reason::forbidden;
  EXPECT_NE(open(), 201);
  EXPECT_TRUE(parts.broker.leases().all().empty());
  EXPECT_TRUE(unmade.empty()) << "it is known that there is none";
}

TEST_F(LeaseDeskTest, HasALeaseTakenAwayOfWhichItIsNotKnownWhetherItWasMade) {
  api.fails = Reason::unreachable;
  EXPECT_EQ(open(), 503);
  EXPECT_TRUE(parts.broker.leases().all().empty());
  ASSERT_EQ(unmade.size(), 1u);
  EXPECT_TRUE(unmade[0].starts_with("/apis/connectors.alauda.io/v1alpha1/namespaces/team-a/connectorleases/"));
}

TEST_F(LeaseDeskTest, TellsWhoWatchesWhatItClosedAndTheWatchHasNotToldOf) {
  watch.upsert(test::object_of(lease_object()));
  EXPECT_EQ(close(), 204);
  EXPECT_FALSE(is_open());
  EXPECT_THAT(closed, ElementsAre(kId));
  EXPECT_EQ(close(), 404);
  EXPECT_EQ(closed.size(), 1u);
}

TEST_F(LeaseDeskTest, AsksAboutNodesWhileStrangersKeepItBusy) {
  EXPECT_EQ(open(), 201);
  int asked = 0;
  api.says = R"({"status":{"authenticated":false}})";
  for (int turn = 0; turn < 200; ++turn) {
    const auto answer = test::run(context, desk.close(caller("junk " + std::to_string(turn)), kId));
    asked += answer.status == 403 ? 1 : 0;
    EXPECT_TRUE(answer.status == 403 || answer.status == 429) << answer.body.reveal();
  }
  EXPECT_LT(asked, 100);
  api.says.reset();
  EXPECT_EQ(open(), 201);
}

TEST_F(LeaseDeskTest, MakesNoLeaseShorterThanAnotherHasMadeItMeanwhile) {
  auto object = test::object_of(lease_object());
  object["metadata"].as_object()["resourceVersion"] = "41";
  watch.upsert(object);
  EXPECT_EQ(renew(), 200);
  ASSERT_EQ(api.patches.size(), 1u);
  EXPECT_EQ(text_at(api.patches[0], {"metadata", "resourceVersion"}), "41");
  EXPECT_EQ(text_at(api.patches[0], {"spec", "expires"}), "2026-01-01T12:00:00.000000Z") << "nor than it knows";
  api.fails = Reason::conflict;
  EXPECT_EQ(renew(), 503) << "the node asks again when this is heard of here";
  EXPECT_TRUE(is_open());
}

// Writes down what may be used.
struct Told final : Serving {
  void serve(const broker::ConnectorConfig& connector, const broker::Secret* password) override {
    heard.push_back(connector.name.text() + " " + connector.address.text() + " " + connector.auth.username + ":" +
                    (password == nullptr ? "nothing" : std::string(password->reveal())));
  }
  void withdraw(const broker::ConnectorName& name) override { heard.push_back("-" + name.text()); }
  std::vector<std::string> heard;
};

struct CatalogTest : testing::Test {
  static inline const std::string kClass =
      R"({"metadata":{"name":"git"},"spec":{"auth":{"types":[{"name":"basicAuth","secretType":"kubernetes.io/basic-auth"}]}}})";
  static inline const std::string kSecret =
      R"({"metadata":{"name":"s","namespace":"a"},"type":"kubernetes.io/basic-auth","data":{"username":"Ym90","password":"cHc="}})";
  static std::string connector(const std::string& address = "https://h", const std::string& secret = "s") {
    return R"({"metadata":{"name":"c","namespace":"a","uid":"u","generation":1},"spec":{"connectorClassName":"git",
      "address":")" +
           address + R"(","auth":{"name":"basicAuth","secretRef":{"name":")" + secret + R"("}}}})";
  }
  std::string reason(std::size_t index) {
    const auto conditions = catalog.conditions({"a", "c"});
    return conditions.size() > index ? conditions[index].reason : "none";
  }
  void put(ObjectSink& sink, const std::string& text) { sink.upsert(test::object_of(text)); }
  Told told;
  Catalog catalog{told};
};

TEST_F(CatalogTest, ServesAConnectorWhenAllThreeFitInWhateverOrderTheyCome) {
  put(catalog.connectors(), connector());
  EXPECT_EQ(reason(0), "ConnectorClassNotFound");
  EXPECT_EQ(reason(1), "SecretNotFound");
  put(catalog.secrets(), kSecret);
  EXPECT_TRUE(told.heard.empty());
  put(catalog.classes(), kClass);
  EXPECT_THAT(told.heard, ElementsAre("a/c https://h bot:pw"));
  EXPECT_EQ(reason(0), "ConnectorClassFound");
  EXPECT_EQ(reason(1), "SecretFound");
}

TEST_F(CatalogTest, WithdrawsItAsSoonAsOneIsGoneOrWrong) {
  put(catalog.classes(), kClass);
  put(catalog.secrets(), kSecret);
  put(catalog.connectors(), connector());
  const std::string served = "a/c https://h bot:pw", gone = "-a/c";
  catalog.secrets().remove(test::object_of(kSecret));
  put(catalog.secrets(), kSecret);
  put(catalog.connectors(), connector("ftp://h"));
  EXPECT_EQ(reason(0), "ConnectorInvalid");
  put(catalog.connectors(), connector());
  catalog.classes().begin();
  catalog.classes().complete();
  EXPECT_THAT(told.heard, ElementsAre(served, gone, served, gone, served, gone));
  catalog.connectors().remove(test::object_of(connector()));
  EXPECT_TRUE(catalog.conditions({"a", "c"}).empty());
}

TEST_F(CatalogTest, ChangesAddressAndPasswordTogether) {
  put(catalog.classes(), kClass);
  put(catalog.secrets(), kSecret);
  put(catalog.connectors(), connector());
  put(catalog.connectors(), connector("https://other", "s2"));
  EXPECT_THAT(told.heard, ElementsAre("a/c https://h bot:pw", "-a/c"))
      << "the old password never goes to the new address";
}

TEST_F(CatalogTest, ServesNoClassWhoseServersItCannotSpeakTo) {
  put(catalog.classes(), R"({"metadata":{"name":"mainframe"},"spec":{"auth":{"types":[
      {"name":"basicAuth","secretType":"kubernetes.io/basic-auth"}]}}})");
  put(catalog.secrets(), kSecret);
  std::string strange = connector();
  strange.replace(strange.find(R"("git")"), 5, R"("mainframe")");
  put(catalog.connectors(), strange);
  EXPECT_EQ(reason(0), "ConnectorClassUnsupported");
  EXPECT_TRUE(told.heard.empty());
}

TEST_F(CatalogTest, SaysWhichSecretFits) {
  put(catalog.classes(),
      R"({"metadata":{"name":"git"},"spec":{"auth":{"types":[{"name":"basicAuth","secretType":"Opaque"}]}}})");
  put(catalog.connectors(), connector());
  EXPECT_EQ(reason(1), "SecretTypeUnsupported");
  put(catalog.classes(), R"({"metadata":{"name":"git"},"spec":{}})");
  EXPECT_EQ(reason(0), "AuthTypeUnknown");
}

struct StatusWriterTest : CatalogTest {
  void turn() {
    asio::co_spawn(context, writer.turn(), asio::detached);
    context.restart();
    context.run();
  }
  void list_everything() {
    for (ObjectSink* sink : {&catalog.classes(), &catalog.secrets(), &catalog.connectors()}) {
      sink->begin();
      if (sink == &catalog.connectors()) put(*sink, connector());
      sink->complete();
    }
  }
  static std::string with_status(const std::string& status) {
    return R"({"metadata":{"name":"c","namespace":"a","uid":"u","generation":1},"status":)" + status + "}";
  }
  asio::io_context context;
  test::FakeApi api{context};
  test::FakePause pause;
  test::FakeClock clock;
  Events events{api, clock, "me"};
  bool leads = true;
  StatusWriter writer{
      api, catalog, events, "http://proxy", {.pause = pause, .clock = clock, .leads = [this] { return leads; }}};
  static inline const std::string kPath = "/apis/connectors.alauda.io/v1alpha1/namespaces/a/connectors/c";
};

TEST_F(StatusWriterTest, WritesWhatIsNewsAndTellsAnEvent) {
  list_everything();
  api.answer(connector());
  api.answer("{}");
  api.answer("{}");
  turn();
  EXPECT_THAT(api.asked, ElementsAre("GET " + kPath, "PATCH " + kPath + "/status", "POST /api/v1/namespaces/a/events"));
  const auto patch = test::object_of(api.bodies[1]);
  EXPECT_EQ(text_at(patch, {"status", "proxy", "httpAddress", "url"}), "http://proxy/namespaces/a/connectors/c");
  put(catalog.connectors(), connector());  // our own change comes back
  api.answer(with_status(boost::json::serialize(*value_at(patch, {"status"}))));
  turn();
  EXPECT_EQ(api.asked.size(), 4u) << "nothing is news";
}

TEST_F(StatusWriterTest, WritesNothingBeforeAllIsListedOrWhileAnotherLeads) {
  put(catalog.connectors(), connector());
  turn();
  EXPECT_TRUE(api.asked.empty());
  list_everything();
  leads = false;
  turn();
  EXPECT_TRUE(api.asked.empty());
  leads = true;
  api.refuse({.reason = Reason::not_found, .message = "gone"});
  turn();
  EXPECT_THAT(api.asked, ElementsAre("GET " + kPath)) << "who begins to lead looks at all of them";
}

TEST_F(StatusWriterTest, TriesAgainWhatItCouldNotWrite) {
  list_everything();
  api.refuse({.reason = Reason::unreachable, .message = "away"});
  turn();
  api.refuse({.reason = Reason::not_found, .message = "gone"});
  turn();
  EXPECT_THAT(api.asked, ElementsAre("GET " + kPath, "GET " + kPath));
}

}  // namespace
}  // namespace mintfs::kube
