#include "proxy/admin.h"

#include "broker/control_api.h"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <utility>

namespace mintfs::proxy {
namespace {

namespace http = boost::beast::http;
using broker::Errc;
using Response = broker::HttpServer::Response;
using std::chrono::steady_clock;

constexpr mode_t kMode = 0660;

Response plain(http::status status, std::string body) {
  Response response(status, 11);
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.set(http::field::cache_control, "no-store");
  response.body() = std::move(body);
  response.prepare_payload();
  return response;
}

Response refusal(http::status status, Errc error) {
  return plain(status, "mintfs: " + std::string(reason_word(error)) + ": " + std::string(advice(error)) + "\n");
}

std::string line(std::string_view check, std::string_view problem) {
  return std::string(check) + ": " + (problem.empty() ? "ok" : "failed: " + std::string(problem)) + "\n";
}

// The connector that "/readyz?connector=NAME" names; an empty string for none. Nothing where anything else
// is asked, which this would not answer.
std::optional<std::string> connector_in(const std::string& target) {
  const auto url = boost::urls::parse_origin_form(target);
  if (!url) return std::nullopt;
  std::string name;
  for (const auto& parameter : url->params()) {
    if (parameter.key != "connector" || !parameter.has_value || !name.empty()) return std::nullopt;
    name = parameter.value;
    if (name.empty()) return std::nullopt;
  }
  return name;
}

}  // namespace

broker::ListeningSocket listen_admin(const AdminConfig& config, int inherited) {
  if (!config.socket.empty())
    return broker::listen_unix({config.socket, kMode, "admin socket", "admin.listen"}, inherited);
  std::vector<int> known;
  if (inherited >= 0) known.push_back(inherited);
  Listener listener({.host = config.host, .port = config.port}, &known, "admin.listen");
  for (const int unused : known) ::close(unused);
  std::string url = listener.url();
  return {.descriptor = listener.release(), .where = std::move(url)};
}

AdminServer::AdminServer(boost::asio::io_context& context, broker::ListeningSocket socket, Watched watched,
                         Limits limits)
    : HttpServer(context, std::move(socket), limits),
      limits_(limits),
      watched_(watched),
      exposition_(std::move(watched)) {}

std::optional<Response> AdminServer::refuse_newcomer(const broker::Caller&) const {
  if (connections() < limits_.connections) return std::nullopt;
  return refusal(http::status::service_unavailable, Errc::too_many);
}

Response AdminServer::refuse(Errc error) const {
  return refusal(http::int_to_status(broker::to_http_status(error)), error);
}

boost::asio::awaitable<broker::HttpServer::Answer> AdminServer::answer(const broker::Caller&, const Request& request) {
  Response response = respond(request);
  // The length of the body stays, the body does not (RFC 9110 section 9.3.2).
  if (request.method() == http::verb::head) response.body().clear();
  co_return Answer(std::move(response));
}

Response AdminServer::respond(const Request& request) {
  const std::string target(request.target());
  const std::string path = target.substr(0, target.find('?'));
  if (path != "/healthz" && path != "/readyz" && path != "/metrics")
    return plain(http::status::not_found, "There are /healthz, /readyz and /metrics.\n");
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    Response response = plain(http::status::method_not_allowed, "This path is for GET and HEAD only.\n");
    response.set(http::field::allow, "GET, HEAD");
    return response;
  }
  if (path == "/readyz") return readiness(target);
  if (path == "/healthz") return plain(http::status::ok, "ok\n");
  Response response = plain(http::status::ok, exposition_.text());
  response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
  return response;
}

Response AdminServer::readiness(const std::string& target) {
  const auto asked = connector_in(target);
  if (!asked) return refuse(Errc::request_malformed);
  bool ready = true;
  std::string body;
  const auto check = [&](std::string_view name, bool good, std::string_view problem) {
    ready = ready && good;
    body += line(name, good ? "" : problem);
  };
  check("serving", !watched_.stopping(), "mintfsd is about to end");
  check("mint", watched_.broker.can_mint(scratch_), "no token can be minted");
  if (watched_.view_mounted) check("view", watched_.view_mounted(), "the view is not mounted");
  if (watched_.cluster_known)
    check("cluster", watched_.cluster_known(), "the API server does not say yet, or no more, what there is");
  const auto now = steady_clock::now();
  if (asked->empty()) {
    for (const auto& reading : watched_.server.traffic().read())
      body += "connector " + reading.connector + ": " + describe(reading.last, now) + "\n";
  } else {
    const auto name = broker::ConnectorName::parse(*asked);
    if (!name || !watched_.broker.connectors()->contains(*name))
      return refusal(http::status::not_found, Errc::connector_unknown);
    const auto last = watched_.server.traffic().last_of(*name);
    check("connector " + name->text(), !counts_as_failed(last, now), describe(last, now));
  }
  return plain(ready ? http::status::ok : http::status::service_unavailable, std::move(body));
}

std::string describe(const std::optional<Outcome>& outcome, steady_clock::time_point now) {
  if (!outcome) return "not used yet";
  const auto ago = std::chrono::duration_cast<std::chrono::seconds>(now - outcome->at);
  return std::string(outcome->error == Errc{} ? "answered" : reason_word(outcome->error)) + ", " +
         std::to_string(ago.count()) + " s ago";
}

bool counts_as_failed(const std::optional<Outcome>& outcome, steady_clock::time_point now) {
  return outcome && outcome->error != Errc{} && now - outcome->at < AdminServer::kFailureCounts;
}

}  // namespace mintfs::proxy
