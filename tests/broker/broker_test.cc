#include "broker/broker.h"

#include "parts.h"

#include <gmock/gmock.h>

#include <functional>
#include <set>
#include <thread>

namespace mintfs::broker {
namespace {

using namespace std::chrono_literals;
using test::AuditedBroker;
using test::text_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uid_t kAlice = 4001, kBob = 4002, kMallory = 4003;
const Caller kRoot{.uid = 0};
const Caller kFromAlice{.uid = kAlice, .gid = kAlice};
const Caller kFromBob{.uid = kBob, .gid = kBob};
const Caller kFromMallory{.uid = kMallory, .gid = kMallory};

// "github" (acme/* and open/**) and "team/gitlab" (all), for Alice and Bob; "reader" gives fetch alone.
std::vector<ConnectorConfig> connectors() {
  std::vector<ConnectorConfig> made = {test::connector("github", "https://github.com", {"acme/*", "open/**"}),
                                       test::connector("team/gitlab", "https://gitlab.example.org"),
                                       test::connector("reader", "https://reader.example.org")};
  made[0].rights.references.allow = {ReferencePattern("refs/heads/bot/*")};
  made[2].rights.operations = Operations::only(Operation::fetch);
  for (auto& each : made) each.allow.users = {std::to_string(kAlice), std::to_string(kBob)};
  return made;
}

class BrokerTest : public testing::Test {
 protected:
  Errc open_error(const Caller& caller, const LeaseRequest& request) {
    detail.clear();
    const auto lease = it.broker.open_lease(caller, request, &detail);
    return lease ? Errc{} : to_errc(lease.error());
  }
  LeasePtr open(const Caller& caller = kFromAlice, LeaseRequest request = {.connectors = {"github"}}) {
    const auto lease = it.broker.open_lease(caller, request, &detail);
    EXPECT_TRUE(lease) << detail;
    return lease ? *lease : nullptr;
  }
  static Errc error_of(const Result<LeasePtr>& result) { return result ? Errc{} : to_errc(result.error()); }
  LeaseKey key_of(const LeasePtr& lease) { return it.parts.keys.derive(lease->kid, lease->id).value(); }

