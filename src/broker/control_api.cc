#include "broker/control_api.h"

#include "broker/control_json.h"
#include "broker/credential_api.h"

#include <boost/beast/http/status.hpp>
#include <boost/json.hpp>

#include <algorithm>

#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace json = boost::json;

constexpr std::string_view kLeases = "/v1/leases";

std::string title(unsigned status) {
  return boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(status));
}

ControlAnswer problem(unsigned status, std::string_view detail, std::string_view reason) {
  return {.status = status, .body = problem_document(status, title(status), detail, reason), .problem = true};
}

ControlAnswer no_such_path() {
  return problem(404, "There is nothing at this path; docs/openapi.yaml lists what there is.", "path-unknown");
}

ControlAnswer only(std::string_view methods) {
  ControlAnswer answer = problem(405, "This path is for " + std::string(methods) + " only.", "method-not-allowed");
  answer.allow = methods;
  return answer;
}

ControlAnswer reply(unsigned status, const json::object& object) {
  return {.status = status, .body = json::serialize(object) + "\n"};
}

// Whether a process is there and is another user's, by the owner of its /proc entry (root for one
// that changed its user).
bool is_foreign(pid_t pid, uid_t uid) {
  struct stat entry {};
  return ::stat(("/proc/" + std::to_string(pid)).c_str(), &entry) == 0 && entry.st_uid != uid;
}

}  // namespace

unsigned to_http_status(Errc error) noexcept {
  switch (error) {
    case Errc::lease_malformed:
    case Errc::request_malformed:
      return 400;
    case Errc::token_missing:
    case Errc::token_malformed:
    case Errc::token_algorithm:
    case Errc::token_key_unknown:
    case Errc::token_signature:
    case Errc::token_expired:
    case Errc::token_not_yet_valid:
    case Errc::token_audience:
    case Errc::token_connector:
    case Errc::token_origin:
    case Errc::lease_denied:
    case Errc::caller_denied:
    case Errc::connector_denied:
    case Errc::operation_denied:
    case Errc::repository_denied:
    case Errc::reference_denied:
    case Errc::address_denied:
      return 403;
    case Errc::lease_closed:
      return 404;
    case Errc::request_timeout:
      return 408;
    case Errc::body_too_large:
      return 413;
    case Errc::connector_unknown:
      return 422;
    case Errc::too_many:
      return 429;
    case Errc::header_too_large:
      return 431;
    case Errc::upgrade_failed:
    case Errc::internal:
      return 500;
    case Errc::egress_refused:
    case Errc::upstream_unreachable:
    case Errc::upstream_untrusted:
    case Errc::upstream_refused:
    case Errc::upstream_redirect:
    case Errc::upstream_malformed:
      return 502;
    case Errc::leases_unconfirmed:
    case Errc::gateway_unreachable:
      return 503;
    case Errc::upstream_timeout:
      return 504;
    case Errc::storage_failed:
      return 507;
  }
  return 500;
}

ControlApi::ControlApi(Broker& broker, std::filesystem::path mount, Status status)
    : broker_(broker), mount_(std::move(mount)), status_(std::move(status)) {}

ControlApi::~ControlApi() = default;

void ControlApi::serve_credentials(JobCredentials& credentials, HelperStores& stores) {
  credentials_ = std::make_unique<CredentialApi>(broker_, credentials, stores);
}

ControlAnswer ControlApi::refuse(Errc error, std::string_view detail) {
  return problem(to_http_status(error), detail.empty() ? advice(error) : detail, reason_word(error));
}

ControlAnswer ControlApi::unavailable() { return problem(503, advice(Errc::too_many), reason_word(Errc::too_many)); }

ControlAnswer ControlApi::answer(const Caller& caller, const ControlRequest& request) {
  const std::string_view method = request.method;
  std::string_view target = request.target;
  if (target == kLeases) {
    if (method == "GET") return list_leases(caller);
    if (method == "POST") return open_lease(caller, request.body);
    return only("GET, POST");
  }
  if (target == "/v1/connectors") return method == "GET" ? list_connectors(caller) : only("GET");
  if (target == "/v1/policy/test") return method == "POST" ? test_policy(caller, request.body) : only("POST");
  if (target == "/v1/status") return method == "GET" ? status() : only("GET");
  if (!target.starts_with(kLeases) || target[kLeases.size()] != '/') return no_such_path();
  target.remove_prefix(kLeases.size() + 1);
  constexpr std::string_view kRenew = "/renew";
  if (target.ends_with(kRenew) && target.find('/') == target.size() - kRenew.size()) {
    target.remove_suffix(kRenew.size());
    return method == "POST" ? renew_lease(caller, target, request.body) : only("POST");
  }
  if (target.find('/') != std::string_view::npos) return answer_credentials(caller, target, request);
  if (target.empty()) return no_such_path();
  if (method == "GET") return show_lease(caller, target);
  if (method == "DELETE") return close_lease(caller, target);
  return only("GET, DELETE");
}

