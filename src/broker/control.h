// The control socket: brings requests to the control API and its answers back.
//
// HTTP/1.1 over a Unix socket. The caller is whoever the kernel says is at the other end
// (SO_PEERCRED, SO_PEERGROUPS), so there is nothing to log in with. What is answered at a bound is a
// problem document.
#pragma once

#include "broker/control_api.h"
#include "broker/granted_lease_api.h"
#include "broker/http_server.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>

namespace mintfs::broker {

class ControlServer final : public HttpServer {
 public:
  struct Bounds {
    std::size_t connections = 256;
    std::size_t per_user = 32;  // of the connections; administrators are exempt
    std::size_t reserved = 32;  // of the connections; for administrators only
    std::size_t request_size = 64 * 1024;
    std::chrono::seconds arrival{10};  // of a whole request, or for taking an answer
  };

  // The socket file is made with mode 0666, in place of the one of a killed daemon: who may do what is
  // decided per request. Throws std::runtime_error with one sentence when it cannot be made.
  ControlServer(boost::asio::io_context& context, Broker& broker, std::filesystem::path socket,
                std::filesystem::path mount, ControlApi::Status status);
  // `inherited` is the listening socket of a predecessor, or -1; it is used where it is this socket's.
  ControlServer(boost::asio::io_context& context, Broker& broker, std::filesystem::path socket,
                std::filesystem::path mount, ControlApi::Status status, Bounds bounds, int inherited = -1);

  // What POST /v1/upgrade does, for administrators; it may take its time. Without one there is no such path.
  using Upgrade = std::function<boost::asio::awaitable<ControlAnswer>()>;
  void on_upgrade(Upgrade upgrade) { upgrade_ = std::move(upgrade); }
  // Adds the routes for what jobs store.
  void serve_credentials(JobCredentials& credentials, HelperStores& stores) {
    api_.serve_credentials(credentials, stores);
  }
  // From here on leases are opened and renewed by asking there. It outlives this object.
  void open_leases_by(LeaseGranter& granter) { granted_.emplace(broker_, granter, mount_); }

 private:
  std::optional<Response> refuse_newcomer(const Caller& caller) const override;
  Response refuse(Errc error) const override;
  boost::asio::awaitable<Answer> answer(const Caller& caller, const Request& request) override;

  Broker& broker_;
  std::filesystem::path mount_;
  ControlApi api_;
  std::optional<GrantedLeaseApi> granted_;
  Bounds bounds_;
  Upgrade upgrade_;
};

}  // namespace mintfs::broker