  std::string detail;
  AuditedBroker it{connectors()};
};

// --- Leases

TEST_F(BrokerTest, OpensALeaseAsItWasAskedFor) {
  const LeasePtr lease = open(kFromAlice, {.connectors = {"github", "team/gitlab", "default/github"},
                                           .ttl = 90min,
                                           .labels = {{"build", "17"}},
                                           .operations = Operations::only(Operation::fetch),
                                           .repositories = {"acme/app.git"}});
  ASSERT_NE(lease, nullptr);
  EXPECT_EQ(lease->id.size(), kLeaseIdSize);
  EXPECT_EQ(lease->id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567"), std::string::npos);
  EXPECT_EQ(lease->uid, kAlice);
  EXPECT_EQ(lease->opener, kAlice);
  EXPECT_EQ(lease->subject, "uid:4001");
  EXPECT_EQ(lease->expires - lease->opened, 90min);
  EXPECT_EQ(lease->labels.at("build"), "17");
  EXPECT_EQ(lease->connectors.size(), 2u) << "named twice, there once";
  EXPECT_FALSE(lease->rights.operations.contains(Operation::push));
  EXPECT_EQ(lease->rights.repositories.at(0).text(), "acme/app");
}

TEST_F(BrokerTest, GivesALeaseTheConfigurationsItAsksFor) {
  const auto of = [&](std::vector<std::string> asked) {
    return open(kFromAlice, {.connectors = {"github"}, .configurations = std::move(asked)})->view();
  };
  EXPECT_THAT(of({}), ElementsAre("gitconfig"));
  EXPECT_THAT(of({"npmrc", "gitconfig", "npmrc"}), ElementsAre("npmrc", "gitconfig")) << "named twice, there once";
  EXPECT_TRUE(open(kFromAlice, {.connectors = {"github"}, .configurations = {"gitconfig"}})->configurations.empty())
      << "what every lease has costs nothing";
}

TEST_F(BrokerTest, KnowsTheFilesOfTheAdministrator) {
  auto file = std::make_shared<FileConfig>();
  file->name = "own";
  it.broker.replace_files(std::make_shared<const FileConfigs>(FileConfigs{{"own", file}}));
  EXPECT_THAT(open(kFromAlice, {.connectors = {"github"}, .configurations = {"own"}})->view(), ElementsAre("own"));
  EXPECT_FALSE(it.broker.open_lease(kFromAlice, {.connectors = {"github"}, .configurations = {"owm"}}, &detail));
  EXPECT_THAT(detail, testing::HasSubstr("kubeconfig, own."));
}

TEST_F(BrokerTest, TellsALeaseOnlyUrlsThatAreItsOwn) {
  test::TestBroker parts;
  Broker broker({.audience = "http://127.0.0.1:8418",
                 .token_ttl = 30min,
                 .default_ttl = 12h,
                 .max_ttl = 24h,
                 .other_urls = {"http://mint.example/git"}},
                parts.keys, parts.leases, it.broker.audit(), parts.clock, parts.broker.connectors());
  const auto opened = [&](const std::string& url) {
    return broker.open_lease({}, {.connectors = {"github"}, .proxy_url = url});
  };
  EXPECT_EQ(broker.proxy_url(*opened("http://mint.example:80/git/").value()), "http://mint.example/git");
  EXPECT_EQ(broker.proxy_url(*opened("http://127.0.0.1:8418").value()), "http://127.0.0.1:8418");
  EXPECT_EQ(broker.proxy_url(*opened("").value()), "http://127.0.0.1:8418");
  for (const char* url : {"http://mint.example", "https://mint.example/git", "http://127.0.0.1", "x"})
    EXPECT_EQ(error_of(opened(url)), Errc::lease_malformed) << url;
}

TEST_F(BrokerTest, RefusesTwoConnectorsThatClaimOneAddressUnlessOneHasPriority) {
  auto second = test::connector("second", "https://git.example");
  const auto table = [&] { return test::table_of({test::connector("first", "https://git.example"), second}); };
  test::TestBroker two;
  two.broker.replace_connectors(table());
  const LeaseRequest both{.connectors = {"first", "second"}};
  EXPECT_EQ(error_of(two.broker.open_lease({}, both, &detail)), Errc::lease_malformed);
  EXPECT_EQ(detail,
            "The connectors 'default/first' and 'default/second' both claim https://git.example/; name one of them, or "
            "give one a higher 'priority' in the configuration.");
  second.priority = 1;
  two.broker.replace_connectors(table());
  EXPECT_TRUE(two.broker.open_lease({}, both, &detail));
}

TEST_F(BrokerTest, GivesEachLeaseAnIdOfItsOwn) {
  std::set<std::string> ids;
  for (int i = 0; i < 50; ++i) ids.insert(open()->id);
  EXPECT_EQ(ids.size(), 50u);
}

TEST_F(BrokerTest, RefusesToOpenWhatIsNotGiven) {
  const std::map<std::string, std::string> many_labels = [] {
    std::map<std::string, std::string> labels;
    for (int i = 0; i < 33; ++i) labels[std::to_string(i)] = "x";
    return labels;
  }();
  struct Case {
    Caller caller;
    LeaseRequest request;
    Errc error;
    std::string says;
  };
  const Case cases[] = {
      {kFromAlice, {.connectors = {}}, Errc::lease_malformed, "1 to 32 connectors"},
      {kFromAlice, {.connectors = std::vector<std::string>(33, "github")}, Errc::lease_malformed, "1 to 32"},
      {kFromAlice, {.connectors = {"nothing"}}, Errc::connector_unknown, "default/nothing"},
      {kFromAlice, {.connectors = {"github", "nothing"}}, Errc::connector_unknown, "default/nothing"},
      {kFromAlice, {.connectors = {"../github"}}, Errc::connector_unknown, "(malformed)"},
      {kFromAlice, {.connectors = {"GitHub"}}, Errc::connector_unknown, "(malformed)"},
      {kFromAlice, {.connectors = {"a\nb"}}, Errc::connector_unknown, "(malformed)"},
      {kFromMallory, {.connectors = {"github"}}, Errc::connector_denied, "User 4003 may not use"},
      {kFromAlice, {.connectors = {"github"}, .uid = kBob}, Errc::lease_denied, "Only root"},
      {kFromAlice, {.connectors = {"github"}, .uid = 0}, Errc::lease_denied, "Only root"},
      {kFromAlice, {.connectors = {"github"}, .ttl = 0s}, Errc::lease_malformed, "lease.max_ttl"},
      {kFromAlice, {.connectors = {"github"}, .ttl = -1s}, Errc::lease_malformed, "lease.max_ttl"},
      {kFromAlice, {.connectors = {"github"}, .ttl = 24h + 1s}, Errc::lease_malformed, "lease.max_ttl"},
      {kFromAlice, {.connectors = {"github"}, .ttl = std::chrono::seconds::max()}, Errc::lease_malformed, "max_ttl"},
      {kRoot, {.connectors = {"github"}, .ttl = 24h + 1s}, Errc::lease_malformed, "lease.max_ttl"},
      {kFromAlice, {.connectors = {"github"}, .labels = many_labels}, Errc::lease_malformed, "32 labels"},
      {kFromAlice, {.connectors = {"github"}, .labels = {{"", "x"}}}, Errc::lease_malformed, "A label is"},
      {kFromAlice, {.connectors = {"github"}, .labels = {{"x", ""}}}, Errc::lease_malformed, "A label is"},
      {kFromAlice, {.connectors = {"github"}, .labels = {{"x", "a\nb"}}}, Errc::lease_malformed, "A label is"},
      {kFromAlice,
       {.connectors = {"github"}, .labels = {{"x", std::string(129, 'l')}}},
       Errc::lease_malformed,
       "A label is"},
      {kFromAlice, {.connectors = {"github"}, .operations = Operations()}, Errc::lease_malformed, "one operation"},
      {kFromAlice,
       {.connectors = {"reader"}, .operations = Operations::only(Operation::push)},
       Errc::operation_denied,
       "default/reader"},
      {kFromAlice, {.connectors = {"github"}, .repositories = {"a//b"}}, Errc::lease_malformed, "pattern"},
      {kFromAlice, {.connectors = {"github"}, .repositories = {"a b"}}, Errc::lease_malformed, "pattern"},
      {kFromAlice,
       {.connectors = {"github"}, .repositories = std::vector<std::string>(65, "acme/app")},
       Errc::lease_malformed,
       "64 repository"},
      {kFromAlice, {.connectors = {"github"}, .repositories = {"evil/app"}}, Errc::repository_denied, "evil/app"},
      {kFromAlice, {.connectors = {"github"}, .repositories = {"acme/*", "**"}}, Errc::repository_denied, "'**'"},
      {kFromAlice, {.connectors = {"github"}, .repositories = {"acme/**"}}, Errc::repository_denied, "acme/**"},
      {kFromAlice, {.connectors = {"github"}, .references = {"refs/heads/*"}}, Errc::reference_denied, "heads/*"},
      {kFromAlice, {.connectors = {"github"}, .references = {"main"}}, Errc::lease_malformed, "references"},
      {kFromAlice,
       {.connectors = {"github"}, .references = std::vector<std::string>(65, "refs/heads/bot/a")},
       Errc::lease_malformed,
       "64"},
      {kFromAlice, {.connectors = {"github"}, .repositories = {"Acme/app"}}, Errc::repository_denied, "Acme/app"},
      {kFromAlice,
       {.connectors = {"github"}, .configurations = {"gitconfig", "npm"}},
       Errc::lease_malformed,
       "'npm'; known are gitconfig, git-credentials, netrc, npmrc, yarnrc, pip, "},
      {kFromAlice,
       {.connectors = {"github"}, .configurations = {"../x"}},
       Errc::lease_malformed,
       "'(malformed)'; known are"},
      {kFromAlice,
       {.connectors = {"github"}, .configurations = std::vector<std::string>(33, "npmrc")},
       Errc::lease_malformed,
       "at most 32 configurations"},
      {kFromAlice, {.connectors = {"github"}, .pid = 0}, Errc::lease_malformed, "process"},
      {kFromAlice, {.connectors = {"github"}, .pid = -7}, Errc::lease_malformed, "process"},
      {kFromAlice, {.connectors = {"github"}, .pid = 2'147'483'647}, Errc::lease_malformed, "no process"},
  };
  for (const auto& each : cases) {
    EXPECT_EQ(open_error(each.caller, each.request), each.error) << each.says;
    EXPECT_THAT(detail, HasSubstr(each.says));
  }
  EXPECT_EQ(it.parts.leases.size(), 0u);
  EXPECT_THAT(test::names_in(it.parts.directory.path() / "leases"), IsEmpty());
  for (const auto& act : it.acts()) EXPECT_EQ(text_of(act, "event"), "refuse");
}

TEST_F(BrokerTest, OpensForAnotherUserWhenRootAsks) {
  const LeasePtr lease = open(kRoot, {.connectors = {"github"}, .uid = kMallory});
  EXPECT_EQ(lease->uid, kMallory);
  EXPECT_EQ(lease->opener, 0u);
  EXPECT_EQ(lease->subject, "uid:4003");
}

TEST_F(BrokerTest, OpensForAPodWhenRootAsks) {
  const LeasePtr lease = open(kRoot, {.connectors = {"github"}, .pod = "team-a/build-7"});
  ASSERT_NE(lease, nullptr);
  EXPECT_TRUE(lease->pod);
  EXPECT_EQ(lease->subject, "pod:team-a/build-7");
  EXPECT_EQ(it.redeem(it.mint(lease)), Errc{});
  EXPECT_EQ(open_error(kFromAlice, {.connectors = {"github"}, .pod = "team-a/build-7"}), Errc::lease_denied);
  EXPECT_EQ(open_error(kRoot, {.connectors = {"github"}, .uid = kAlice, .pod = "a/b"}), Errc::lease_malformed);
  for (const std::string pod : {"", "b", "/b", "a/", "a/b/c", "a/B", "a/b\n", "a/\"", "a/b c", "a/b\\"})
    EXPECT_EQ(open_error(kRoot, {.connectors = {"github"}, .pod = pod}), Errc::lease_malformed) << pod;
  EXPECT_EQ(open_error(kRoot, {.connectors = {"github"}, .pod = "a/" + std::string(254, 'b')}), Errc::lease_malformed);
}

TEST_F(BrokerTest, MintsTokensAsShortAsTheLeaseWantsThem) {
  const LeasePtr lease = open(kFromAlice, {.connectors = {"github"}, .token_ttl = 5min});
  const std::string token = it.mint(lease);
  const auto issued = std::chrono::floor<std::chrono::seconds>(it.parts.clock.now()).time_since_epoch();
  EXPECT_EQ(it.broker.token_expiry(*lease), (issued + 5min) / 1s);
  it.parts.clock.advance(4min);
  EXPECT_EQ(it.redeem(token), Errc{});
  it.parts.clock.advance(3min);
  EXPECT_EQ(it.redeem(token), Errc::token_expired);
  for (const auto ttl : {-1s, 0s, 29s, 1801s, std::chrono::seconds::max()})
    EXPECT_EQ(open_error(kFromAlice, {.connectors = {"github"}, .token_ttl = ttl}), Errc::lease_malformed) << ttl / 1s;
  EXPECT_NE(detail.find("30 to 1800 seconds here (token.ttl)"), std::string::npos) << detail;
}

TEST_F(BrokerTest, RenewsALeaseForTheAdministratorOnly) {
  const LeasePtr lease = open(kRoot, {.connectors = {"github"}, .ttl = 1h, .pod = "a/b"});
  EXPECT_EQ(error_of(it.broker.renew_lease(kFromAlice, lease->id, 2h)), Errc::lease_denied);
  EXPECT_EQ(error_of(it.broker.renew_lease(kRoot, lease->id, 25h)), Errc::lease_malformed);
  EXPECT_EQ(error_of(it.broker.renew_lease(kRoot, lease->id, 0s)), Errc::lease_malformed);
  const std::string token = it.mint(lease);
  it.parts.clock.advance(59min);
  ASSERT_TRUE(it.broker.renew_lease(kRoot, lease->id, 1h));
  it.parts.clock.advance(59min);
  it.broker.close_expired();
  const LeasePtr renewed = it.broker.find_lease(lease->id);
  ASSERT_NE(renewed, nullptr);
  EXPECT_EQ(it.redeem(token), Errc::token_expired) << "a token does not live longer with its lease";
  EXPECT_EQ(it.redeem(it.mint(renewed)), Errc{});
  it.parts.clock.advance(2min);
  EXPECT_EQ(error_of(it.broker.renew_lease(kRoot, lease->id, 1h)), Errc::lease_closed) << "it has expired";
}

TEST_F(BrokerTest, BindsALeaseToALiveProcess) {
  const LeasePtr lease = open(kFromAlice, {.connectors = {"github"}, .pid = getpid()});
  EXPECT_EQ(lease->process.pid, getpid());
  EXPECT_NE(lease->process.start_time, 0u);
}

TEST_F(BrokerTest, BoundsTheLeasesOfAUser) {
  AuditedBroker small(connectors(), 2);
  const auto first = small.broker.open_lease(kFromAlice, {.connectors = {"github"}});
  EXPECT_TRUE(first);
  EXPECT_TRUE(small.broker.open_lease(kFromAlice, {.connectors = {"github"}}));
  EXPECT_EQ(error_of(small.broker.open_lease(kFromAlice, {.connectors = {"github"}}, &detail)), Errc::too_many);
  EXPECT_EQ(detail, "You have 2 leases open (lease.max_per_user); close one.");
  EXPECT_TRUE(small.broker.open_lease(kFromBob, {.connectors = {"github"}}));
  EXPECT_TRUE(small.broker.close_lease(kFromAlice, (*first)->id));
  EXPECT_TRUE(small.broker.open_lease(kFromAlice, {.connectors = {"github"}}));
}

TEST_F(BrokerTest, HidesTheLeasesOfOthers) {
  const LeasePtr lease = open(kFromAlice);
  const LeasePtr given = open(kRoot, {.connectors = {"github"}, .uid = kBob});
  EXPECT_THAT(it.broker.list_leases(kFromAlice), ElementsAre(lease));
  EXPECT_THAT(it.broker.list_leases(kFromBob), ElementsAre(given));
  EXPECT_THAT(it.broker.list_leases(kFromMallory), IsEmpty());
  EXPECT_THAT(it.broker.list_leases(kRoot), ElementsAre(lease, given));

  // What is not one's own and what is not there look the same.
  const std::string absent(kLeaseIdSize, 'a');
  for (const std::string& id : {lease->id, absent}) {
    EXPECT_EQ(error_of(it.broker.show_lease(kFromBob, id)), Errc::lease_closed);
    EXPECT_EQ(error_of(it.broker.close_lease(kFromBob, id)), Errc::lease_closed);
  }
  EXPECT_NE(it.broker.find_lease(lease->id), nullptr) << "another user has not closed it";
  EXPECT_EQ(error_of(it.broker.show_lease(kFromBob, given->id)), Errc{});
  EXPECT_EQ(error_of(it.broker.close_lease(kFromBob, given->id)), Errc{}) << "the owner closes what root opened for it";
  EXPECT_EQ(error_of(it.broker.close_lease(kRoot, lease->id)), Errc{});
}

TEST_F(BrokerTest, ClosesALeaseOnce) {
  const LeasePtr lease = open();
  EXPECT_EQ(it.broker.close_lease(kFromAlice, lease->id).value(), lease);
  EXPECT_EQ(error_of(it.broker.close_lease(kFromAlice, lease->id)), Errc::lease_closed);
  it.broker.close_for(lease->id, "expired");
  const auto acts = it.acts();
  EXPECT_EQ(std::count_if(acts.begin(), acts.end(), [](const auto& act) { return text_of(act, "event") == "close"; }),
            1);
}

TEST_F(BrokerTest, ClosesLeasesThatExpire) {
  const LeasePtr brief = open(kFromAlice, {.connectors = {"github"}, .ttl = 10s});
  const LeasePtr longer = open(kFromAlice, {.connectors = {"github"}, .ttl = 20s});
  it.parts.clock.advance(10s);
  it.broker.close_expired();
  EXPECT_EQ(it.broker.find_lease(brief->id), nullptr);
  EXPECT_EQ(it.broker.find_lease(longer->id), longer);
  const auto acts = it.acts();
  EXPECT_EQ(text_of(acts.back(), "event"), "close");
  EXPECT_EQ(text_of(acts.back(), "reason"), "expired");
  EXPECT_EQ(text_of(acts.back(), "lease"), brief->id);
}

TEST_F(BrokerTest, TellsItsObserversWhenLeasesComeAndGo) {
  struct Record : LeaseObserver {
    std::vector<std::string> seen;
    void lease_opened(const LeasePtr& lease) override { seen.push_back("open " + lease->id); }
    void lease_closed(const LeasePtr& lease) override { seen.push_back("close " + lease->id); }
  } record;
  it.broker.observe(record);
  const LeasePtr first = open(), second = open(kFromAlice, {.connectors = {"github"}, .ttl = 1s});
  it.broker.close_lease(kFromAlice, first->id).value();
  it.parts.clock.advance(1s);
  it.broker.close_expired();
  open_error(kFromMallory, {.connectors = {"github"}});
  EXPECT_THAT(record.seen,
              ElementsAre("open " + first->id, "open " + second->id, "close " + first->id, "close " + second->id));
}

TEST_F(BrokerTest, LeavesNothingHalfDoneOnAFullDisk) {
  const test::SmallDisk disk(it.parts.directory.path() / "leases");
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  disk.fill();
  EXPECT_EQ(open_error(kFromAlice, {.connectors = {"github"}}), Errc::storage_failed);
  EXPECT_THAT(it.broker.list_leases(kRoot), IsEmpty());
  disk.make_room();
  EXPECT_EQ(open_error(kFromAlice, {.connectors = {"github"}}), Errc{});
  const auto acts = it.acts();
  EXPECT_EQ(text_of(acts.at(0), "reason"), "storage-failed");
}

// --- Tokens

TEST_F(BrokerTest, MintsATokenThatItRedeems) {
  const LeasePtr lease = open();
  const std::string token = it.mint(lease);
  const auto grant =
      it.broker.redeem(token, {.space = "default", .connector = "github", .repository = "acme/app"}, it.scratch);
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->lease_ptr(), lease);
  EXPECT_EQ(grant->connector().address.host, "github.com");
  EXPECT_EQ(it.broker.minted(), 1u);
  EXPECT_EQ(it.broker.redeemed(), 1u);
  EXPECT_EQ(it.broker.refused(), 0u);
}

TEST_F(BrokerTest, MintsTokensOfOneSizeAndNeverTheSame) {
  const LeasePtr lease = open();
  std::set<std::string> tokens;
  std::set<std::size_t> sizes;
  for (int i = 0; i < 300; ++i) {
    const std::string token = it.mint(lease);
    tokens.insert(token);
    sizes.insert(token.size());
    it.parts.clock.advance(100s);
  }
  EXPECT_EQ(tokens.size(), 300u);
  EXPECT_EQ(sizes.size(), 1u);
}

TEST_F(BrokerTest, MintsNoTokenThatOutlivesItsLease) {
  const LeasePtr lease = open(kFromAlice, {.connectors = {"github"}, .ttl = 10min});
  const std::string token = it.mint(lease);
  ASSERT_FALSE(parse_token(token, it.scratch.token).failed());
  EXPECT_EQ(it.scratch.token.claims.expires - it.scratch.token.claims.issued, 600);
  it.parts.clock.advance(10min);
  std::string room(token.size(), '\0');
  const auto late = it.broker.mint(*lease, lease->connectors[0], it.scratch, room.data());
  EXPECT_EQ(to_errc(late.error()), Errc::lease_closed);
}

// Each line of the threat model that a token alone can be.
TEST(Token, IsRefusedWithOneReasonAndLeavesNoTraceOfItself) {
  struct Setting {
    AuditedBroker it{connectors()};
    LeasePtr lease = it.broker.open_lease(kFromAlice, {.connectors = {"github", "team/gitlab"}}).value();
    LeasePtr other = it.broker.open_lease(kFromBob, {.connectors = {"github"}}).value();
    Access access{.space = "default", .connector = "github", .repository = "acme/app"};
    LeaseKey key = it.parts.keys.derive(lease->kid, lease->id).value();

    Claims claims() const {
      const std::int64_t now =
          std::chrono::floor<std::chrono::seconds>(it.parts.clock.now()).time_since_epoch().count();
      return {.audience = test::TestBroker::kProxy,
              .subject = lease->subject,
              .lease = lease->id,
              .connector = "default/github",
              .issued = now,
              .expires = now + 1800,
              .id = "0123456789abcdef"};
    }
    void bind_to(const std::string& origin) {
      lease = it.broker.open_lease(kFromAlice, {.connectors = {"github"}, .origins = {origin}}).value();
      key = it.parts.keys.derive(lease->kid, lease->id).value();
    }
    void come_from(const std::string& address) {
      from = {.kind = ClientOrigin::Kind::address, .address = boost::asio::ip::make_address(address)};
      access.origin = &from;
    }
    ClientOrigin from;
    std::string sign(const Claims& claims, std::uint32_t kid, const LeaseKey& with) {
      std::string token(token_size(claims, kid), '\0');
      mint_token(claims, kid, with, it.scratch.signer, token.data());
      return token;
    }
    std::string sign(const Claims& claims) { return sign(claims, lease->kid, key); }
    // The payload of a good token under a header of the forger's choice.
    std::string under(std::string_view header) {
      const std::string good = sign(claims());
      ParsedToken parsed;
      EXPECT_FALSE(parse_token(good, parsed).failed());
      const std::size_t first = good.find('.') + 1;
      std::string payload(good.size(), '\0');
      payload.resize(
          base64url_decode(std::string_view(good).substr(first, good.rfind('.') - first), payload.data()).value());
      return test::jwt(header, payload, key.reveal());
    }
  };
  struct Case {
    std::string name;
    std::function<std::string(Setting&)> token;
    Errc error;
    bool genuine = false;  // then the audit line names the lease
  };
  const std::vector<Case> cases = {
      {"none at all", [](Setting&) { return std::string(); }, Errc::token_missing},
      {"not a token", [](Setting&) { return std::string("hunter2-is-a-password"); }, Errc::token_malformed},
      {"altered payload",
       [](Setting& s) {
         std::string token = s.sign(s.claims());
         const std::size_t at = token.find('.') + 1;
         std::string payload(token.size(), '\0');
         payload.resize(
             base64url_decode(std::string_view(token).substr(at, token.rfind('.') - at), payload.data()).value());
         payload.replace(payload.find("4001"), 4, "4000");
         return token.substr(0, at) + base64url_encode(payload) + token.substr(token.rfind('.'));
       },
       Errc::token_signature},
      {"altered signature",
       [](Setting& s) {
         std::string token = s.sign(s.claims());
         char& first = token[token.rfind('.') + 1];
         first = first == 'A' ? 'B' : 'A';
         return token;
       },
       Errc::token_signature},
      {"signature of another token",
       [](Setting& s) {
         const std::string one = s.sign(s.claims());
         Claims claims = s.claims();
         claims.id = "another-jti-here";
         const std::string two = s.sign(claims);
         return one.substr(0, one.rfind('.')) + two.substr(two.rfind('.'));
       },
       Errc::token_signature},
      {"no signature",
       [](Setting& s) {
         std::string token = s.sign(s.claims());
         return token.substr(0, token.rfind('.') + 1);
       },
       Errc::token_malformed},
      {"alg none", [](Setting& s) { return s.under(R"({"alg":"none","kid":"1","typ":"JWT"})"); },
       Errc::token_algorithm},
      {"alg RS256", [](Setting& s) { return s.under(R"({"alg":"RS256","kid":"1","typ":"JWT"})"); },
       Errc::token_algorithm},
      {"alg EdDSA", [](Setting& s) { return s.under(R"({"alg":"EdDSA","kid":"1","typ":"JWT"})"); },
       Errc::token_algorithm},
      {"alg HS512", [](Setting& s) { return s.under(R"({"alg":"HS512","kid":"1","typ":"JWT"})"); },
       Errc::token_algorithm},
      {"a key in the header",
       [](Setting& s) { return s.under(R"({"alg":"HS256","kid":"1","typ":"JWT","jwk":{"kty":"oct","k":""}})"); },
       Errc::token_malformed},
      {"unknown kid", [](Setting& s) { return s.sign(s.claims(), 2, s.key); }, Errc::token_key_unknown},
      {"the key of another lease",
       [](Setting& s) { return s.sign(s.claims(), 1, s.it.parts.keys.derive(1, s.other->id).value()); },
       Errc::token_signature},
      {"the master key is not a lease's", [](Setting& s) { return s.sign(s.claims(), 1, LeaseKey()); },
       Errc::token_signature},
      {"another lease's id under one's own key",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.lease = s.other->id;
         return s.sign(claims);
       },
       Errc::token_signature},
      {"expired",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.expires = claims.issued;
         return s.sign(claims);
       },
       Errc::token_expired, true},
      {"expired by its time to live",
       [](Setting& s) {
         const std::string token = s.it.mint(s.lease);
         s.it.parts.clock.advance(30min);
         return token;
       },
       Errc::token_expired, true},
      {"issued more than 60 s ahead",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.issued += 61;
         return s.sign(claims);
       },
       Errc::token_not_yet_valid, true},
      {"another audience",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.audience = "http://127.0.0.1:8419";
         return s.sign(claims);
       },
       Errc::token_audience, true},
      {"an audience that only begins alike",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.audience = "http://127.0.0.1:841";
         return s.sign(claims);
       },
       Errc::token_audience, true},
      {"a lease of another address",
       [](Setting& s) {
         s.bind_to("10.88.0.0/16");
         s.come_from("10.89.0.1");
         return s.it.mint(s.lease);
       },
       Errc::token_origin, true},
      {"a lease of an address, and nobody knows from where",
       [](Setting& s) {
         s.bind_to("10.88.0.0/16");
         return s.it.mint(s.lease);
       },
       Errc::token_origin, true},
      {"another connector in the path",
       [](Setting& s) {
         const std::string token = s.it.mint(s.lease, "team/gitlab");
         return token;
       },
       Errc::token_connector, true},
      {"the same name in another namespace",
       [](Setting& s) {
         s.access.space = "team";
         return s.it.mint(s.lease);
       },
       Errc::token_connector, true},
      {"a connector without namespace",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.connector = "github";
         return s.sign(claims);
       },
       Errc::token_connector, true},
      {"a connector that the lease has not",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.connector = "default/reader";
         s.access.connector = "reader";
         return s.sign(claims);
       },
       Errc::token_connector, true},
      {"a connector that is not configured any more",
       [](Setting& s) {
         s.it.broker.replace_connectors(test::table_of({test::connector("other", "https://example.org")}));
         return s.it.mint(s.lease);
       },
       Errc::connector_unknown, true},
      {"a closed lease",
       [](Setting& s) {
         const std::string token = s.it.mint(s.lease);
         s.it.broker.close_lease(kFromAlice, s.lease->id).value();
         return token;
       },
       Errc::lease_closed, true},
      {"an expired lease that was not swept yet",
       [](Setting& s) {
         s.it.parts.clock.advance(12h);
         return s.sign(s.claims());
       },
       Errc::lease_closed, true},
      {"a forged token of a closed lease",
       [](Setting& s) {
         s.it.broker.close_lease(kFromAlice, s.lease->id).value();
         return s.sign(s.claims(), 1, LeaseKey());
       },
       Errc::token_signature},
      {"a lease that never existed",
       [](Setting& s) {
         Claims claims = s.claims();
         claims.lease = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
         return s.sign(claims);
       },
       Errc::token_signature},
      {"a lease id of another form",
       [](Setting& s) {
         Claims claims = s.claims();
         const std::string lease(1000, 'a');
         claims.lease = lease;
         return s.sign(claims);
       },
       Errc::token_key_unknown},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.name);
    Setting setting;
    const std::string token = each.token(setting);
    EXPECT_EQ(setting.it.redeem(token, setting.access), each.error);
    EXPECT_EQ(setting.it.broker.refused(), 1u);
    EXPECT_EQ(setting.it.broker.refusals()[each.error].value(), 1u);
    EXPECT_EQ(setting.it.broker.redeemed(), 0u);

    const std::string log = setting.it.log();
    const auto act = test::json_lines(log).back();
    EXPECT_EQ(text_of(act, "event"), "refuse");
    EXPECT_EQ(text_of(act, "reason"), reason_word(each.error));
    EXPECT_EQ(text_of(act, "repository"), "acme/app");
    EXPECT_EQ(text_of(act, "operation"), "fetch");
    EXPECT_EQ(text_of(act, "lease"), each.genuine ? setting.lease->id : "")
        << "a lease is named by genuine tokens only";
    EXPECT_EQ(text_of(act, "subject"), each.genuine ? "uid:4001" : "");
    if (!token.empty()) {
      EXPECT_THAT(log, Not(HasSubstr(token)));
      EXPECT_THAT(log, Not(HasSubstr(token.substr(0, 20)))) << "a part of a token is a part too many";
      EXPECT_THAT(log, Not(HasSubstr(token.substr(token.size() - 20)))) << "a part of a token is a part too many";
    }
    EXPECT_THAT(log, Not(HasSubstr(std::string(setting.key.reveal()))));
    EXPECT_THAT(log, Not(HasSubstr(hex_encode(setting.key.reveal()))));
  }
}

