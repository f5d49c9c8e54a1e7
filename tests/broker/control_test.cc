#include "broker/control.h"

#include "control_client.h"
#include "support/broker_fixture.h"

#include <gtest/gtest.h>
#include <boost/asio/local/stream_protocol.hpp>

#include <fstream>
#include <optional>
#include <thread>

namespace mintfs::broker {
namespace {

using test::as_user;
using test::RawClient;
using test::Reply;

constexpr uid_t kAlice = 4001;
constexpr uid_t kBob = 4002;
constexpr gid_t kCi = 4100;

std::vector<ConnectorConfig> connectors() {
  auto open = test::connector("github", "https://github.com");
  open.allow.users = {std::to_string(kAlice), std::to_string(kBob)};
  open.auth = {.type = AuthConfig::Type::basic, .username = "canary-user", .secret_file = "/etc/canary-secret"};
  auto narrow = test::connector("team/gitlab", "https://gitlab.example.org/git", {"acme/*"});
  narrow.rights.operations = Operations::only(Operation::fetch);
  narrow.allow.groups = {std::to_string(kCi)};
  return {open, narrow};
}

class Control : public testing::Test {
 protected:
  ~Control() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    server_.reset();
  }

  void make(ControlServer::Bounds bounds = {}) {
    server_.emplace(
        context_, broker_.broker, file_, "/run/mintfs/fs", [] { return R"({"mounted":true,"pid":-1})"; }, bounds);
    server_->start();
  }
  void serve(ControlServer::Bounds bounds = {}) {
    make(bounds);
    thread_ = std::thread([this] { context_.run(); });
  }

  Reply ask(std::string_view method, std::string_view target, std::string_view body = {}) {
    RawClient client(file_);
    client.request(method, target, body);
    return client.reply();
  }
  Reply ask_as(uid_t uid, std::string_view method, std::string_view target, std::string_view body = {},
               std::vector<gid_t> groups = {}) {
    Reply reply;
    as_user(uid, std::move(groups), [&] { reply = ask(method, target, body); });
    return reply;
  }

  test::TestBroker broker_{connectors()};
  std::filesystem::path file_ = broker_.directory.path() / "control.sock";
  boost::asio::io_context context_{1};
  std::optional<ControlServer> server_;
  std::thread thread_;
};

// What concerns several users can be told only by root.
class ControlOfManyUsers : public Control {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to become other users";
  }
};

