#include "kube/lease_desk.h"

#include "broker/encoding.h"
#include "broker/secret_json.h"
#include "kube/instant.h"
#include "kube/members.h"
#include "kube/unmade_leases.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using broker::Errc;

constexpr std::size_t kMaxToken = 16 * 1024;

json::string_view boosted(std::string_view text) { return {text.data(), text.size()}; }

// Who cannot be asked has not said no.
DeskAnswer unanswered(const Failure& failure) {
  if (failure.reason == Reason::unauthorized) return LeaseDesk::refuse(Errc::caller_denied, failure.message);
  return LeaseDesk::refuse(Errc::leases_unconfirmed,
                           "The gateway cannot ask the API server: " + failure.text() + "; try again shortly.");
}

int to_status(Errc error) {
  if (error == Errc::leases_unconfirmed || error == Errc::token_key_unknown) return 503;
  if (error == Errc::request_malformed || error == Errc::lease_malformed) return 400;
  if (error == Errc::lease_closed) return 404;
  if (error == Errc::connector_unknown) return 422;
  if (error == Errc::too_many) return 429;
  return 403;
}

// A JSON object with no other members.
Outcome<json::value> read_body(std::string_view body, std::initializer_list<std::string_view> known) {
  auto value = broker::parse_secret_json(body);
  if (!value || !value->is_object()) return Failure{.reason = Reason::invalid, .message = "the body is no JSON object"};
  for (const auto& member : value->get_object()) {
    const std::string_view name(member.key().data(), member.key().size());
    // A right that a newer node narrows must not be given whole.
    if (std::find(known.begin(), known.end(), name) == known.end())
      return Failure{.reason = Reason::invalid, .message = "'" + printable(name) + "' is not known here"};
  }
  return std::move(*value);
}

void check_ttl(const Members& all, std::chrono::seconds ttl, std::chrono::seconds most) {
  if (ttl.count() < 1 || ttl > most) all.wrong("ttl_seconds", "is not 1 to " + std::to_string(most.count()));
}

std::string label_of(const broker::Lease& lease, const char* name) {
  const auto found = lease.labels.find(name);
  return found == lease.labels.end() ? std::string() : found->second;
}

// Of an object; a subject is "pod:<namespace>/<pod>".
std::string target_of(const broker::Lease& lease) {
  return in_namespace(kConnectorLeases, lease.subject.substr(4, lease.subject.find('/') - 4)) + "/" + lease.id;
}

std::string new_id() {
  broker::Random random;
  std::array<char, 16> bytes;
  random.fill(bytes);
  return broker::base32_encode({bytes.data(), bytes.size()});
}

}  // namespace

broker::Lease to_lease(const ConnectorLease& object) {
  broker::Lease lease;
  lease.id = object.id;
  lease.version = object.version;
  lease.subject = "pod:" + object.space + "/" + object.pod;
  lease.pod = true;
  lease.labels = {{"node", object.node}, {"pod", object.pod}, {broker::kPodUid, object.pod_uid}};
  lease.connectors = object.connectors;
  lease.rights.operations = object.operations;
  for (const auto& pattern : object.repositories) lease.rights.repositories.emplace_back(pattern);
  lease.opened = object.opened;
  lease.expires = object.expires;
  lease.kid = object.kid;
  return lease;
}

LeaseDesk::LeaseDesk(Api& api, broker::Broker& broker, const broker::MasterKeys& keys, Settings settings,
                     Knowledge knowledge)
    : api_(api),
      broker_(broker),
      keys_(keys),
      settings_(std::move(settings)),
      knowledge_(std::move(knowledge)),
      strangers_(settings_.strangers) {}

DeskAnswer LeaseDesk::refuse(Errc error, std::string_view detail) {
  const int status = to_status(error);
  const json::object problem{{"type", "about:blank"},
                             {"status", status},
                             {"reason", boosted(broker::reason_word(error))},
                             {"detail", boosted(detail.empty() ? broker::advice(error) : detail)}};
  return {.status = status, .body = broker::serialize_secret(problem)};
}