TEST_F(BrokerTest, AllowsAClockThatIsAMinuteBehind) {
  const LeasePtr lease = open();
  it.parts.clock.advance(60s);
  const std::string token = it.mint(lease);
  it.parts.clock.advance(-60s);
  EXPECT_EQ(it.redeem(token), Errc{});
  it.parts.clock.advance(-1s);
  EXPECT_EQ(it.redeem(token), Errc::token_not_yet_valid);
}

TEST_F(BrokerTest, WritesDownTheSameOfATokenThatItHasSeen) {
  const LeasePtr lease = open();
  const std::string token = it.mint(lease);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(it.redeem(token), Errc{});
  const auto acts = it.acts();
  const auto &first = acts.at(acts.size() - 2), &second = acts.back();
  EXPECT_EQ(first, second);
  EXPECT_EQ(text_of(second, "lease"), lease->id);
  EXPECT_EQ(text_of(second, "subject"), "uid:4001");
  EXPECT_EQ(text_of(second, "jti").size(), kTokenIdSize);
}

TEST_F(BrokerTest, RefusesWhatDiffersInOneCharacterFromATokenThatItHasSeen) {
  const std::string token = it.mint(open());
  ASSERT_EQ(it.redeem(token), Errc{});
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string other = token;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(it.redeem(other), Errc{}) << i;
  }
  EXPECT_NE(it.redeem(token.substr(1)), Errc{});
  EXPECT_NE(it.redeem(token.substr(0, token.size() - 1)), Errc{});
  EXPECT_NE(it.redeem(token + "A"), Errc{});
  EXPECT_EQ(it.redeem(token), Errc{});
}

