#include "kube/election.h"

#include "broker/secret_json.h"
#include "kube/fields.h"
#include "kube/instant.h"

#include <boost/json/value.hpp>

#include <utility>

namespace mintfs::kube {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

std::string path_of(const std::string& space) {
  return "/apis/coordination.k8s.io/v1/namespaces/" + percent_encode(space) + "/leases";
}

}  // namespace

Election::Election(Api& api, Settings settings, Ways ways)
    : api_(api), settings_(std::move(settings)), ways_(std::move(ways)) {}

bool Election::leads() const { return leader_ && ways_.now() - renewed_ < settings_.deadline; }

asio::awaitable<void> Election::run() {
  for (;;) {
    const auto done = co_await attempt();
    // Another one was quicker: no news.
    if (!done && done.error().reason != Reason::conflict && done.error().reason != Reason::already_exists)
      ways_.report(done.error());
    const auto retry = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.retry);
    const auto jitter =
        std::chrono::milliseconds(static_cast<std::int64_t>(ways_.chance() * 0.2 * static_cast<double>(retry.count())));
    co_await ways_.pause.wait(retry + jitter);
  }
}

asio::awaitable<Outcome<void>> Election::attempt() {
  Call call{.target = path_of(settings_.space) + "/" + percent_encode(settings_.name), .repeatable = true};
  const auto lease = co_await api_.send(std::move(call));
  if (!lease && lease.error().reason == Reason::not_found) co_return co_await create();
  if (!lease) co_return lease.error();
  const std::string_view holder = text_at(*lease, {"spec", "holderIdentity"});
  const std::string_view version = text_at(*lease, {"metadata", "resourceVersion"});
  if (version != seen_version_) {
    seen_version_ = version;
    seen_ = ways_.now();
  }
  const bool free = holder.empty() || ways_.now() - seen_ >= settings_.duration;
  if (holder != settings_.identity && !free) {
    leader_ = false;
    co_return boost::system::in_place_value;
  }
  co_return co_await take(*lease);
}

asio::awaitable<Outcome<void>> Election::create() {
  const Monotonic asked = ways_.now();
  const json::object lease = record(nullptr);
  Call call{.method = Call::Method::post, .target = path_of(settings_.space), .body = broker::serialize_secret(lease)};
  const auto made = co_await api_.send(std::move(call));
  if (!made) co_return made.error();
  leader_ = true;
  renewed_ = asked;
  co_return boost::system::in_place_value;
}

asio::awaitable<Outcome<void>> Election::take(const json::object& lease) {
  // Before it is sent: the time that others count begins no later.
  const Monotonic asked = ways_.now();
  const json::object mine = record(&lease);
  Call call{.method = Call::Method::put,
            .target = path_of(settings_.space) + "/" + percent_encode(settings_.name),
            .body = broker::serialize_secret(mine)};
  const auto taken = co_await api_.send(std::move(call));
  if (!taken) {
    if (taken.error().reason == Reason::conflict) leader_ = false;
    co_return taken.error();
  }
  leader_ = true;
  renewed_ = asked;
  co_return boost::system::in_place_value;
}

json::object Election::record(const json::object* former) const {
  const std::string now = rfc3339_micro(ways_.clock.now());
  const bool stays = former != nullptr && text_at(*former, {"spec", "holderIdentity"}) == settings_.identity;
  const std::string_view since = stays ? text_at(*former, {"spec", "acquireTime"}) : std::string_view();
  const auto turns = former == nullptr ? 0 : number_at(*former, {"spec", "leaseTransitions"}).value_or(0);
  json::object metadata{{"name", settings_.name}, {"namespace", settings_.space}};
  // Whoever changed it since we read it wins.
  if (former != nullptr) metadata["resourceVersion"] = std::string(text_at(*former, {"metadata", "resourceVersion"}));
  return {{"apiVersion", "coordination.k8s.io/v1"},
          {"kind", "Lease"},
          {"metadata", std::move(metadata)},
          {"spec",
           {{"holderIdentity", settings_.identity},
            {"leaseDurationSeconds", settings_.duration.count()},
            {"acquireTime", since.empty() ? now : std::string(since)},
            {"renewTime", now},
            {"leaseTransitions", former == nullptr || stays ? turns : turns + 1}}}};
}

}  // namespace mintfs::kube
