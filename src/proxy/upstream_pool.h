// Connections to one connector's origin, as one worker sees them.
//
// Idle connections are kept for a while and reused. Every connection leads to an address that was
// checked: the name is resolved here, and the address that passed is the one connected to. What is
// known serves while it is asked for anew, so that a slow name server is waited for only at first.
#pragma once

#include "broker/config.h"
#include "broker/error.h"
#include "proxy/asio.h"
#include "proxy/egress.h"
#include "proxy/head_buffer.h"
#include "proxy/lookups.h"
#include "proxy/stream.h"

#include <boost/asio/ssl/context.hpp>

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <vector>

namespace mintfs::proxy {

using SteadyTime = std::chrono::steady_clock::time_point;

struct UpstreamConnection {
  explicit UpstreamConnection(const Executor& executor) : stream(Socket(executor)), wake(executor) {}

  // Ends whatever it is doing, connecting included.
  void abort() {
    aborted = true;
    wake.cancel();
    stream.abort();
  }

  Stream stream;
  Timer wake;  // ends a wait for addresses or for one of them
  HeadBuffer in;
  SteadyTime idle_since;
  bool reused = false;
  bool aborted = false;
};

class Upstream;

// The idle connections of all upstreams of one worker, in the order of their last use.
class IdleConnections {
 public:
  static constexpr std::size_t kMost = 256;  // the oldest is closed
  static constexpr std::chrono::seconds kMaxTime{15};

  std::size_t size() const { return entries_.size(); }
  void close_old(SteadyTime now);

 private:
  friend class Upstream;
  struct Entry {
    Upstream* owner;
    std::unique_ptr<UpstreamConnection> connection;
  };
  using Entries = std::list<Entry>;
  void close_oldest();

  Entries entries_;  // the last used is at the back
};

// Always held by a shared_ptr; of the thread that runs `executor`. Destroyed before what it refers to.
class Upstream : public std::enable_shared_from_this<Upstream> {
 public:
  static constexpr std::size_t kMaxIdle = 64;
  static constexpr std::chrono::seconds kResolvedFor{10};

  // Throws where the connector's CA file cannot be read.
  // `egress` is the proxy by which it is reached, or null; it outlives this.
  Upstream(const broker::ConnectorConfig& connector, const Executor& executor, Lookups& lookups, IdleConnections& idle,
           const EgressProxy* egress = nullptr);
  ~Upstream();
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;

  // A connection that was used before, or null. Never one that the server has closed by now, or on
  // which it has said something unasked for: that would become the answer to somebody's request.
  std::unique_ptr<UpstreamConnection> take_idle();
  // Connects a new one. Errc{} when done; address_denied, upstream_unreachable, upstream_untrusted,
  // upstream_timeout, egress_refused. Addresses that are slow to answer race each other (dial.h).
  Awaitable<broker::Errc> connect(UpstreamConnection& connection, SteadyTime now, std::chrono::milliseconds timeout);
  void put_back(std::unique_ptr<UpstreamConnection> connection, SteadyTime now);
  std::size_t idle() const { return idle_.size(); }

 private:
  friend class IdleConnections;
  bool is_aged(SteadyTime now) const { return !resolved_ || now - *resolved_ >= kResolvedFor; }
  Awaitable<broker::Errc> resolve(UpstreamConnection& connection, SteadyTime now, bool anew);
  void ask(SteadyTime now);
  void found(const broker::Result<Addresses>& addresses, SteadyTime asked);
  Awaitable<broker::Errc> try_all(UpstreamConnection& connection, const std::vector<Tcp::endpoint>& endpoints,
                                  SteadyTime deadline);
  Awaitable<broker::Errc> greet(UpstreamConnection& connection, const Tcp::endpoint& endpoint);
  Awaitable<broker::Errc> ask_egress(UpstreamConnection& connection);
  void prefer(const Tcp::endpoint& endpoint);
  void defer(const Tcp::endpoint& endpoint);

  const broker::ConnectorConfig connector_;
  const EgressProxy* const egress_;
  Executor executor_;
  Lookups& lookups_;
  IdleConnections& all_idle_;
  std::optional<asio::ssl::context> tls_;
  std::vector<IdleConnections::Entries::iterator> idle_;  // the last used is at the back
  std::vector<Tcp::endpoint> endpoints_;                  // checked; the one to try first is in front
  std::optional<Tcp::endpoint> good_;                     // the last that answered
  std::optional<SteadyTime> resolved_;                    // when the name was asked for
  std::unique_ptr<Lookups::Ticket> lookup_;               // under way
  broker::Errc lookup_failure_{};
  std::vector<UpstreamConnection*> waiting_;  // for the lookup
};

}  // namespace mintfs::proxy