// A gateway's lease comes back under its id when it is granted anew.
TEST_F(BrokerTest, RefusesATokenThatItHasSeenOnceItsLeaseHasAnotherKey) {
  const LeasePtr lease = open();
  const std::string token = it.mint(lease);
  ASSERT_EQ(it.redeem(token), Errc{});
  ASSERT_TRUE(it.parts.keys.rotate(it.parts.clock.now() + 240h, 240h, 24h));
  Lease again = *lease;
  again.kid = 2;
  ASSERT_TRUE(it.parts.leases.put(std::move(again), it.parts.keys));
  EXPECT_EQ(it.redeem(token), Errc::token_key_unknown);
  Lease former = *lease;
  ASSERT_TRUE(it.parts.leases.put(std::move(former), it.parts.keys));
  EXPECT_EQ(it.redeem(token), Errc{});
}

TEST_F(BrokerTest, EndsEveryTokenOfALeaseAtOnceAndNoOther) {
  const LeasePtr lease = open(), other = open();
  std::vector<std::string> tokens;
  for (int i = 0; i < 5; ++i) tokens.push_back(it.mint(lease));
  const std::string of_other = it.mint(other);
  for (const auto& token : tokens) EXPECT_EQ(it.redeem(token), Errc{});
  it.broker.close_lease(kFromAlice, lease->id).value();
  for (const auto& token : tokens) EXPECT_EQ(it.redeem(token), Errc::lease_closed);
  EXPECT_EQ(it.redeem(of_other), Errc{});
}

