#include "proxy/admin.h"

#include "broker/control_client.h"
#include "support/broker_fixture.h"

#include <gmock/gmock.h>
#include <spdlog/logger.h>

#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include <sys/stat.h>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using test::as_user;
using test::RawClient;
using test::Reply;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr uid_t kStranger = 4001;

class Admin : public testing::Test {
 protected:
  ~Admin() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    admin_.reset();
  }

  void serve(broker::HttpServer::Limits limits = AdminServer::kLimits) {
    admin_.emplace(context_, listen_admin(config_, -1), watched(), limits);
    admin_->start();
    thread_ = std::thread([this] { context_.run(); });
  }
  Watched watched() {
    return {.broker = broker_.broker,
            .server = server_,
            .opens = &opens_,
            .view_mounted = [this] { return mounted_.load(); },
            .stopping = [this] { return stopping_.load(); }};
  }
  Reply ask(std::string_view target, std::string_view method = "GET") {
    RawClient client(config_.socket);
    client.request(method, target);
    return client.reply();
  }

  test::TestBroker broker_{
      {test::connector("github", "https://github.com"), test::connector("team/x", "http://x.org")}};
  CredentialStore credentials_;
  spdlog::logger log_{"test"};
  ProxyConfig proxy_;
  ServerTls tls_{{}};
  Server server_{proxy_, broker_.broker, credentials_, log_, tls_, listen_on({{.port = 0}}, {})};
  broker::OpenCounts opens_;
  std::atomic<bool> mounted_{true};
  std::atomic<bool> stopping_{false};
  AdminConfig config_{.socket = broker_.directory.path() / "admin.sock", .host = {}};
  boost::asio::io_context context_{1};
  std::optional<AdminServer> admin_;
  std::thread thread_;
};

TEST_F(Admin, SaysThatItLives) {
  serve();
  const Reply reply = ask("/healthz");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "ok\n");
}

TEST_F(Admin, IsReadyWhenAllChecksAreGood) {
  serve();
  const Reply reply = ask("/readyz");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "serving: ok\nmint: ok\nview: ok\n");
  EXPECT_EQ(broker_.broker.minted(), 0u);
}

TEST_F(Admin, IsNotReadyWithoutAViewNorAtItsEnd) {
  serve();
  mounted_ = false;
  EXPECT_EQ(ask("/readyz").status, 503);
  EXPECT_NE(ask("/readyz").body.find("view: failed: the view is not mounted\n"), std::string::npos);
  mounted_ = true;
  stopping_ = true;
  EXPECT_EQ(ask("/readyz").status, 503);
  EXPECT_NE(ask("/readyz").body.find("serving: failed"), std::string::npos);
  EXPECT_EQ(ask("/healthz").status, 200);
}

TEST_F(Admin, TellsOfAConnectorAndLetsItCountWhereItIsAskedFor) {
  serve();
  auto& counts = server_.traffic().counts_of({"team", "x"}, 0);
  counts.note({.error = Errc::upstream_unreachable, .at = steady_clock::now()});
  const Reply all = ask("/readyz");
  EXPECT_EQ(all.status, 200) << "one team's dead server does not concern the others";
  EXPECT_THAT(all.body, testing::ContainsRegex("\nconnector team/x: upstream-unreachable, [0-9]+ s ago\n"));
  for (const auto* target : {"/readyz?connector=team/x", "/readyz?connector=team%2Fx"})
    EXPECT_EQ(ask(target).status, 503);
  EXPECT_EQ(ask("/readyz?connector=github").status, 200) << "nothing bad is known of it";
  counts.note({.error = Errc{}, .at = steady_clock::now()});
  EXPECT_EQ(ask("/readyz?connector=team/x").status, 200);
}

TEST_F(Admin, LetsAFailureCountForALimitedTime) {
  const auto now = steady_clock::now();
  const auto failed = [&](steady_clock::duration ago) {
    return Outcome{.error = Errc::upstream_timeout, .at = now - ago};
  };
  EXPECT_TRUE(counts_as_failed(failed(4min), now));
  EXPECT_FALSE(counts_as_failed(failed(5min), now));
  EXPECT_FALSE(counts_as_failed(std::nullopt, now));
  EXPECT_EQ(describe(failed(5min), now), "upstream-timeout, 300 s ago");
  EXPECT_EQ(describe(std::nullopt, now), "not used yet");
}

