// The proxy: accepts connections and spreads them over its workers.
#pragma once

#include "broker/broker.h"
#include "proxy/asio.h"
#include "proxy/listener.h"
#include "proxy/server_tls.h"
#include "proxy/worker.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

class Server : public broker::LeaseObserver {
 public:
  Server(const ProxyConfig& config, broker::Broker& broker, CredentialStore& credentials, spdlog::logger& log,
         ServerTls& tls, std::vector<Listener> listeners);
  ~Server() override;  // stops

  void start();
  // Stops accepting, lets requests under way finish for `drain_timeout`, then ends them. Blocks. Unix
  // sockets keep their places in the file system where a successor listens on them.
  void stop(bool leaves_sockets = false);
  void abort();  // any thread: ends them now
  // Accepts nothing until resume(): newcomers wait, or go to another process that has the same socket.
  void pause();
  void resume();
  std::vector<int> descriptors();  // of the listening sockets, in their order; they stay ours

  void lease_opened(const broker::LeasePtr&) override {}
  void lease_closed(const broker::LeasePtr& lease) override;

  // What was relayed, and what is open now. Any thread.
  Traffic& traffic() { return shared_.traffic; }
  std::size_t idle_upstreams() const;
  std::uint32_t max_connections() const { return shared_.config.max_connections; }
  std::uint32_t connections() const { return shared_.connections.load(std::memory_order_relaxed); }

 private:
  using Acceptor = asio::basic_socket_acceptor<StreamProtocol, Executor>;
  struct Entrance {
    Acceptor acceptor;
    broker::ListenAddress address;
  };

  void begin_accepting();
  Awaitable<void> accept(Entrance& entrance);

  Shared shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  bool running_ = false;
  bool paused_ = false;   // of the first worker's thread
  std::size_t next_ = 0;  // worker; of the first worker's thread
  std::vector<Entrance> entrances_;
};

}  // namespace mintfs::proxy