TEST_F(BrokerTest, KeepsLeasesWorkingOverAKeyRotation) {
  const LeasePtr before = open();
  const std::string token = it.mint(before);
  ASSERT_TRUE(it.parts.keys.rotate(it.parts.clock.now() + 240h, 240h, 24h));
  EXPECT_EQ(it.redeem(token), Errc{});
  EXPECT_EQ(it.redeem(it.mint(before)), Errc{});
  const LeasePtr after = open();
  EXPECT_EQ(before->kid, 1u);
  EXPECT_EQ(after->kid, 2u);
  EXPECT_EQ(it.redeem(it.mint(after)), Errc{});
}

// What an attacker can do with a kid: nothing, also where both keys are known.
TEST_F(BrokerTest, RefusesATokenUnderAnotherVersionThanItsLease) {
  const LeasePtr lease = open();
  ASSERT_TRUE(it.parts.keys.rotate(it.parts.clock.now() + 240h, 240h, 24h));
  const Claims claims{.audience = test::TestBroker::kProxy,
                      .subject = lease->subject,
                      .lease = lease->id,
                      .connector = "default/github",
                      .issued = 1'767'225'600,
                      .expires = 1'767'227'400,
                      .id = "0123456789abcdef"};
  for (const auto& key : {lease->key, it.parts.keys.derive(2, lease->id).value()}) {
    std::string token(token_size(claims, 2), '\0');
    mint_token(claims, 2, key, it.scratch.signer, token.data());
    EXPECT_EQ(it.redeem(token), Errc::token_key_unknown);
  }
}

