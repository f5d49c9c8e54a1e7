// The lease desk on the wire: HTTP/1.1 by TLS, for the node daemons of the cluster.
//
//   POST   /v1/leases              LeaseDesk::open
//   POST   /v1/leases/{id}/renew   LeaseDesk::renew
//   DELETE /v1/leases/{id}         LeaseDesk::close
//
// Everything a caller controls is bounded: connections, the sizes of head and body, the time for a call and
// between calls. Any pod of the cluster may connect: where there is no room, who has waited longest without a call
// makes it. Of the context's thread; destroyed after the context was run for the last time.
#pragma once

#include "kube/lease_desk.h"

#include "broker/state_file.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace mintfs::kube {

class DeskServer {
 public:
  struct Settings {
    int listener = -1;  // a listening TCP socket, ours from here on
    int family = 0;     // AF_INET or AF_INET6
    std::filesystem::path certificate{};
    std::filesystem::path key{};
    std::size_t connections = 256;
    std::chrono::seconds call{30};
    std::chrono::seconds idle{60};
  };

  // Throws std::runtime_error with one sentence where certificate or key cannot be used.
  DeskServer(boost::asio::io_context& context, LeaseDesk& desk, Settings settings);
  ~DeskServer();

  void start();
  void stop();  // takes no more connections
  // Takes up a certificate that has changed; the former one stays where it cannot be used. About once a second.
  void refresh(const std::function<void(const std::string&)>& report);

 private:
  struct Session;
  using Sessions = std::list<Session*>;  // the oldest is in front
  class Admitted;
  bool make_room();
  boost::asio::awaitable<void> accept();
  boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
  boost::asio::awaitable<bool> exchange(Session& session);

  boost::asio::io_context& context_;
  LeaseDesk& desk_;
  Settings settings_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::unique_ptr<boost::asio::ssl::context> tls_;
  broker::FileVersion used_;
  std::shared_ptr<Sessions> open_ = std::make_shared<Sessions>();  // what is left ends with the context
};

}  // namespace mintfs::kube
