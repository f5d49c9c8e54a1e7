#include "kube/lease_grants.h"

#include "broker/encoding.h"
#include "broker/secret_json.h"
#include "kube/fields.h"
#include "kube/instant.h"
#include "kube/members.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using broker::Errc;
using broker::GrantRefusal;

constexpr std::size_t kMaxText = 2048;

json::string_view boosted(std::string_view text) { return {text.data(), text.size()}; }

GrantRefusal unreachable(const Failure& failure) {
  return {
      .error = Errc::gateway_unreachable,
      .detail = "This node cannot ask the gateways of the cluster: " + failure.text() +
                "; look whether they run ('kubectl -n connectors-system get pods').",
  };
}

// What a problem document says.
GrantRefusal refusal_in(const DeskAnswer& answer) {
  const auto value = broker::parse_secret_json(answer.body.reveal());
  const json::object none;
  const json::object& problem = value && value->is_object() ? value->get_object() : none;
  const auto error = broker::parse_reason(text_at(problem, {"reason"}));
  const std::string detail = printable(text_at(problem, {"detail"}));
  if (error && !detail.empty()) return {.error = *error, .detail = detail};
  return {.error = Errc::gateway_unreachable,
          .detail = "The gateway answers " + std::to_string(answer.status) +
                    " and nothing that this node understands; compare the versions of both."};
}

broker::LeaseKey read_key(const Members& all) {
  broker::LeaseKey key;
  std::string text = all.text("key");
  auto bytes = broker::base64_decode(text);
  broker::wipe(text);
  if (bytes && bytes->size() == key.bytes().size())
    std::copy(bytes->begin(), bytes->end(), key.bytes().begin());
  else
    all.wrong("key", "is not 32 bytes in base64");
  if (bytes) broker::wipe(*bytes);
  return key;
}

void read_connector(const Members& each, broker::Connectors& connectors) {
  const auto name = broker::ConnectorName::parse(each.text("name"));
  const auto known = broker::parse_connector_class(each.text("class"));
  const auto address = broker::Address::parse(each.text("address", kMaxText));
  if (!name) each.wrong("name", "is no connector's");
  if (!known) each.wrong("class", "is not known to this node");
  if (!address) each.wrong("address", "is no URL");
  if (!name || !known || !address) return;
  broker::ConnectorConfig connector;
  connector.name = *name;
  connector.connector_class = *known;
  connector.address = *address;
  connectors.insert_or_assign(*name, std::move(connector));
}

bool is_lease_id(std::string_view id) {
  return id.size() == broker::kLeaseIdSize && id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567") == id.npos;
}

broker::Time read_end(const Members& all) {
  const auto time = parse_rfc3339(all.text("expires", 40));
  if (!time) all.wrong("expires", "is not a time in UTC (RFC 3339)");
  return time.value_or(broker::Time());
}

GrantRefusal malformed(const std::string& fault) {
  return {.error = Errc::gateway_unreachable,
          .detail = "The gateway's answer is not what this node expects (" + printable(fault) +
                    "); compare the versions of both."};
}

broker::Granted<broker::LeaseGrant> read_grant(const json::object& answer) {
  std::string fault;
  const Members all(answer, "", fault);
  broker::LeaseGrant grant{.id = all.text("id"),
                           .subject = all.text("subject", 512),
                           .key = read_key(all),
                           .expires = read_end(all),
                           .audience = all.text("audience", kMaxText),
                           .connectors = {}};
  if (!is_lease_id(grant.id)) all.wrong("id", "is not the id of a lease");
  const std::int64_t kid = all.number("key_version");
  if (kid < 1 || kid > std::numeric_limits<std::uint32_t>::max()) all.wrong("key_version", "is no version of a key");
  if (!broker::Address::parse(grant.audience)) all.wrong("audience", "is no URL");
  all.each("connectors", 32, [&](const Members& each) { read_connector(each, grant.connectors); });
  if (!fault.empty()) return malformed(fault);
  grant.kid = static_cast<std::uint32_t>(kid);
  return grant;
}

