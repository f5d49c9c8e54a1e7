// One thread of the proxy: its event loop, its client connections, its upstream connections.
//
// Nothing here is shared between workers but what `Shared` names; so no connection ever takes a
// lock of another thread except the broker's own.
#pragma once

#include "broker/broker.h"
#include "broker/config.h"
#include "proxy/asio.h"
#include "proxy/connection.h"
#include "proxy/credentials/credential.h"
#include "proxy/kept_bytes.h"
#include "proxy/lookups.h"
#include "proxy/moves.h"
#include "proxy/registry_tokens.h"
#include "proxy/relay.h"
#include "proxy/server_tls.h"
#include "proxy/traffic.h"
#include "proxy/upstream_pool.h"

#include <boost/asio/executor_work_guard.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

namespace spdlog {
class logger;
}

namespace mintfs::proxy {

using ProxyConfig = decltype(broker::Config::proxy);

// What all workers use; outlives them.
struct Shared {
  const ProxyConfig& config;
  broker::Broker& broker;
  CredentialStore& credentials;
  spdlog::logger& log;
  ServerTls& tls;
  const Egress egress{config.egress, [](const char* name) -> const char* { return std::getenv(name); }};
  std::atomic<std::uint32_t> connections{0};
  // Requests under way.
  struct Requests {
    std::unordered_map<std::uint64_t, std::uint32_t> by_lease;  // by serial
    std::unordered_map<uid_t, std::uint32_t> by_user;           // of the lease
  };
  broker::Sync<Requests> requests{};
  KeptBytes kept{};
  Moves moves{};
  Lookups lookups{};
  Traffic traffic{};
};

class Worker {
 public:
  // `number` tells the workers apart.
  Worker(Shared& shared, std::size_t number);
  ~Worker();

  asio::io_context& context() { return context_; }
  void start();  // begins the thread
  void join();   // waits for its end, which drain() brings

  // Any thread:
  void adopt(Socket socket, bool tls);      // serves a connection that was just accepted
  void cut(const broker::LeasePtr& lease);  // ends its requests under way
  void drain();                             // idle connections end now, others after their request
  void abort();                             // all end now
  std::size_t idle_upstreams() const { return idle_upstreams_.load(std::memory_order_relaxed); }  // a tick ago

  // The worker's thread only, for its connections:
  Shared& shared() { return shared_; }
  broker::Scratch& scratch() { return scratch_; }
  BufferPool& buffers() { return buffers_; }
  SteadyTime now() const { return now_; }  // at most a tick old
  bool draining() const { return draining_; }
  // `counts`: where the connector's requests are counted; set also when this throws.
  std::shared_ptr<Upstream> upstream_for(const broker::Grant& grant, ConnectorCounts*& counts);
  // A token service of the connector's registry; after upstream_for().
  std::shared_ptr<Upstream> token_service_for(const broker::Grant& grant, const broker::Address& address);
  RegistryTokens& registry_tokens() { return registry_tokens_; }
  // Whether this failure of a connector is news for the log; what is not is counted and told later.
  bool may_tell(const std::string& connector, broker::Errc failure);

 private:
  using Connections = std::list<Connection>;
  Awaitable<void> tick();
  void keep_house();
  void tell_counted();
  // Makes room by ending the oldest connection that showed no good token, or else the oldest idle one
  // of the user who holds the most.
  bool evict();

  Shared& shared_;
  std::size_t number_;
  asio::io_context context_{1};
  std::optional<asio::executor_work_guard<Executor>> work_;
  Timer timer_;
  SteadyTime now_ = std::chrono::steady_clock::now();
  broker::Scratch scratch_;
  BufferPool buffers_;
  // A reload brings another table: connections to what the former one named are not used again.
  struct Origin {
    std::weak_ptr<const broker::Connectors> table;
    std::shared_ptr<Upstream> upstream;
    SteadyTime used;
    ConnectorCounts* counts = nullptr;
    std::shared_ptr<Upstream> token_service{};
    broker::Address token_address{};
  };
  struct Told {
    SteadyTime until{};
    std::uint32_t more = 0;
  };
  std::map<std::pair<std::string, broker::Errc>, Told> told_;
  IdleConnections idle_;
  std::atomic<std::size_t> idle_upstreams_{0};
  std::map<broker::ConnectorName, Origin> origins_;
  RegistryTokens registry_tokens_;
  Connections connections_;
  bool draining_ = false;
  std::thread thread_;
};

}  // namespace mintfs::proxy