TEST_F(Control, OpensShowsListsAndClosesALease) {
  serve();
  const Reply opened = ask("POST", "/v1/leases", R"({"connectors":["github"],"uid":1000,"ttl":"2h",
      "labels":{"job":"7"},"operations":["fetch"],"repositories":["acme/*"],"refs":["refs/heads/bot/*"]})");
  ASSERT_EQ(opened.status, 201) << opened.body;
  EXPECT_NE(opened.head.find("Content-Type: application/json"), std::string::npos);
  const auto lease = opened.json();
  const std::string id = opened.text("id");
  EXPECT_EQ(id.size(), kLeaseIdSize);
  EXPECT_EQ(opened.text("path"), "/run/mintfs/fs/" + id);
  EXPECT_EQ(lease.at("uid"), 1000);
  EXPECT_EQ(opened.text("subject"), "uid:1000");
  EXPECT_EQ(boost::json::serialize(lease.at("connectors")), R"(["default/github"])");
  EXPECT_EQ(boost::json::serialize(lease.at("operations")), R"(["fetch"])");
  EXPECT_EQ(boost::json::serialize(lease.at("repositories")), R"(["acme/*"])");
  EXPECT_EQ(boost::json::serialize(lease.at("refs")), R"(["refs/heads/bot/*"])");
  EXPECT_EQ(boost::json::serialize(lease.at("labels")), R"({"job":"7"})");
  EXPECT_EQ(opened.text("opened"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(opened.text("expires"), "2026-01-01T02:00:00Z");
  EXPECT_FALSE(lease.contains("pid"));

  EXPECT_EQ(ask("GET", "/v1/leases/" + id).json(), lease);
  EXPECT_EQ(ask("GET", "/v1/leases").json().at("leases").as_array().at(0), boost::json::value(lease));
  const Reply closed = ask("DELETE", "/v1/leases/" + id);
  EXPECT_EQ(closed.status, 204);
  EXPECT_EQ(closed.body, "");
  for (const auto* method : {"GET", "DELETE"}) {
    const Reply gone = ask(method, "/v1/leases/" + id);
    EXPECT_EQ(gone.status, 404);
    EXPECT_EQ(gone.text("reason"), "lease-closed");
    EXPECT_NE(gone.head.find("Content-Type: application/problem+json"), std::string::npos);
  }
}

TEST_F(Control, TakesTheTimeToLiveInSecondsToo) {
  serve();
  EXPECT_EQ(ask("POST", "/v1/leases", R"({"connectors":["github"],"ttl":90})").text("expires"), "2026-01-01T00:01:30Z");
}

TEST_F(ControlOfManyUsers, OpensAndRenewsALeaseForAPod) {
  serve();
  const std::string body = R"({"connectors":["github"],"pod":"team/build-7","ttl":"1h","token_ttl":"5m"})";
  const Reply opened = ask("POST", "/v1/leases", body);
  ASSERT_EQ(opened.status, 201) << opened.body;
  EXPECT_EQ(opened.text("subject"), "pod:team/build-7");
  EXPECT_EQ(opened.json().at("pod"), true);
  EXPECT_EQ(opened.json().at("token_ttl_seconds"), 300);
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/leases", body).status, 403);

  const std::string renew = "/v1/leases/" + opened.text("id") + "/renew";
  EXPECT_EQ(ask("POST", renew, R"({"ttl":"2h"})").text("expires"), "2026-01-01T02:00:00Z");
  EXPECT_EQ(ask_as(kAlice, "POST", renew, R"({"ttl":"2h"})").status, 403);
  EXPECT_EQ(ask("GET", renew).status, 405);
  for (const auto* wrong : {"", "{}", "[]", R"({"ttl":0})", R"({"ttl":"x"})", R"({"ttl":"2h","uid":0})"})
    EXPECT_EQ(ask("POST", renew, wrong).status, 400) << wrong;
  EXPECT_EQ(ask("POST", "/v1/leases//renew", R"({"ttl":"2h"})").status, 404);
  EXPECT_EQ(ask("POST", "/v1/leases/aaaaaaaaaaaaaaaaaaaaaaaaaa/renew", R"({"ttl":"2h"})").status, 404);
}

TEST_F(Control, RefusesWhatIsNotALease) {
  serve();
  struct Case {
    std::string body;
    int status;
    std::string reason;
    std::string detail;  // a part of it
  };
  const Case cases[] = {
      {"", 400, "lease-malformed", "not a JSON object"},
      {"[]", 400, "lease-malformed", "not a JSON object"},
      {R"({"connectors":["github"]} x)", 400, "lease-malformed", "not a JSON object"},
      {std::string(1000, '['), 400, "lease-malformed", "not a JSON object"},
      {"{}", 400, "lease-malformed", "1 to 32 connectors"},
      {R"({"connectors":"github"})", 400, "lease-malformed", "'connectors' must be a list"},
      {R"({"connectors":[1]})", 400, "lease-malformed", "'connectors' must be a list"},
      {R"({"connectors":["github"],"repository":["a/b"]})", 400, "lease-malformed", "'repository' is unknown"},
      {R"({"connectors":["github"],"refs":[]})", 400, "lease-malformed", "'refs' must be"},
      {R"({"connectors":["github"],"refs":"refs/*"})", 400, "lease-malformed", "'refs' must be"},
      {R"({"connectors":["github"],"refs":["main"]})", 400, "lease-malformed", "pattern of references"},
      {R"({"connectors":["github"],"repositories":[]})", 400, "lease-malformed", "'repositories' must be"},
      {R"({"connectors":["github"],"repositories":["../x"]})", 400, "lease-malformed", "repository pattern"},
      {R"({"connectors":["github"],"operations":[]})", 400, "lease-malformed", "'operations' must be"},
      {R"({"connectors":["github"],"operations":["delete"]})", 400, "lease-malformed", "'operations' must be"},
      {R"({"connectors":["github"],"uid":-1})", 400, "lease-malformed", "'uid' must be"},
      {R"({"connectors":["github"],"uid":4294967295})", 400, "lease-malformed", "'uid' must be"},
      {R"({"connectors":["github"],"uid":1.5})", 400, "lease-malformed", "'uid' must be"},
      {R"({"connectors":["github"],"ttl":"2 hours"})", 400, "lease-malformed", "'ttl' must be"},
      {R"({"connectors":["github"],"ttl":0})", 400, "lease-malformed", "'ttl' must be"},
      {R"({"connectors":["github"],"ttl":"25h"})", 400, "lease-malformed", "lease.max_ttl"},
      {R"({"connectors":["github"],"labels":{"a":1}})", 400, "lease-malformed", "'labels' must be"},
      {R"({"connectors":["github"],"labels":{"a":"\n"}})", 400, "lease-malformed", "printable"},
      {R"({"connectors":["github"],"pid":0})", 400, "lease-malformed", "'pid' must be"},
      {R"({"connectors":["github"],"pid":"parent"})", 400, "lease-malformed", "'pid' must be"},
      {R"({"connectors":["github"],"pid":2147483647})", 400, "lease-malformed", "no process"},
      {R"({"connectors":["nowhere"]})", 422, "connector-unknown", "default/nowhere"},
      {R"({"connectors":["team/gitlab"],"operations":["push"]})", 403, "operation-denied", "team/gitlab"},
      {R"({"connectors":["team/gitlab"],"repositories":["other/x"]})", 403, "repository-denied", "other/x"},
  };
  for (const auto& each : cases) {
    const Reply reply = ask("POST", "/v1/leases", each.body);
    ASSERT_EQ(reply.status, each.status) << each.body << "\n" << reply.body;
    EXPECT_EQ(reply.json().at("status"), each.status) << each.body;
    EXPECT_EQ(reply.text("reason"), each.reason) << each.body;
    EXPECT_NE(reply.text("detail").find(each.detail), std::string::npos) << reply.body;
  }
  EXPECT_EQ(broker_.leases.size(), 0u);
}

TEST_F(Control, TestsAPolicy) {
  serve();
  const auto id = ask("POST", "/v1/leases", R"({"connectors":["github"],"refs":["refs/heads/bot/*"]})").text("id");
  const std::string push =
      R"("connector":"github","lease":")" + id + R"(","repository":"acme/app.git","operation":"push")";
  const auto answer = [&](const std::string& members) {
    const Reply reply = ask("POST", "/v1/policy/test", "{" + members + "}");
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.body;
  };
  EXPECT_EQ(answer(push + R"(,"ref":"refs/heads/main")"),
            R"({"rule":"lease.refs","allowed":false,"reason":"reference-denied",)"
            R"_("detail":"the lease is for other references only (refs)","refs_open":false,"steps":[)_"
            R"({"rule":"connector.operations","allowed":true},{"rule":"lease.operations","allowed":true},)"
            R"({"rule":"reference-name","allowed":true},{"rule":"lease.refs","allowed":false}]})"
            "\n");
  EXPECT_NE(answer(push + R"(,"ref":"refs/heads/bot/x")").find(R"("pattern":"refs/heads/bot/*","refs_open":false)"),
            std::string::npos);
  EXPECT_NE(answer(push).find(R"("allowed":true,"refs_open":true)"), std::string::npos);
  EXPECT_NE(
      answer(R"("connector":"github","repository":"acme/app","operation":"push","ref":"x")").find(R"("allowed":true)"),
      std::string::npos)
      << "where references are not restricted the proxy does not ask";
  EXPECT_NE(answer(R"("connector":"team/gitlab","repository":"x/y","operation":"fetch")")
                .find(R"("reason":"repository-denied","detail":"the connector gives other repositories only)"),
            std::string::npos);
  EXPECT_NE(answer(R"("connector":"team/gitlab","lease":")" + id + R"(","repository":"acme/x","operation":"fetch")")
                .find(R"({"rule":"lease.connectors","allowed":false,)"),
            std::string::npos);
}

TEST_F(Control, RefusesAPolicyTestThatMeansNothing) {
  serve();
  struct Case {
    std::string body;
    int status;
    std::string reason, detail;
  };
  const std::string start = R"({"connector":"github","repository":"acme/app",)";
  const Case cases[] = {
      {"[]", 400, "request-malformed", "not a JSON object"},
      {R"({"connector":1})", 400, "request-malformed", "'connector' must be a string"},
      {R"({"operations":"fetch"})", 400, "request-malformed", "known are connector, lease, repository"},
      {start + R"("operation":"pull"})", 400, "request-malformed", "'operation' is"},
      {start + R"("operation":"fetch","ref":"refs/heads/x"})", 400, "request-malformed", "'ref' is asked"},
      {start + R"("operation":"push","change":"force"})", 400, "request-malformed", "'change' is"},
      {R"({"connector":"github","repository":"acme/*","operation":"fetch"})", 400, "request-malformed", "'repository'"},
      {R"({"connector":"github","repository":"a/../b","operation":"fetch"})", 400, "request-malformed", "'repository'"},
      {R"({"connector":"none","repository":"acme/app","operation":"fetch"})", 422, "connector-unknown", ""},
      {start + R"("operation":"fetch","lease":"abcdefghijklmnopqrstuvwxyz"})", 404, "lease-closed", ""},
  };
  for (const auto& each : cases) {
    const Reply reply = ask("POST", "/v1/policy/test", each.body);
    ASSERT_EQ(reply.status, each.status) << each.body << "\n" << reply.body;
    EXPECT_EQ(reply.text("reason"), each.reason) << each.body;
    EXPECT_NE(reply.text("detail").find(each.detail), std::string::npos) << reply.body;
  }
}

TEST_F(ControlOfManyUsers, ToldOnlyTheirOwnPolicies) {
  serve();
  const auto id = ask_as(kAlice, "POST", "/v1/leases", R"({"connectors":["github"]})").text("id");
  const std::string own = R"({"connector":"github","repository":"a/b","operation":"fetch","lease":")" + id + R"("})";
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/policy/test", own).status, 200);
  EXPECT_EQ(ask_as(kBob, "POST", "/v1/policy/test", own).text("reason"), "lease-closed");
  EXPECT_EQ(ask("POST", "/v1/policy/test", own).status, 200) << "root sees all";
  const std::string narrow = R"({"connector":"team/gitlab","repository":"acme/b","operation":"fetch"})";
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/policy/test", narrow).text("reason"), "connector-denied");
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/policy/test", narrow, {kCi}).status, 200);
}

TEST_F(Control, RefusesWhatIsNotARequest) {
  serve();
  struct Case {
    std::string request;
    int status;
    std::string reason;
  };
  const std::string host = " HTTP/1.1\r\nHost: mintfs\r\n";
  const Case cases[] = {
      {"GET /" + host + "\r\n", 404, "path-unknown"},
      {"GET /v1/leases/" + host + "\r\n", 404, "path-unknown"},
      {"GET /v1/leases/a/b" + host + "\r\n", 404, "path-unknown"},
      {"GET /v1/leasesx" + host + "\r\n", 404, "path-unknown"},
      {"GET /v1/leases?all=1" + host + "\r\n", 404, "path-unknown"},
      {"GET /v1/leases/../status" + host + "\r\n", 404, "path-unknown"},
      {"GET /v1/leases/nonsense" + host + "\r\n", 404, "lease-closed"},
      {"garbage\r\n\r\n", 400, "request-malformed"},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15), 400, "request-malformed"},
      {"GET /v1/status HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", 431, "header-too-large"},
      {"POST /v1/leases" + host + "Content-Length: 65537\r\n\r\n", 413, "body-too-large"},
      {"POST /v1/leases" + host + "Content-Length: -1\r\n\r\n", 400, "request-malformed"},
  };
  for (const auto& each : cases) {
    RawClient client(file_);
    client.send(each.request);
    const Reply reply = client.reply();
    ASSERT_EQ(reply.status, each.status) << each.request.substr(0, 60) << "\n" << reply.body;
    EXPECT_EQ(reply.text("reason"), each.reason) << each.request.substr(0, 60);
  }
}

TEST_F(Control, NamesTheMethodsOfAPath) {
  serve();
  const std::pair<const char*, const char*> paths[] = {{"/v1/leases", "GET, POST"},
                                                       {"/v1/leases/abc", "GET, DELETE"},
                                                       {"/v1/connectors", "GET"},
                                                       {"/v1/status", "GET"},
                                                       {"/v1/policy/test", "POST"}};
  for (const auto& [path, methods] : paths) {
    const Reply reply = ask("PATCH", path);
    EXPECT_EQ(reply.status, 405) << path;
    EXPECT_NE(reply.head.find(std::string("Allow: ") + methods + "\r\n"), std::string::npos) << reply.head;
    EXPECT_EQ(reply.text("reason"), "method-not-allowed");
  }
}

TEST_F(Control, ListsConnectorsWithoutTheirCredential) {
  serve();
  const Reply reply = ask("GET", "/v1/connectors");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body.find("canary"), std::string::npos) << reply.body;
  const auto json = reply.json();
  const auto& list = json.at("connectors").as_array();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(boost::json::serialize(list[0]),
            R"({"name":"default/github","class":"git","address":"https://github.com",)"
            R"("operations":["fetch","push"],"repositories":[],)"
            R"("refs":{"allow":[],"deny":[],"deny_create":false,"deny_delete":false},"allowed":true})");
  EXPECT_EQ(boost::json::serialize(list[1]),
            R"({"name":"team/gitlab","class":"git","address":"https://gitlab.example.org/git",)"
            R"("operations":["fetch"],"repositories":["acme/*"],)"
            R"("refs":{"allow":[],"deny":[],"deny_create":false,"deny_delete":false},"allowed":true})");
}

TEST_F(Control, TellsItsStatus) {
  serve();
  ask("POST", "/v1/leases", R"({"connectors":["github"]})");
  ask("POST", "/v1/leases", R"({"connectors":["nowhere"]})");
  const auto status = ask("GET", "/v1/status").json();
  EXPECT_EQ(status.at("version"), MINTFS_VERSION);
  EXPECT_EQ(status.at("pid"), ::getpid()) << "what the daemon adds replaces nothing";
  EXPECT_EQ(status.at("mounted"), true);
  EXPECT_EQ(status.at("mount"), "/run/mintfs/fs");
  EXPECT_EQ(status.at("proxy_url"), "http://127.0.0.1:8418");
  EXPECT_EQ(status.at("connectors"), 2);
  EXPECT_EQ(status.at("leases"), 1);
  EXPECT_EQ(status.at("minted"), 0);
  EXPECT_EQ(status.at("redeemed"), 0);
  EXPECT_EQ(status.at("refused"), 1);
  EXPECT_EQ(status.at("audit_lost"), 0);
  EXPECT_GE(status.at("uptime_seconds").as_int64(), 0);
}

TEST_F(Control, AnswersManyRequestsOnOneConnection) {
  serve();
  RawClient client(file_);
  client.send("GET /v1/leases HTTP/1.1\r\nHost: m\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: m\r\n\r\n");
  EXPECT_EQ(client.reply().status, 200);
  EXPECT_EQ(client.reply().status, 404);
  client.send("GET /v1/status HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.reply().status, 200);
  EXPECT_TRUE(client.at_end());
}

TEST_F(Control, DropsARequestThatDoesNotArriveAndServesOthers) {
  serve({.arrival = std::chrono::seconds(1)});
  RawClient slow(file_);
  slow.send("POST /v1/leases HTTP/1.1\r\nHost: mintfs\r\nContent-Length: 50\r\n\r\n{");
  EXPECT_EQ(ask("GET", "/v1/status").status, 200);
  EXPECT_TRUE(slow.at_end());
}

TEST_F(Control, ClosesALeaseWhoseOpenerDidNotStayForItsId) {
  make();
  {
    RawClient client(file_);
    client.request("POST", "/v1/leases", R"({"connectors":["github"]})");
  }
  context_.poll();  // all of it, while nobody is at the other end
  EXPECT_EQ(broker_.leases.size(), 0u);
  EXPECT_EQ(broker_.broker.refused(), 0u) << "it had been opened";
}

TEST_F(Control, StopsWithoutWaitingForIdleConnections) {
  make();
  RawClient idle(file_);
  context_.poll();
  server_->stop();
  context_.run_for(std::chrono::seconds(10));
  EXPECT_TRUE(context_.stopped()) << "nothing is left to do";
  EXPECT_TRUE(idle.at_end());
}

TEST_F(Control, TakesThePlaceOfAKilledDaemon) {
  { boost::asio::local::stream_protocol::acceptor killed(context_, file_.string()); }
  ASSERT_TRUE(std::filesystem::exists(file_));
  serve();
  EXPECT_EQ(ask("GET", "/v1/status").status, 200);
}

TEST_F(Control, SaysInOneSentenceWhichSocketItCannotMake) {
  file_ = broker_.directory.path() / "missing" / "control.sock";
  try {
    make();
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_EQ(std::string(error.what()),
              "cannot make the control socket " + file_.string() +
                  ": No such file or directory; make room there or choose another daemon.runtime_dir");
  }
  file_ = broker_.directory.path() / std::string(100, 'x');
  EXPECT_THROW(make(), std::runtime_error);
}

TEST_F(Control, LeavesAFileThatIsNotASocketAlone) {
  std::ofstream(file_) << "precious";
  try {
    make();
    FAIL() << "was replaced";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find(file_.string() + " is in the way"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(std::filesystem::is_regular_file(file_));
}

TEST_F(ControlOfManyUsers, NobodySeesTheLeasesOfOthers) {
  serve();
  const Reply opened = ask_as(kAlice, "POST", "/v1/leases", R"({"connectors":["github"]})");
  ASSERT_EQ(opened.status, 201) << opened.body;
  EXPECT_EQ(opened.json().at("uid"), kAlice);
  const std::string path = "/v1/leases/" + opened.text("id");

  EXPECT_EQ(ask_as(kBob, "GET", path).status, 404);
  EXPECT_EQ(ask_as(kBob, "DELETE", path).status, 404);
  EXPECT_EQ(ask_as(kBob, "GET", path).body, ask_as(kBob, "GET", "/v1/leases/nonsense").body);
  EXPECT_EQ(ask_as(kBob, "GET", "/v1/leases").json().at("leases").as_array().size(), 0u);
  EXPECT_EQ(ask_as(kAlice, "GET", path).status, 200);
  EXPECT_EQ(ask("GET", path).status, 200) << "the administrator";
  EXPECT_EQ(ask_as(kAlice, "DELETE", path).status, 204);
}

TEST_F(ControlOfManyUsers, OnlyTheAdministratorOpensForSomebodyElse) {
  serve();
  const std::string body = R"({"connectors":["github"],"uid":)" + std::to_string(kBob) + "}";
  const Reply refused = ask_as(kAlice, "POST", "/v1/leases", body);
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.text("reason"), "lease-denied");

  const Reply opened = ask("POST", "/v1/leases", body);
  ASSERT_EQ(opened.status, 201);
  EXPECT_EQ(ask_as(kBob, "GET", "/v1/leases/" + opened.text("id")).status, 200);
  EXPECT_EQ(ask_as(kAlice, "GET", "/v1/leases/" + opened.text("id")).status, 404);
}

TEST_F(ControlOfManyUsers, AllowAdmitsByUserAndByGroup) {
  serve();
  const std::string github = R"({"connectors":["github"]})", gitlab = R"({"connectors":["team/gitlab"]})";
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/leases", github).status, 201);
  EXPECT_EQ(ask_as(4003, "POST", "/v1/leases", github).text("reason"), "connector-denied");
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/leases", gitlab).text("reason"), "connector-denied");
  EXPECT_EQ(ask_as(kAlice, "POST", "/v1/leases", gitlab, {50, kCi, 60}).status, 201) << "supplementary group";
  EXPECT_EQ(ask_as(kCi, "POST", "/v1/leases", gitlab).status, 201) << "primary group";
  const auto allowed = [&](uid_t uid, std::size_t index) {
    return ask_as(uid, "GET", "/v1/connectors").json().at("connectors").as_array().at(index).at("allowed").as_bool();
  };
  EXPECT_TRUE(allowed(kAlice, 0));
  EXPECT_FALSE(allowed(kAlice, 1));
}

TEST_F(ControlOfManyUsers, BindsALeaseToTheCallersProcesses) {
  serve();
  const auto bind = [&](uid_t uid, const std::string& pid) {
    return ask_as(uid, "POST", "/v1/leases", R"({"connectors":["github"],"pid":)" + pid + "}");
  };
  const Reply self = bind(kAlice, "\"self\"");
  ASSERT_EQ(self.status, 201) << self.body;
  EXPECT_EQ(self.json().at("pid"), ::getpid());
  EXPECT_EQ(bind(kAlice, std::to_string(::getpid())).status, 201);
  EXPECT_EQ(bind(kAlice, "1").text("reason"), "lease-denied");
  EXPECT_EQ(ask("POST", "/v1/leases", R"({"connectors":["github"],"pid":1})").status, 201) << "the administrator";
}

TEST_F(ControlOfManyUsers, OneUserCannotTakeAllConnections) {
  serve({.connections = 6, .per_user = 2, .reserved = 1});
  const auto hold = [&](uid_t uid) {
    std::unique_ptr<RawClient> client;
    as_user(uid, {}, [&] {
      client = std::make_unique<RawClient>(file_);
      client->request("GET", "/v1/status");
    });
    return client;
  };
  std::vector<std::unique_ptr<RawClient>> held;
  for (const uid_t uid : {kAlice, kAlice, kBob, kBob}) {
    held.push_back(hold(uid));
    ASSERT_EQ(held.back()->reply().status, 200);
  }
  const Reply own = hold(kAlice)->reply();
  EXPECT_EQ(own.status, 429);
  EXPECT_EQ(own.text("reason"), "too-many");
  held.push_back(hold(4003));
  ASSERT_EQ(held.back()->reply().status, 200);
  EXPECT_EQ(hold(4004)->reply().status, 503) << "the last one is kept for administrators";
  held.push_back(hold(0));
  EXPECT_EQ(held.back()->reply().status, 200);
  EXPECT_EQ(hold(0)->reply().status, 503);

  held.clear();
  while (ask_as(kAlice, "GET", "/v1/status").status != 200) continue;  // until their ends were noticed
}

TEST(ControlStatus, EveryErrorHasOne) {
  for (int code = static_cast<int>(Errc::token_missing); code <= static_cast<int>(Errc::internal); ++code) {
    const unsigned status = to_http_status(static_cast<Errc>(code));
    EXPECT_TRUE(status >= 400 && status < 600) << code;
    EXPECT_NE(status, 401u) << "a control client has nothing to log in with";
  }
}

}  // namespace
}  // namespace mintfs::broker