void LeaseDesk::read_proof(const Members& all, Request& request) const {
  std::string token = all.text("token", kMaxToken);
  request.token = broker::Secret(std::string_view(token));
  broker::wipe(token);
}

Outcome<LeaseDesk::Request> LeaseDesk::read_renewal(std::string_view body) const {
  std::string fault;
  const auto value = read_body(body, {"token", "ttl_seconds"});
  if (!value) return value.error();
  const Members all(value->get_object(), "", fault);
  Request request;
  read_proof(all, request);
  request.ttl = std::chrono::seconds(all.number("ttl_seconds"));
  check_ttl(all, request.ttl, settings_.max_ttl);
  if (!fault.empty()) return Failure{.reason = Reason::invalid, .message = std::move(fault)};
  return request;
}

Outcome<LeaseDesk::Request> LeaseDesk::read(std::string_view body) const {
  std::string fault;
  const auto value = read_body(body, {"token", "connectors", "operations", "repositories", "ttl_seconds"});
  if (!value) return value.error();
  const Members all(value->get_object(), "", fault);
  Request request;
  read_proof(all, request);
  for (const auto& text : all.texts("connectors", 32)) {
    auto name = broker::ConnectorName::parse(text);
    if (!name) all.wrong("connectors", "has an entry that is not namespace/name");
    if (name && std::find(request.connectors.begin(), request.connectors.end(), *name) == request.connectors.end())
      request.connectors.push_back(std::move(*name));
  }
  if (request.connectors.empty()) all.wrong("connectors", "names none");
  if (value->get_object().contains("operations")) request.operations = read_operations(all);
  request.repositories = all.texts("repositories", 64, 255);
  for (const auto& pattern : request.repositories)
    if (!broker::RepositoryPattern::is_valid(pattern)) all.wrong("repositories", "has an entry that is no pattern");
  request.ttl = settings_.default_ttl;
  if (value->get_object().contains("ttl_seconds")) request.ttl = std::chrono::seconds(all.number("ttl_seconds"));
  check_ttl(all, request.ttl, settings_.max_ttl);
  if (!fault.empty()) return Failure{.reason = Reason::invalid, .message = std::move(fault)};
  return request;
}

asio::awaitable<std::optional<DeskAnswer>> LeaseDesk::admit(DeskCaller caller, PodIdentity& node) {
  const auto question = strangers_.ask(caller.bearer, caller.address);
  if (!question)
    co_return refuse(Errc::too_many,
                     "Too many callers that are no node daemon ask here at this moment; try again shortly.");
  auto reviewed = co_await review_token(api_, std::move(caller.bearer), settings_.node_audience);
  if (!reviewed) {
    if (reviewed.error().reason == Reason::unauthorized) strangers_.is_nobody(*question);
    co_return unanswered(reviewed.error());
  }
  if (reviewed->space != settings_.node_space || reviewed->service_account != settings_.node_account)
    co_return refuse(Errc::caller_denied, "Only the node daemon opens and closes leases here.");
  strangers_.is_node(*question);
  node = std::move(*reviewed);
  co_return std::nullopt;
}

// A connector that is missing and one that is denied are told apart only to who may know.
asio::awaitable<std::optional<DeskAnswer>> LeaseDesk::allow(const PodIdentity& pod,
                                                            const std::vector<broker::ConnectorName>& connectors) {
  for (const auto& name : connectors) {
    Outcome<bool> allowed = true;
    if (!settings_.open_own_namespace || name.space != pod.space) allowed = co_await may_use(api_, pod, name);
    if (!allowed) co_return unanswered(allowed.error());
    if (!*allowed)
      co_return refuse(Errc::connector_denied, "The service account '" + pod.space + "/" + pod.service_account +
                                                   "' may not get the connector '" + name.text() +
                                                   "'; bind a role to it that has the verb get on connectors.");
    if (broker_.connectors()->contains(name)) continue;
    if (!knowledge_.connectors_listed())
      co_return refuse(Errc::leases_unconfirmed,
                       "The gateway has just started and does not know every connector yet; try again shortly.");
    co_return refuse(Errc::connector_unknown,
                     "The connector '" + name.text() + "' cannot be used: " +
                         (knowledge_.why_not_served ? knowledge_.why_not_served(name) : "It is not ready."));
  }
  co_return std::nullopt;
}