// `rest` is "ID/credentials/VERB".
ControlAnswer ControlApi::answer_credentials(const Caller& caller, std::string_view rest,
                                             const ControlRequest& request) {
  constexpr std::string_view kCredentials = "/credentials/";
  const std::size_t end = rest.find('/');
  const std::string_view id = rest.substr(0, end);
  rest.remove_prefix(end);
  if (!credentials_ || id.empty() || !rest.starts_with(kCredentials)) return no_such_path();
  rest.remove_prefix(kCredentials.size());
  if (!CredentialApi::knows(rest)) return no_such_path();
  if (request.method != "POST") return only("POST");
  return credentials_->answer(caller, id, rest, request.body);
}

ControlAnswer ControlApi::open_lease(const Caller& caller, std::string_view body) {
  std::string detail;
  const auto request = parse_lease_request(body, caller, detail);
  if (!request) return refuse(Errc::lease_malformed, detail);
  const pid_t pid = request->pid.value_or(caller.pid);
  // Binding to a process tells when it ends.
  if (pid != caller.pid && !is_administrator(caller.uid) && is_foreign(pid, caller.uid))
    return refuse(Errc::lease_denied, "A lease is bound to a process of your own.");
  const auto lease = broker_.open_lease(caller, *request, &detail);
  if (!lease) return refuse(to_errc(lease.error()), detail);
  ControlAnswer answer = reply(201, to_json(**lease, mount_, *broker_.files()));
  answer.opened_lease = (*lease)->id;
  return answer;
}

ControlAnswer ControlApi::list_leases(const Caller& caller) {
  auto leases = broker_.list_leases(caller);
  std::sort(leases.begin(), leases.end(), [](const auto& a, const auto& b) { return a->serial < b->serial; });
  json::array array;
  for (const auto& lease : leases) array.push_back(to_json(*lease, mount_, *broker_.files()));
  return reply(200, {{"leases", std::move(array)}});
}

ControlAnswer ControlApi::show_lease(const Caller& caller, std::string_view id) {
  const auto lease = broker_.show_lease(caller, id);
  return lease ? reply(200, to_json(**lease, mount_, *broker_.files())) : refuse(to_errc(lease.error()));
}

ControlAnswer ControlApi::close_lease(const Caller& caller, std::string_view id) {
  const auto lease = broker_.close_lease(caller, id);
  return lease ? ControlAnswer{.status = 204} : refuse(to_errc(lease.error()));
}

ControlAnswer ControlApi::renew_lease(const Caller& caller, std::string_view id, std::string_view body) {
  std::string detail;
  const auto renewal = parse_renewal(body, detail);
  if (!renewal) return refuse(Errc::request_malformed, detail);
  const auto lease = broker_.renew_lease(caller, id, renewal->ttl);
  return lease ? reply(200, to_json(**lease, mount_, *broker_.files())) : refuse(to_errc(lease.error()));
}

ControlAnswer ControlApi::list_connectors(const Caller& caller) {
  json::array array;
  Names names;  // thousands of connectors name a few users
  const ConnectorsPtr connectors = broker_.connectors();
  for (const auto& [name, connector] : *connectors)
    array.push_back(to_json(connector, admits(connector.allow, caller, names)));
  return reply(200, {{"connectors", std::move(array)}});
}

ControlAnswer ControlApi::test_policy(const Caller& caller, std::string_view body) {
  std::string detail;
  const auto question = parse_policy_question(body, detail);
  if (!question) return refuse(Errc::request_malformed, detail);
  const auto found = broker::answer(broker_, caller, *question, detail);
  return found ? reply(200, to_json(*found)) : refuse(to_errc(found.error()), detail);
}

ControlAnswer ControlApi::status() {
  const auto uptime = std::chrono::steady_clock::now() - started_;
  json::object object = {
      {"version", MINTFS_VERSION},
      {"pid", ::getpid()},
      {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
      {"mount", mount_.string()},
      {"proxy_url", broker_.audience()},
      {"connectors", broker_.connectors()->size()},
      {"leases", broker_.leases().size()},
      {"minted", broker_.minted()},
      {"redeemed", broker_.redeemed()},
      {"refused", broker_.refused()},
      {"audit_lost", broker_.audit().lost()},
  };
  if (status_) {
    const json::value more = json::parse(status_());
    object.insert(more.as_object().begin(), more.as_object().end());  // adds, never replaces
  }
  return reply(200, object);
}

}  // namespace mintfs::broker
