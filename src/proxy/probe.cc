#include "proxy/probe.h"

#include "broker/policy.h"
#include "proxy/redirect.h"
#include "proxy/response.h"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <utility>

namespace mintfs::proxy {
namespace {

using broker::ConnectorClass;
using broker::Errc;

constexpr int kMaxRedirects = 5;
constexpr int kMaxInterim = 8;

bool is_repository(std::string_view name) {
  return !name.empty() && name.find('*') == std::string_view::npos && broker::RepositoryPattern::is_valid(name);
}

// Ends whatever the connection is doing when the time is up.
class Deadline {
 public:
  Deadline(const Executor& executor, SteadyTime at, UpstreamConnection& connection)
      : watched_(std::make_shared<Watched>(Watched{&connection})), timer_(executor, at) {
    timer_.async_wait([watched = watched_](const error_code& error) {
      if (error || watched->connection == nullptr) return;
      watched->passed = true;
      watched->connection->abort();
    });
  }
  // What has run out but was not told yet is told later.
  ~Deadline() { watched_->connection = nullptr; }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  bool passed() const { return watched_->passed; }

 private:
  struct Watched {
    UpstreamConnection* connection;
    bool passed = false;
  };
  std::shared_ptr<Watched> watched_;
  Timer timer_;
};

Awaitable<broker::Result<ResponseHead>> read_head(UpstreamConnection& connection) {
  auto& in = connection.in;
  std::size_t from = 0;
  for (int interim = 0; interim < kMaxInterim;) {
    const std::size_t end = find_header_end(in.filled(), from);
    if (end == std::string_view::npos) {
      if (in.filled().size() > kMaxHeaderSection) co_return Errc::upstream_malformed;
      const Transfer read = co_await connection.stream.read_some(in.room());
      if (read.error) co_return in.filled().empty() ? Errc::upstream_unreachable : Errc::upstream_malformed;
      in.commit(read.size);
      continue;
    }
    ResponseHead head;
    if (parse_response(in.filled().substr(0, end), Method::get, head)) co_return Errc::upstream_malformed;
    if (head.status >= 200) co_return head;  // its views lead into `in`, which stays as it is
    in.consume(end);
    from = 0;
    ++interim;
  }
  co_return Errc::upstream_malformed;
}

}  // namespace

ProbeQuestion question_for(ConnectorClass connector_class, std::string_view repository) {
  switch (connector_class) {
    case ConnectorClass::git:
    case ConnectorClass::github:
    case ConnectorClass::gitlab:
      if (!is_repository(repository)) return {.target = "/", .tries_credential = false};
      return {.target = "/" + std::string(repository) + "/info/refs?service=git-upload-pack", .tries_credential = true};
    // A registry may want the token of another server instead: what it says to a password tells nothing.
    case ConnectorClass::oci:
    case ConnectorClass::harbor:
      return {.target = "/v2/", .tries_credential = false};
    case ConnectorClass::npm:
      return {.target = "/-/whoami", .tries_credential = true};
    case ConnectorClass::pypi:
      return {.target = "/simple/", .tries_credential = true};
    case ConnectorClass::jfrog:
      return {.target = "/artifactory/api/system/ping", .tries_credential = true};
    case ConnectorClass::nexus:
      return {.target = "/service/rest/v1/status", .tries_credential = true};
    case ConnectorClass::sonarqube:
      return {.target = "/api/system/status", .tries_credential = true};
    case ConnectorClass::k8s:
      return {.target = "/version", .tries_credential = true};
    case ConnectorClass::maven:
      return {.target = "/", .tries_credential = false};
  }
  return {.target = "/", .tries_credential = false};
}

Awaitable<broker::Result<unsigned>> Prober::ask(broker::ConnectorConfig connector, CredentialPtr credential,
                                                ProbeQuestion question) {
  std::string target = std::move(question.target);
  const bool page = !broker::serves_git(connector.connector_class);
  // Shown where the answer tells something about it, and nowhere else.
  const bool shown = credential != nullptr && question.tries_credential;
  const std::string_view secret = shown ? credential->line_for(page).reveal() : std::string_view();
  const SteadyTime deadline = std::chrono::steady_clock::now() + limits_.whole;
  std::shared_ptr<Upstream> upstream;
  try {
    upstream = std::make_shared<Upstream>(connector, executor_, lookups_, idle_, egress_.find(connector.address));
  } catch (const std::exception&) {
    co_return Errc::upstream_untrusted;  // the connector's certificates cannot be read
  }
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    auto answer = co_await ask_once(*upstream, connector, secret, target, deadline);
    if (!answer) co_return answer.error();
    if (answer->next.empty()) co_return answer->status;
    target = std::move(answer->next);
  }
  co_return Errc::upstream_redirect;
}

Awaitable<broker::Result<Prober::Answer>> Prober::ask_once(Upstream& upstream, const broker::ConnectorConfig& connector,
                                                           std::string_view secret, const std::string& target,
                                                           SteadyTime deadline) {
  UpstreamConnection connection(executor_);
  const Deadline watched(executor_, deadline, connection);
  const auto failed = [&](Errc error) { return watched.passed() ? Errc::upstream_timeout : error; };
  const auto now = std::chrono::steady_clock::now();
  if (const Errc error = co_await upstream.connect(connection, now, limits_.connect); error != Errc{})
    co_return failed(error);
  const std::string head = "GET " + connector.address.prefix + target +
                           " HTTP/1.1\r\nHost: " + connector.address.authority() +
                           "\r\nAccept: */*\r\nUser-Agent: git/2 (mintfs)\r\nConnection: close\r\n";
  const std::array<asio::const_buffer, 3> parts{asio::const_buffer(head.data(), head.size()),
                                                asio::const_buffer(secret.data(), secret.size()),
                                                asio::const_buffer("\r\n", 2)};
  if (co_await connection.stream.write(parts)) co_return failed(Errc::upstream_unreachable);
  const auto read = co_await read_head(connection);
  if (!read) co_return failed(broker::to_errc(read.error()));
  Answer answer{.status = read->status};
  const bool redirects = answer.status >= 300 && answer.status < 400;
  if (const auto location = single_value(read->fields, FieldId::location); redirects && location)
    answer.next = resolve_redirect(connector.address, target, *location).value_or(std::string());
  co_return answer;
}

}  // namespace mintfs::proxy