TEST_F(Admin, AnswersWhatItDoesNotKnowWithItsOwnStatus) {
  serve();
  for (const auto& [target, status] : std::map<std::string, int>{{"/", 404},
                                                                 {"/metrics/", 404},
                                                                 {"/v1/leases", 404},
                                                                 {"/readyz?connector=none", 404},
                                                                 {"/readyz?connector=a/b/c", 404},
                                                                 {"/readyz?connector=", 400},
                                                                 {"/readyz?connector=github&connector=team/x", 400},
                                                                 {"/readyz?verbose", 400},
                                                                 {"http://x/readyz", 404}})
    EXPECT_EQ(ask(target).status, status) << target;
  for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"})
    for (const auto* target : {"/healthz", "/readyz", "/metrics"}) {
      const Reply reply = ask(target, method);
      EXPECT_EQ(reply.status, 405) << method << target;
      EXPECT_NE(reply.head.find("Allow: GET, HEAD\r\n"), std::string::npos);
    }
}

TEST_F(Admin, AnswersHeadWithTheHeadAlone) {
  serve();
  for (const auto* target : {"/healthz", "/readyz", "/metrics"}) {
    RawClient client(config_.socket);
    client.send("HEAD " + std::string(target) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string answer = client.all();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_EQ(answer.find("\r\n\r\n"), answer.size() - 4) << answer;
    EXPECT_NE(answer.find("\r\nContent-Length: "), std::string::npos) << answer;
    EXPECT_EQ(answer.find("Content-Length: 0\r\n"), std::string::npos) << "it tells the size of what GET gives";
  }
}

TEST_F(Admin, RefusesWhatIsTooLargeOrNoRequest) {
  serve();
  RawClient large(config_.socket);
  large.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + std::string(20'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(large.reply().status, 431);
  RawClient body(config_.socket);
  body.request("GET", "/healthz", std::string(2000, 'x'));
  EXPECT_EQ(body.reply().status, 413);
  RawClient nonsense(config_.socket);
  nonsense.send("nonsense\r\n\r\n");
  EXPECT_EQ(nonsense.reply().status, 400);
}

TEST_F(Admin, BoundsItsConnections) {
  serve({.connections = 2, .request_size = 1024, .arrival = 10s});
  RawClient one(config_.socket);
  RawClient two(config_.socket);
  one.request("GET", "/healthz");
  two.request("GET", "/healthz");
  EXPECT_EQ(one.reply().status, 200);
  EXPECT_EQ(two.reply().status, 200);
  RawClient three(config_.socket);
  EXPECT_EQ(three.reply().status, 503);
  EXPECT_TRUE(three.at_end());
}

TEST_F(Admin, EndsAConnectionThatDoesNotAskInTime) {
  serve({.connections = 2, .request_size = 1024, .arrival = 1s});
  RawClient slow(config_.socket);
  slow.send("GET /healthz HT");
  EXPECT_EQ(ask("/healthz").status, 200);
  EXPECT_TRUE(slow.at_end());
}

TEST_F(Admin, MakesASocketThatIsClosedToOthers) {
  serve();
  struct stat entry {};
  ASSERT_EQ(::stat(config_.socket.c_str(), &entry), 0);
  EXPECT_EQ(entry.st_mode & 07777, 0660u);
  EXPECT_EQ(entry.st_uid, ::geteuid());
  EXPECT_EQ(entry.st_gid, ::getegid());
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  as_user(kStranger, {}, [&] { EXPECT_THROW(ask("/healthz"), std::runtime_error); });
}

TEST_F(Admin, RemovesItsSocketButNotASuccessors) {
  auto first = std::make_unique<AdminServer>(context_, listen_admin(config_, -1), watched());
  EXPECT_THROW(listen_admin(config_, -1), std::runtime_error) << "somebody listens there";
  std::filesystem::remove(config_.socket);
  auto second = std::make_unique<AdminServer>(context_, listen_admin(config_, -1), watched());
  first.reset();
  EXPECT_TRUE(std::filesystem::exists(config_.socket));
  second.reset();
  EXPECT_FALSE(std::filesystem::exists(config_.socket));
}

TEST_F(Admin, TakesOverTheSocketOfAPredecessor) {
  auto first = std::make_unique<AdminServer>(context_, listen_admin(config_, -1), watched());
  const int inherited = ::dup(first->descriptor());
  struct stat before {};
  ASSERT_EQ(::stat(config_.socket.c_str(), &before), 0);
  auto second = std::make_unique<AdminServer>(context_, listen_admin(config_, inherited), watched());
  struct stat after {};
  ASSERT_EQ(::stat(config_.socket.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino) << "there was no moment without it";
  EXPECT_EQ(second->descriptor(), inherited);
  first->leave();
  first.reset();
  EXPECT_TRUE(std::filesystem::exists(config_.socket));
  second.reset();
  EXPECT_TRUE(std::filesystem::exists(config_.socket)) << "it never began, so the socket is not its own";
}

TEST_F(Admin, ListensAtAnAddressAndTakesNoSocketOfAnotherKind) {
  const AdminConfig tcp{.socket = {}, .host = "127.0.0.1", .port = 0};
  const broker::ListeningSocket unix = listen_admin(config_, -1);
  const broker::ListeningSocket made = listen_admin(tcp, unix.descriptor);
  EXPECT_TRUE(made.where.starts_with("http://127.0.0.1:")) << made.where;
  const int copy = ::dup(made.descriptor);
  const broker::ListeningSocket again = listen_admin(tcp, copy);
  EXPECT_EQ(again.descriptor, copy);
  EXPECT_EQ(again.where, made.where);
  const broker::ListeningSocket back = listen_admin(config_, again.descriptor);
  EXPECT_EQ(back.where, "unix:" + config_.socket.string());
  ::close(made.descriptor);
  ::close(back.descriptor);
}

// --- /metrics ----------------------------------------------------------------------------------------

TEST_F(Admin, TellsEachCountUnderItsName) {
  serve();
  broker_.open(1000);
  auto& counts = server_.traffic().counts_of({"default", "github"}, 0);
  counts[Work::push].received.add(7);
  counts[Work::push].sent.add(9);
  counts[Work::push].durations.observe(20ms);
  counts.note({.error = Errc::upstream_timeout, .at = steady_clock::now()});
  broker_.broker.note_refusal(Errc::request_malformed, {}, nullptr);
  opens_.ok.add(3);
  opens_.durations.observe(7us);
  const Reply reply = ask("/metrics");
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.head.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  const std::string of_push = R"({connector="default/github",operation="push")";
  for (const std::string& line :
       {std::string("mintfs_leases_open 1"), "mintfs_requests_total" + of_push + "} 1",
        "mintfs_received_bytes_total" + of_push + "} 7", "mintfs_sent_bytes_total" + of_push + "} 9",
        "mintfs_request_duration_seconds_bucket" + of_push + R"(,le="0.01"} 0)",
        "mintfs_request_duration_seconds_bucket" + of_push + R"(,le="+Inf"} 1)",
        "mintfs_request_duration_seconds_count" + of_push + "} 1",
        std::string(R"(mintfs_upstream_errors_total{connector="default/github",reason="upstream-timeout"} 1)"),
        std::string(R"(mintfs_refusals_total{reason="request-malformed"} 1)"),
        std::string(R"(mintfs_refusals_total{reason="token-signature"} 0)"), std::string("mintfs_view_opens_total 3"),
        std::string(R"(mintfs_view_open_duration_seconds_bucket{le="1e-05"} 1)"), std::string("mintfs_view_mounted 1"),
        std::string("mintfs_client_connections_limit 4096"),
        std::string(R"(mintfs_build_info{version=")" MINTFS_VERSION R"("} 1)")})
    EXPECT_NE(reply.body.find("\n" + line + "\n"), std::string::npos) << line << "\n" << reply.body;
}

TEST_F(Admin, HasABoundedNumberOfLines) {
  serve();
  for (int i = 0; i < 1500; ++i) {
    auto& counts = server_.traffic().counts_of({"team", "c" + std::to_string(i)}, 0);
    for (std::size_t work = 0; work < kWorks; ++work) counts[static_cast<Work>(work)].durations.observe(1ms);
  }
  const std::string body = ask("/metrics").body;
  std::set<std::string> connectors;
  for (std::size_t at = 0; (at = body.find("connector=\"", at)) != std::string::npos;) {
    at += 11;
    connectors.insert(body.substr(at, body.find('"', at) - at));
  }
  EXPECT_EQ(connectors.size(), Traffic::kMaxConnectors + 1);
  EXPECT_TRUE(connectors.contains("other"));
}

}  // namespace
}  // namespace mintfs::proxy
