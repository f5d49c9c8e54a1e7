// The admin listener: whether the daemon lives, whether it can serve, and what it has counted.
//
//   /healthz   200 while the daemon's loop runs: whoever waits for the answer in vain knows that it hangs
//   /readyz    200 or 503, one line per check
//   /metrics   Exposition
//
// GET and HEAD only. It is served on the main thread beside the control socket, never by a worker of the
// proxy. Nothing that is asked here makes mintfsd send anything to an upstream: what is said of a
// connector is how its last request ended. One connector that fails does not make the daemon unready,
// which serves the others; it does where it is asked for: /readyz?connector=NAME.
#pragma once

#include "broker/config.h"
#include "broker/http_server.h"
#include "proxy/exposition.h"
#include "proxy/traffic.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::proxy {

using AdminConfig = decltype(broker::Config::admin);

// The listening socket that the configuration names. The Unix socket has mode 0660: what is told here is
// no secret, but who uses which server and how much is nothing for a job. `inherited` is a predecessor's,
// or -1. Throws std::runtime_error with one sentence.
broker::ListeningSocket listen_admin(const AdminConfig& config, int inherited);

class AdminServer final : public broker::HttpServer {
 public:
  // How long a failure of a connector counts. Nobody may use it because it failed, and then nobody finds
  // out that it works again.
  static constexpr std::chrono::minutes kFailureCounts{5};

  static constexpr Limits kLimits{.connections = 32, .request_size = 1024, .arrival = std::chrono::seconds(10)};

  AdminServer(boost::asio::io_context& context, broker::ListeningSocket socket, Watched watched,
              Limits limits = kLimits);

 private:
  std::optional<Response> refuse_newcomer(const broker::Caller& caller) const override;
  Response refuse(broker::Errc error) const override;
  boost::asio::awaitable<Answer> answer(const broker::Caller& caller, const Request& request) override;
  Response respond(const Request& request);
  Response readiness(const std::string& target);

  Limits limits_;
  Watched watched_;
  Exposition exposition_;
  broker::Scratch scratch_;
};

// "answered, 3 s ago", with the reason word in place of "answered" where it failed; "not used yet".
std::string describe(const std::optional<Outcome>& outcome, std::chrono::steady_clock::time_point now);
bool counts_as_failed(const std::optional<Outcome>& outcome, std::chrono::steady_clock::time_point now);

}  // namespace mintfs::proxy