broker::Secret write_request(const broker::LeaseRequest& request) {
  json::object body = broker::secret_object();
  body["token"] = boosted(request.pod_token.reveal());
  json::array connectors;
  for (const auto& name : request.connectors) {
    const auto parsed = broker::ConnectorName::parse(name);  // "github" is "default/github"
    connectors.emplace_back(parsed ? parsed->text() : name);
  }
  body["connectors"] = std::move(connectors);
  if (request.operations) {
    json::array operations;
    for (const auto name : request.operations->names()) operations.emplace_back(boosted(name));
    body["operations"] = std::move(operations);
  }
  if (!request.repositories.empty())
    body["repositories"] = json::array(request.repositories.begin(), request.repositories.end());
  if (request.ttl) body["ttl_seconds"] = request.ttl->count();
  return broker::serialize_secret(body);
}

}  // namespace

LeaseGrants::LeaseGrants(asio::io_context& context, Desk& desk, Ways ways)
    : context_(context),
      desk_(desk),
      ways_(std::move(ways)),
      backoff_(std::chrono::seconds(1), std::chrono::seconds(30), ways_.chance) {}

asio::awaitable<broker::Granted<broker::LeaseGrant>> LeaseGrants::open(const broker::LeaseRequest& request) {
  Call call{.method = Call::Method::post, .target = "/v1/leases", .body = write_request(request)};
  const auto answer = co_await desk_.ask(std::move(call));
  if (!answer) co_return unreachable(answer.error());
  if (answer->status != 201) co_return refusal_in(*answer);
  const auto value = broker::parse_secret_json(answer->body.reveal());
  if (!value || !value->is_object()) co_return malformed("it is no JSON object");
  auto grant = read_grant(value->get_object());
  // It is open there.
  if (const std::string id(text_at(value->get_object(), {"id"})); !grant && is_lease_id(id))
    give_back(id, ways_.clock.now() + std::chrono::hours(1));
  co_return grant;
}

asio::awaitable<broker::Granted<broker::Time>> LeaseGrants::renew(std::string id, broker::Secret token,
                                                                  std::chrono::seconds ttl) {
  json::object body = broker::secret_object();
  body["token"] = boosted(token.reveal());
  body["ttl_seconds"] = ttl.count();
  Call call{
      .method = Call::Method::post, .target = "/v1/leases/" + id + "/renew", .body = broker::serialize_secret(body)};
  const auto answer = co_await desk_.ask(std::move(call));
  if (!answer) co_return unreachable(answer.error());
  if (answer->status != 200) co_return refusal_in(*answer);
  const auto value = broker::parse_secret_json(answer->body.reveal());
  if (!value || !value->is_object()) co_return malformed("it is no JSON object");
  std::string fault;
  const broker::Time expires = read_end(Members(value->get_object(), "", fault));
  if (!fault.empty()) co_return malformed(fault);
  co_return expires;
}

void LeaseGrants::lease_closed(const broker::LeasePtr& lease) {
  if (lease->grant) give_back(lease->id, lease->expires);
}

void LeaseGrants::give_back(const std::string& id, broker::Time expires) {
  if (closings_.size() == kMostClosings) closings_.pop_front();
  closings_.push_back({id, expires});
  if (!std::exchange(closing_, true)) asio::co_spawn(context_, close_all(), asio::detached);
}

asio::awaitable<void> LeaseGrants::close_all() {
  while (!closings_.empty()) {
    const Closing next = closings_.front();
    closings_.pop_front();
    if (next.expires <= ways_.clock.now()) continue;  // nobody redeems its tokens any more
    const bool done = co_await close(next.id);
    if (done) {
      backoff_.reset();
      continue;
    }
    closings_.push_back(next);
    co_await ways_.pause.wait(backoff_.next());
  }
  closing_ = false;
}

// Whether it needs no more asking.
asio::awaitable<bool> LeaseGrants::close(std::string id) {
  Call call{.method = Call::Method::remove, .target = "/v1/leases/" + id};
  const auto answer = co_await desk_.ask(std::move(call));
  if (!answer) {
    ways_.report("lease " + id + " is closed at the gateways as soon as they can be asked: " + answer.error().text());
    co_return false;
  }
  if (answer->status == 204 || answer->status == 404) co_return true;
  const GrantRefusal refusal = refusal_in(*answer);
  ways_.report("lease " + id + " is not closed at the gateways yet: " + refusal.detail);
  // Asked again it would be the same; the pod's end ends it.
  co_return answer->status < 500 && answer->status != 429 && answer->status != 403;
}

}  // namespace mintfs::kube