// --- Rights

TEST_F(BrokerTest, AsksTheRightsOfConnectorAndLease) {
  const auto fetch = Operation::fetch, push = Operation::push;
  const LeasePtr whole = open();
  const LeasePtr one = open(kFromAlice, {.connectors = {"github"}, .repositories = {"acme/app"}});
  const LeasePtr readonly = open(kFromAlice, {.connectors = {"github"}, .operations = Operations::only(fetch)});
  const LeasePtr reader = open(kFromAlice, {.connectors = {"reader"}});
  const LeasePtr gitlab = open(kFromAlice, {.connectors = {"team/gitlab"}});
  struct Case {
    LeasePtr lease;
    std::string_view space, connector;
    Operation operation;
    std::string_view repository;
    bool known;
    Errc error;
  };
  for (const auto& each : {
           Case{whole, "default", "github", fetch, "acme/app", true, Errc{}},
           Case{whole, "default", "github", push, "acme/app", true, Errc{}},
           Case{whole, "default", "github", fetch, "open/a/b", true, Errc{}},
           Case{whole, "default", "github", fetch, "acme/sub/app", true, Errc::repository_denied},
           Case{whole, "default", "github", fetch, "evil/app", true, Errc::repository_denied},
           Case{whole, "default", "github", fetch, "ACME/app", true, Errc::repository_denied},
           Case{whole, "default", "github", fetch, "acme", true, Errc::repository_denied},
           Case{whole, "default", "github", fetch, "", true, Errc::repository_denied},
           Case{whole, "default", "github", fetch, "acme/app", false, Errc::operation_denied},
           Case{one, "default", "github", fetch, "acme/app", true, Errc{}},
           Case{one, "default", "github", fetch, "acme/app2", true, Errc::repository_denied},
           Case{one, "default", "github", fetch, "acme/app.git", true, Errc::repository_denied},
           Case{readonly, "default", "github", fetch, "acme/app", true, Errc{}},
           Case{readonly, "default", "github", push, "acme/app", true, Errc::operation_denied},
           Case{reader, "default", "reader", fetch, "any/thing", true, Errc{}},
           Case{reader, "default", "reader", push, "any/thing", true, Errc::operation_denied},
           Case{gitlab, "team", "gitlab", push, "any/thing", true, Errc{}},
           Case{gitlab, "team", "gitlab", fetch, "", false, Errc::operation_denied},
       }) {
    const std::string token = it.mint(each.lease, each.lease->connectors[0].text());
    EXPECT_EQ(it.redeem(token, {.space = each.space,
                                .connector = each.connector,
                                .operation = each.operation,
                                .repository = each.repository,
                                .reach = each.known ? Reach::repository : Reach::page}),
              each.error)
        << each.connector << ' ' << to_string(each.operation) << ' ' << each.repository;
  }
}

