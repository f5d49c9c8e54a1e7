#include "proxy/upstream_pool.h"

#include "proxy/address_guard.h"
#include "proxy/dial.h"
#include "proxy/trust.h"

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>

#include <algorithm>
#include <array>
#include <iterator>

namespace mintfs::proxy {
namespace {

using broker::Errc;

bool is_trust_failure(const error_code& error) { return error.category() == asio::error::get_ssl_category(); }

constexpr std::size_t kMaxConnectAnswer = 16 * 1024;

// RFC 8305 section 4: the system's order, but that the two families take turns.
void alternate(std::vector<Tcp::endpoint>& endpoints) {
  if (endpoints.empty()) return;
  const bool first = endpoints.front().address().is_v6();
  std::vector<Tcp::endpoint> same, other;
  for (auto& each : endpoints) (each.address().is_v6() == first ? same : other).push_back(each);
  endpoints.clear();
  for (std::size_t i = 0; i < std::max(same.size(), other.size()); ++i) {
    if (i < same.size()) endpoints.push_back(same[i]);
    if (i < other.size()) endpoints.push_back(other[i]);
  }
}

}  // namespace

void IdleConnections::close_oldest() {
  // The oldest of all is the oldest of its own upstream.
  auto& owner = *entries_.front().owner;
  owner.idle_.erase(owner.idle_.begin());
  entries_.pop_front();
}

void IdleConnections::close_old(SteadyTime now) {
  while (!entries_.empty() && now - entries_.front().connection->idle_since > kMaxTime) close_oldest();
}

Upstream::Upstream(const broker::ConnectorConfig& connector, const Executor& executor, Lookups& lookups,
                   IdleConnections& idle, const EgressProxy* egress)
    : connector_(connector), egress_(egress), executor_(executor), lookups_(lookups), all_idle_(idle) {
  if (connector_.address.tls()) tls_.emplace(make_client_context(connector_));
}

Upstream::~Upstream() {
  for (const auto entry : idle_) all_idle_.entries_.erase(entry);
}

std::unique_ptr<UpstreamConnection> Upstream::take_idle() {
  while (!idle_.empty()) {
    auto connection = std::move(idle_.back()->connection);
    all_idle_.entries_.erase(idle_.back());
    idle_.pop_back();
    if (connection->stream.is_stale()) continue;
    connection->reused = true;
    return connection;
  }
  return nullptr;
}

void Upstream::put_back(std::unique_ptr<UpstreamConnection> connection, SteadyTime now) {
  if (idle_.size() >= kMaxIdle || connection->stream.holds_unread()) return;
  if (all_idle_.size() >= IdleConnections::kMost) all_idle_.close_oldest();
  connection->idle_since = now;
  connection->in.shrink();
  all_idle_.entries_.push_back({this, std::move(connection)});
  idle_.push_back(std::prev(all_idle_.entries_.end()));
}

// Begins a lookup; one at a time, whoever waits.
void Upstream::ask(SteadyTime now) {
  if (lookup_) return;
  const auto& host = egress_ != nullptr ? egress_->host : connector_.address.host;
  error_code not_literal;
  const auto literal = asio::ip::make_address(host, not_literal);
  if (!not_literal) return found(Addresses{literal}, now);
  lookup_ = lookups_.start(host, [weak = weak_from_this(), executor = executor_, now](broker::Result<Addresses> found) {
    asio::post(executor, [weak, now, found = std::move(found)] {
      if (const auto self = weak.lock()) self->found(found, now);
    });
  });
}

void Upstream::found(const broker::Result<Addresses>& addresses, SteadyTime asked) {
  lookup_.reset();
  lookup_failure_ = Errc::upstream_unreachable;
  if (addresses) {
    endpoints_.clear();
    for (const auto& address : *addresses) {
      if (check(address, connector_.allow_addresses)) {
        lookup_failure_ = Errc::address_denied;
      } else {
        endpoints_.emplace_back(address, egress_ != nullptr ? egress_->port : connector_.address.port);
      }
    }
    alternate(endpoints_);
    if (good_) prefer(*good_);
    resolved_ = asked;
  }
  for (auto* connection : waiting_) connection->wake.cancel();
}

// Errc{} when there is an address to try. Waits only where none is known, or (`anew`) none of those answers.
Awaitable<Errc> Upstream::resolve(UpstreamConnection& connection, SteadyTime now, bool anew) {
  if (endpoints_.empty() || anew || is_aged(now)) ask(now);
  if (!endpoints_.empty() && !anew) co_return Errc{};
  waiting_.push_back(&connection);
  while (lookup_ && !connection.aborted) {
    connection.wake.expires_at(SteadyTime::max());
    co_await connection.wake.async_wait(as_tuple);
  }
  std::erase(waiting_, &connection);
  if (connection.aborted) co_return Errc::upstream_unreachable;
  co_return endpoints_.empty() ? lookup_failure_ : Errc{};
}

Awaitable<Errc> Upstream::connect(UpstreamConnection& connection, SteadyTime now, std::chrono::milliseconds timeout) {
  // Behind an egress proxy a name is looked up by that; an address is known here.
  error_code not_literal;
  const auto literal = asio::ip::make_address(connector_.address.host, not_literal);
  if (egress_ != nullptr && !not_literal && check(literal, connector_.allow_addresses)) co_return Errc::address_denied;
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  std::vector<Tcp::endpoint> tried;
  for (const bool anew : {false, true}) {
    const bool aged = is_aged(now);
    if (const Errc error = co_await resolve(connection, now, anew); error != Errc{}) co_return error;
    std::vector<Tcp::endpoint> next;
    for (const auto& endpoint : endpoints_)
      if (std::find(tried.begin(), tried.end(), endpoint) == tried.end()) next.push_back(endpoint);
    const Errc error = co_await try_all(connection, next, deadline);
    if (error != Errc::upstream_unreachable || connection.aborted || !aged) co_return error;
    tried = std::move(next);
  }
  co_return Errc::upstream_unreachable;
}

Awaitable<Errc> Upstream::try_all(UpstreamConnection& connection, const std::vector<Tcp::endpoint>& endpoints,
                                  SteadyTime deadline) {
  const Dialled dialled = co_await dial(
      connection.stream.socket(), endpoints, deadline, connection.wake, [&] { return !connection.aborted; },
      [this](const Tcp::endpoint& endpoint) { defer(endpoint); });
  if (connection.aborted) co_return Errc::upstream_unreachable;
  if (dialled.chosen) co_return co_await greet(connection, endpoints[*dialled.chosen]);
  // The next attempt asks for the name again, when these have not been replaced meanwhile.
  resolved_.reset();
  co_return dialled.in_time ? Errc::upstream_unreachable : Errc::upstream_timeout;
}

// Everything between a TCP connection and the first request.
Awaitable<Errc> Upstream::greet(UpstreamConnection& connection, const Tcp::endpoint& endpoint) {
  error_code ignored;
  connection.stream.socket().set_option(Tcp::no_delay(true), ignored);
  if (egress_ != nullptr) {
    if (const Errc error = co_await ask_egress(connection); error != Errc{}) co_return error;
  }
  if (tls_) {
    const error_code error = co_await connection.stream.start_tls(tls_->native_handle(), connector_.address.host);
    if (error) {
      defer(endpoint);
      co_return is_trust_failure(error) ? Errc::upstream_untrusted : Errc::upstream_unreachable;
    }
  }
  good_ = endpoint;
  prefer(endpoint);
  co_return Errc{};
}

Awaitable<Errc> Upstream::ask_egress(UpstreamConnection& connection) {
  const std::string request = connect_request(connector_.address);
  const std::string_view secret = egress_->authorization.reveal();
  const std::array<asio::const_buffer, 3> parts{asio::const_buffer(request.data(), request.size()),
                                                asio::const_buffer(secret.data(), secret.size()),
                                                asio::const_buffer("\r\n", 2)};
  if (co_await connection.stream.write(parts)) co_return Errc::upstream_unreachable;
  std::string answer;
  while (answer.size() < kMaxConnectAnswer) {
    std::array<char, 4096> room;
    const Transfer read = co_await connection.stream.read_some(room);
    if (read.error) co_return Errc::upstream_unreachable;
    answer.append(room.data(), read.size);
    const auto agreed = read_connect_answer(answer);
    if (agreed) co_return *agreed ? Errc{} : Errc::egress_refused;
  }
  co_return Errc::egress_refused;
}

void Upstream::prefer(const Tcp::endpoint& endpoint) {
  const auto at = std::find(endpoints_.begin(), endpoints_.end(), endpoint);
  if (at != endpoints_.end()) std::rotate(endpoints_.begin(), at, std::next(at));
}

void Upstream::defer(const Tcp::endpoint& endpoint) {
  if (good_ == endpoint) good_.reset();
  const auto at = std::find(endpoints_.begin(), endpoints_.end(), endpoint);
  if (at != endpoints_.end()) std::rotate(at, std::next(at), endpoints_.end());
}

}  // namespace mintfs::proxy