std::size_t LeaseDesk::leases_of(const PodIdentity& pod) const { return broker_.leases().count_of_pod(pod.pod_uid); }

ConnectorLease LeaseDesk::describe(const PodIdentity& pod, const Request& request) const {
  const broker::Time now = broker_.clock().now();
  return {.id = new_id(),
          .space = pod.space,
          .pod = pod.pod,
          .pod_uid = pod.pod_uid,
          .node = pod.node,
          .service_account = pod.service_account,
          .connectors = request.connectors,
          .operations = request.operations,
          .repositories = request.repositories,
          .kid = keys_.current(),
          .opened = now,
          .expires = now + request.ttl};
}

DeskAnswer LeaseDesk::grant(const ConnectorLease& lease, const broker::LeaseKey& key) const {
  json::object answer = broker::secret_object();
  json::array connectors;
  const auto table = broker_.connectors();
  for (const auto& name : lease.connectors) {
    const auto found = table->find(name);
    if (found == table->end()) continue;
    connectors.push_back({{"name", name.text()},
                          {"class", boosted(broker::to_string(found->second.connector_class))},
                          {"address", found->second.address.text()}});
  }
  answer["id"] = lease.id;
  answer["expires"] = rfc3339_micro(lease.expires);
  answer["key_version"] = std::int64_t{lease.kid};
  std::array<char, broker::base64_size(32)> text;
  broker::base64_encode(key.reveal(), text.data());
  answer["key"] = json::string_view(text.data(), text.size());
  broker::wipe(text);
  answer["audience"] = broker_.audience();
  answer["subject"] = "pod:" + lease.space + "/" + lease.pod;
  answer["connectors"] = std::move(connectors);
  return {.status = 201, .body = broker::serialize_secret(answer)};
}

asio::awaitable<DeskAnswer> LeaseDesk::open(DeskCaller caller, broker::Secret body) {
  PodIdentity node;
  if (auto refusal = co_await admit(std::move(caller), node)) co_return std::move(*refusal);
  auto request = read(body.reveal());
  if (!request) co_return refuse(Errc::request_malformed, request.error().message);
  const auto pod = co_await review_token(api_, std::move(request->token), settings_.pod_audience);
  if (!pod) co_return unanswered(pod.error());
  if (pod->node != node.node)
    co_return refuse(Errc::caller_denied, "The pod does not run on the node that asks for it.");
  if (auto refusal = co_await allow(*pod, request->connectors)) co_return std::move(*refusal);
  if (leases_of(*pod) >= kLeasesPerPod) co_return refuse(Errc::too_many, "The pod has 16 leases open; close one.");
  const ConnectorLease lease = describe(*pod, *request);
  const auto key = keys_.derive(lease.kid, lease.id);
  if (!key) co_return refuse(Errc::token_key_unknown);
  const json::object object = write_connector_lease(lease);
  Call call{.method = Call::Method::post,
            .target = in_namespace(kConnectorLeases, lease.space),
            .body = broker::serialize_secret(object)};
  // Taken before it is made: the watch may tell that its pod and it are gone before the answer comes, and then it
  // must not come back. Its key is with nobody yet. It counts for its pod from now on, too.
  const broker::Lease taken = to_lease(lease);
  const std::string target = target_of(taken);
  broker_.take_lease(taken, "open");
  const auto made = co_await api_.send(std::move(call));
  if (!made) {
    broker_.close_for(lease.id, "not-made");
    if (knowledge_.unmade && UnmadeLeases::may_be_there(made.error().reason)) knowledge_.unmade(lease.id, target);
    co_return unanswered(made.error());
  }
  co_return grant(lease, *key);
}