// The credential opens every page of its host that its account may see.
TEST_F(BrokerTest, GivesAPageOfNoRepositoryOnlyWhereItsConnectorSaysSo) {
  const Access page{.space = "default", .connector = "github", .repository = "", .reach = Reach::page};
  auto table = connectors();
  for (auto& each : table) each.plain_get = true;
  const std::string some = it.mint(open());
  EXPECT_EQ(it.redeem(some, page), Errc::operation_denied);
  it.broker.replace_connectors(test::table_of(table));
  EXPECT_EQ(it.redeem(some, page), Errc::repository_denied) << "the right to some repositories is not enough";
  table[0].rights.repositories.clear();
  it.broker.replace_connectors(test::table_of(table));
  EXPECT_EQ(it.redeem(some, page), Errc{});
  const LeasePtr narrow = open(kFromAlice, {.connectors = {"github"}, .repositories = {"acme/app"}});
  EXPECT_EQ(it.redeem(it.mint(narrow), page), Errc::repository_denied);
}

TEST_F(BrokerTest, WritesDownWhatIsRefusedElsewhereAndNothingForAnOpenQuestion) {
  const LeasePtr lease = open(kFromAlice, {.connectors = {"github"}, .operations = Operations::only(Operation::push)});
  const std::string token = it.mint(lease);
  Access access{.space = "default", .connector = "github", .repository = "acme/app"};
  access.undecided = true;
  EXPECT_EQ(it.redeem(token, access), Errc{});
  access.repository = "evil/app";
  EXPECT_EQ(it.redeem(token, access), Errc::repository_denied);
  it.broker.note_refusal(Errc::request_malformed, {}, nullptr);
  access.undecided = false;
  it.broker.note_refusal(Errc::upstream_refused, access, lease.get());
  EXPECT_EQ(it.broker.redeemed(), 0u);
  EXPECT_EQ(it.broker.refused(), 3u);
  for (const Errc reason : {Errc::repository_denied, Errc::request_malformed, Errc::upstream_refused})
    EXPECT_EQ(it.broker.refusals()[reason].value(), 1u) << reason_word(reason);
  std::vector<std::string> refusals;
  for (const auto& act : it.acts()) {
    EXPECT_NE(test::text_of(act, "event"), "redeem");
    if (test::text_of(act, "event") != "refuse") continue;
    refusals.push_back(test::text_of(act, "reason") + " " + test::text_of(act, "connector") + " " +
                       test::text_of(act, "operation") + " " + (test::text_of(act, "lease").empty() ? "-" : "lease"));
  }
  EXPECT_EQ(refusals, (std::vector<std::string>{"repository-denied default/github  lease", "request-malformed   -",
                                                "upstream-refused default/github fetch lease"}));
}

