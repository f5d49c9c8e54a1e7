#include "broker/granted_lease_api.h"

#include "broker/control_json.h"

#include <boost/json/serialize.hpp>

#include <utility>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kLeases = "/v1/leases";
constexpr std::string_view kRenew = "/renew";

// The id in "/v1/leases/ID/renew"; empty where the target is another.
std::string_view renewed_id(std::string_view target) {
  if (!target.starts_with(kLeases) || !target.ends_with(kRenew)) return {};
  target.remove_prefix(kLeases.size());
  if (target.size() != 1 + kLeaseIdSize + kRenew.size() || target.front() != '/') return {};
  return target.substr(1, kLeaseIdSize);
}

}  // namespace

bool GrantedLeaseApi::takes(const ControlRequest& request) {
  return request.method == "POST" && (request.target == kLeases || !renewed_id(request.target).empty());
}

asio::awaitable<ControlAnswer> GrantedLeaseApi::answer(const Caller& caller, const ControlRequest& request) {
  if (request.target == kLeases) return open(caller, request.body);
  return renew(caller, std::string(renewed_id(request.target)), request.body);
}

ControlAnswer GrantedLeaseApi::reply(unsigned status, const Lease& lease) const {
  return {.status = status, .body = boost::json::serialize(to_json(lease, mount_, *broker_.files())) + "\n"};
}

asio::awaitable<ControlAnswer> GrantedLeaseApi::open(const Caller& caller, std::string_view body) {
  std::string detail;
  auto request = parse_lease_request(body, caller, detail);
  if (!request) co_return ControlApi::refuse(Errc::lease_malformed, detail);
  Errc error = broker_.check_request(caller, *request, detail);
  if (error == Errc{} && !request->pod) {
    detail = "This mintfsd is a node of a cluster and opens leases for pods only.";
    error = Errc::lease_denied;
  }
  if (error == Errc{} && request->pod_token.empty()) {
    detail =
        "The pod has brought no token; the CSIDriver object needs tokenRequests with the audience that mintfs-csi "
        "passes on ('mintfs').";
    error = Errc::caller_denied;
  }
  if (error != Errc{}) {
    broker_.note_refused_opening(*request, "uid:" + std::to_string(caller.uid), error);
    co_return ControlApi::refuse(error, detail);
  }
  auto grant = co_await granter_.open(*request);
  if (!grant) {
    broker_.note_refused_opening(*request, "pod:" + *request->pod, grant.error().error);
    co_return ControlApi::refuse(grant.error().error, grant.error().detail);
  }
  const std::string id = grant->id;
  const Time expires = grant->expires;
  const auto lease = broker_.record_grant(caller, *request, std::move(*grant), detail);
  if (!lease) {
    granter_.give_back(id, expires);
    co_return ControlApi::refuse(to_errc(lease.error()), detail);
  }
  ControlAnswer opened = reply(201, **lease);
  opened.opened_lease = id;
  co_return opened;
}

asio::awaitable<ControlAnswer> GrantedLeaseApi::renew(const Caller& caller, std::string id, std::string_view body) {
  std::string detail;
  auto renewal = parse_renewal(body, detail);
  if (!renewal) co_return ControlApi::refuse(Errc::request_malformed, detail);
  if (!is_administrator(caller.uid)) co_return ControlApi::refuse(Errc::lease_denied);
  if (renewal->pod_token.empty())
    co_return ControlApi::refuse(Errc::caller_denied, "Gateways have granted this lease; its pod proves itself again.");
  const LeasePtr lease = broker_.find_lease(id);
  if (!lease || lease->expires <= broker_.clock().now()) co_return ControlApi::refuse(Errc::lease_closed);
  const auto expires = co_await granter_.renew(id, std::move(renewal->pod_token), renewal->ttl);
  if (!expires) {
    // It is nobody's any more: its tokens are refused already.
    if (expires.error().error == Errc::lease_closed) broker_.close_for(id, "deleted");
    co_return ControlApi::refuse(expires.error().error, expires.error().detail);
  }
  const auto renewed = broker_.extend_grant(id, *expires);
  if (!renewed) co_return ControlApi::refuse(to_errc(renewed.error()));
  co_return reply(200, **renewed);
}

}  // namespace mintfs::broker