broker::Granted<broker::LeasePtr> LeaseDesk::find(const std::string& id, const PodIdentity& node) const {
  broker::LeasePtr lease = broker_.find_lease(id);
  // Who has just started does not know all of them yet: that is no reason to give one up.
  if (!lease && !knowledge_.leases_confirmed())
    return broker::GrantRefusal{Errc::leases_unconfirmed, std::string(broker::advice(Errc::leases_unconfirmed))};
  if (!lease || label_of(*lease, "node") != node.node) return broker::GrantRefusal{Errc::lease_closed};
  return lease;
}

asio::awaitable<DeskAnswer> LeaseDesk::close(DeskCaller caller, std::string id) {
  PodIdentity node;
  if (auto refusal = co_await admit(std::move(caller), node)) co_return std::move(*refusal);
  const auto lease = find(id, node);
  if (!lease) co_return refuse(lease.error().error, lease.error().detail);
  Call call{.method = Call::Method::remove, .target = target_of(**lease)};
  const auto gone = co_await api_.send(std::move(call));
  if (!gone && gone.error().reason != Reason::not_found) co_return unanswered(gone.error());
  // Where the watch has told it before the answer came it tells no more of it.
  if (knowledge_.closed && broker_.find_lease(id)) knowledge_.closed(id);
  broker_.close_for(id, "");
  co_return DeskAnswer{.status = 204};
}

asio::awaitable<DeskAnswer> LeaseDesk::renew(DeskCaller caller, std::string id, broker::Secret body) {
  PodIdentity node;
  if (auto refusal = co_await admit(std::move(caller), node)) co_return std::move(*refusal);
  auto request = read_renewal(body.reveal());
  if (!request) co_return refuse(Errc::request_malformed, request.error().message);
  const auto pod = co_await review_token(api_, std::move(request->token), settings_.pod_audience);
  if (!pod) co_return unanswered(pod.error());
  const auto lease = find(id, node);
  if (!lease) co_return refuse(lease.error().error, lease.error().detail);
  if (pod->node != node.node || label_of(**lease, "pod_uid") != pod->pod_uid) co_return refuse(Errc::lease_closed);
  if (auto refusal = co_await allow(*pod, (*lease)->connectors)) co_return std::move(*refusal);
  const broker::Time expires = std::max((*lease)->expires, broker_.clock().now() + request->ttl);
  json::object patch{{"spec", {{"expires", rfc3339_micro(expires)}}}};
  // Where another gateway has renewed it and we have not heard of it yet, ours must not make it shorter.
  if (!(*lease)->version.empty()) patch["metadata"] = {{"resourceVersion", (*lease)->version.text()}};
  Call call{.method = Call::Method::merge_patch, .target = target_of(**lease), .body = broker::serialize_secret(patch)};
  const auto patched = co_await api_.send(std::move(call));
  if (!patched && patched.error().reason == Reason::not_found) co_return refuse(Errc::lease_closed);
  if (!patched && patched.error().reason == Reason::conflict)
    co_return refuse(Errc::leases_unconfirmed, "The lease was changed at this moment; try again shortly.");
  if (!patched) co_return unanswered(patched.error());
  // Every replica hears of it by its watch, this one too: one that was deleted meanwhile does not come back.
  broker_.audit().write({.event = "renew", .lease = id, .subject = (*lease)->subject});
  co_return DeskAnswer{.status = 200,
                       .body = broker::serialize_secret({{"id", id}, {"expires", rfc3339_micro(expires)}})};
}

}  // namespace mintfs::kube