TEST_F(BrokerTest, WritesDownWhichConnectorsARefusedOpenerAskedFor) {
  EXPECT_FALSE(it.broker.open_lease(kFromAlice, {.connectors = {"github", "no\"such", std::string(1000, 'x')}}));
  const auto acts = it.acts();
  ASSERT_EQ(acts.size(), 1u);
  EXPECT_EQ(test::text_of(acts[0], "connector").substr(0, 17), "github,no\"such,xx");
  EXPECT_EQ(test::text_of(acts[0], "connector").size(), 255u);
}

// A lease that is wider than its connector, by a reload or by its file, gets what the connector gives.
TEST_F(BrokerTest, NeverWidensAConnectorsRights) {
  const LeasePtr lease = open();
  const std::string token = it.mint(lease);
  EXPECT_EQ(it.redeem(token), Errc{});
  auto narrower = connectors();
  narrower[0].rights.repositories = {RepositoryPattern("acme/other")};
  it.broker.replace_connectors(test::table_of(narrower));
  EXPECT_EQ(it.redeem(token), Errc::repository_denied);
  narrower[0].rights = {Operations::only(Operation::push), {}};
  it.broker.replace_connectors(test::table_of(narrower));
  EXPECT_EQ(it.redeem(token), Errc::operation_denied);
}

TEST_F(BrokerTest, SaysNothingOfRightsWithoutAGoodToken) {
  const LeasePtr lease = open();
  std::string token = it.mint(lease);
  token[token.rfind('.') + 1] ^= 1;
  for (const std::string_view repository : {"acme/app", "evil/app"})
    EXPECT_EQ(it.redeem(token, {.space = "default", .connector = "github", .repository = repository}),
              it.redeem(token, {.space = "nothing", .connector = "nothing", .repository = repository}));
}

TEST_F(BrokerTest, KeepsAGrantAliveOverAReload) {
  const LeasePtr lease = open();
  const auto grant = it.broker.redeem(
      it.mint(lease), {.space = "default", .connector = "github", .repository = "acme/app"}, it.scratch);
  it.broker.replace_connectors(test::table_of({}));
  it.broker.close_lease(kFromAlice, lease->id).value();
  EXPECT_EQ(grant->connector().address.host, "github.com");
  EXPECT_EQ(grant->lease().id, lease->id);
}

// --- Audit

TEST_F(BrokerTest, WritesOneAuditLineForEachAct) {
  const LeasePtr lease = open(kFromAlice, {.connectors = {"github", "team/gitlab"}});
  const std::string token = it.mint(lease);
  ASSERT_FALSE(parse_token(token, it.scratch.token).failed());
  const std::string jti(it.scratch.token.claims.id);
  it.redeem(token);
  it.broker.close_lease(kFromAlice, lease->id).value();
  const std::string log = it.log();
  const auto acts = test::json_lines(log);
  ASSERT_EQ(acts.size(), 4u);
  const char* const events[] = {"open", "mint", "redeem", "close"};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(text_of(acts[i], "event"), events[i]);
    EXPECT_EQ(text_of(acts[i], "lease"), lease->id);
    EXPECT_EQ(text_of(acts[i], "subject"), "uid:4001");
    EXPECT_EQ(text_of(acts[i], "time"), "2026-01-01T00:00:00.000Z");
  }
  EXPECT_EQ(text_of(acts[0], "connector"), "default/github,team/gitlab");
  EXPECT_EQ(text_of(acts[1], "connector"), "default/github");
  EXPECT_EQ(text_of(acts[1], "jti"), jti);
  EXPECT_EQ(text_of(acts[2], "jti"), jti);
  EXPECT_EQ(text_of(acts[2], "repository"), "acme/app");
  EXPECT_THAT(log, Not(HasSubstr(token.substr(token.rfind('.') + 1))));
  EXPECT_THAT(log, Not(HasSubstr(token.substr(0, 20))));
}

TEST_F(BrokerTest, BoundsWhatARequestPathPutsIntoTheAuditLog) {
  const std::string endless(1'000'000, '"');
  it.redeem("x", {.space = endless, .connector = endless, .repository = endless});
  const std::string log = it.log();
  EXPECT_LT(log.size(), 2000u);
  EXPECT_EQ(test::json_lines(log).size(), 1u);
}

// --- Threads

TEST_F(BrokerTest, ServesManyThreads) {
  const LeasePtr stays = open();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      Scratch scratch;
      std::string token(it.broker.token_size(*stays, stays->connectors[0]), '\0');
      for (int i = 0; i < 300; ++i) {
        if (!it.broker.mint(*stays, stays->connectors[0], scratch, token.data())) ++wrong;
        if (!it.broker.redeem(token, {.space = "default", .connector = "github", .repository = "acme/app"}, scratch))
          ++wrong;
      }
    });
    threads.emplace_back([&] {
      Scratch scratch;
      for (int i = 0; i < 50; ++i) {
        const auto lease = it.broker.open_lease(kFromBob, {.connectors = {"github"}}).value();
        std::string token(it.broker.token_size(*lease, lease->connectors[0]), '\0');
        it.broker.mint(*lease, lease->connectors[0], scratch, token.data()).value();
        it.broker.close_lease(kFromBob, lease->id).value();
        if (it.broker.redeem(token, {.space = "default", .connector = "github", .repository = "acme/app"}, scratch))
          ++wrong;
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    it.broker.replace_connectors(test::table_of(connectors()));
    it.parts.keys.rotate(it.parts.clock.now() + 240h * (i + 1), 240h, 24h * 365);
    it.broker.list_leases(kRoot);
    it.broker.close_expired();
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(BrokerTest, RedeemsNothingWhileItsLeasesAreNotConfirmed) {
  AuditedBroker audited;
  bool confirmed = true;
  audited.broker.redeem_while([&] { return confirmed; });
  const auto lease = audited.broker.open_lease({}, {.connectors = {"github"}}).value();
  const std::string token = audited.mint(lease);
  EXPECT_EQ(audited.redeem(token), Errc{});
  confirmed = false;
  EXPECT_EQ(audited.redeem(token), Errc::leases_unconfirmed);
  EXPECT_EQ(audited.redeem("nonsense"), Errc::token_malformed) << "who has no genuine token learns nothing";
}

}  // namespace
}  // namespace mintfs::broker
