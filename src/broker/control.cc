#include "broker/control.h"

#include <string>
#include <utility>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Response = HttpServer::Response;

constexpr mode_t kMode = 0666;

Response to_response(ControlAnswer answer) {
  Response response(http::int_to_status(answer.status), 11);
  if (answer.status != 204)
    response.set(http::field::content_type, answer.problem ? "application/problem+json" : "application/json");
  response.set(http::field::cache_control, "no-store");
  if (!answer.allow.empty())
    response.set(http::field::allow, beast::string_view(answer.allow.data(), answer.allow.size()));
  response.keep_alive(false);
  response.body() = std::move(answer.body);
  response.prepare_payload();
  return response;
}

}  // namespace

ControlServer::ControlServer(asio::io_context& context, Broker& broker, std::filesystem::path socket,
                             std::filesystem::path mount, ControlApi::Status status)
    : ControlServer(context, broker, std::move(socket), std::move(mount), std::move(status), Bounds()) {}

ControlServer::ControlServer(asio::io_context& context, Broker& broker, std::filesystem::path socket,
                             std::filesystem::path mount, ControlApi::Status status, Bounds bounds, int inherited)
    : HttpServer(context,
                 listen_unix({std::move(socket), kMode, "control socket", "daemon.runtime_dir", true}, inherited),
                 {bounds.connections, bounds.request_size, bounds.arrival}),
      broker_(broker),
      mount_(mount),
      api_(broker, std::move(mount), std::move(status)),
      bounds_(bounds) {}

std::optional<Response> ControlServer::refuse_newcomer(const Caller& caller) const {
  const bool administrator = is_administrator(caller.uid);
  const std::size_t kept_free = administrator ? 0 : bounds_.reserved;
  if (connections() + kept_free >= bounds_.connections) return to_response(ControlApi::unavailable());
  if (administrator || connections_of(caller.uid) < bounds_.per_user) return std::nullopt;
  return to_response(
      ControlApi::refuse(Errc::too_many, "You have too many connections to the control socket; close one."));
}

Response ControlServer::refuse(Errc error) const { return to_response(ControlApi::refuse(error)); }

asio::awaitable<HttpServer::Answer> ControlServer::answer(const Caller& caller, const Request& request) {
  const auto view = [](beast::string_view text) { return std::string_view(text.data(), text.size()); };
  if (upgrade_ && request.method() == http::verb::post && request.target() == "/v1/upgrade") {
    // In a variable each: g++ 12 destroys twice what is made within an expression that waits.
    ControlAnswer answer = ControlApi::refuse(Errc::caller_denied);
    if (is_administrator(caller.uid)) answer = co_await upgrade_();
    co_return Answer(to_response(std::move(answer)));
  }
  const ControlRequest asked{
      .method = view(request.method_string()), .target = view(request.target()), .body = request.body()};
  ControlAnswer answer;
  if (granted_ && GrantedLeaseApi::takes(asked))
    answer = co_await granted_->answer(caller, asked);
  else
    answer = api_.answer(caller, asked);
  Answer delivered;
  if (!answer.opened_lease.empty())  // nobody knows its id
    delivered.undelivered = [this, id = answer.opened_lease] { broker_.close_for(id, "opener-gone"); };
  delivered.response = to_response(std::move(answer));
  co_return delivered;
}

}  // namespace mintfs::broker
