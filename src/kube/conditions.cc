#include "kube/conditions.h"

#include "broker/secret_json.h"
#include "kube/fields.h"
#include "kube/instant.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

std::string_view to_text(Truth truth) {
  switch (truth) {
    case Truth::no:
      return "False";
    case Truth::yes:
      return "True";
    case Truth::unknown:
      return "Unknown";
  }
  return "Unknown";
}

// The condition of that type in a status that may be of any shape.
const json::object* find(const json::object* status, std::string_view type) {
  const json::value* const conditions = status == nullptr ? nullptr : value_at(*status, {"conditions"});
  if (conditions == nullptr || !conditions->is_array()) return nullptr;
  for (const json::value& each : conditions->get_array())
    if (each.is_object() && text_at(each.get_object(), {"type"}) == type) return &each.get_object();
  return nullptr;
}

// Its order of members does not matter, nor what we do not write.
bool says(const json::object* former, const json::object& wanted) {
  return former != nullptr && std::all_of(wanted.begin(), wanted.end(), [&](const auto& member) {
           const json::value* const value = former->if_contains(member.key());
           return value != nullptr && *value == member.value();
         });
}

}  // namespace

std::string_view to_string(ConditionType type) noexcept {
  switch (type) {
    case ConditionType::connector_class_ready:
      return "ConnectorClassReady";
    case ConditionType::secret_ready:
      return "SecretReady";
    case ConditionType::liveness_ready:
      return "LivenessReady";
    case ConditionType::auth_ready:
      return "AuthReady";
    case ConditionType::proxy_service_ready:
      return "ProxyServiceReady";
    case ConditionType::ready:
      return "Ready";
  }
  return "Ready";
}

std::vector<Condition> with_ready(std::vector<Condition> conditions) {
  const auto first = [&](Truth status) {
    return std::find_if(conditions.begin(), conditions.end(),
                        [&](const auto& each) { return each.counts && each.status == status; });
  };
  auto worst = first(Truth::no);
  if (worst == conditions.end()) worst = first(Truth::unknown);
  Condition ready{.type = ConditionType::ready, .status = Truth::yes, .reason = "Ready", .message = ""};
  if (worst != conditions.end()) {
    ready.status = worst->status;
    ready.reason = worst->reason;
    ready.message = worst->message;
  }
  conditions.push_back(std::move(ready));
  return conditions;
}

std::optional<json::object> next_status(const json::object* former, const ConnectorStatus& status, broker::Time now) {
  json::array conditions;
  bool changed = former == nullptr;
  for (const Condition& each : status.conditions) {
    const std::string_view type = to_string(each.type);
    const json::object* const before = find(former, type);
    json::object wanted{
        {"type", type}, {"status", to_text(each.status)}, {"reason", each.reason}, {"message", each.message}};
    if (!says(before, wanted)) changed = true;
    const bool stays = before != nullptr && text_at(*before, {"status"}) == to_text(each.status);
    const std::string_view since = stays ? text_at(*before, {"lastTransitionTime"}) : std::string_view();
    wanted["lastTransitionTime"] = since.empty() ? rfc3339(now) : std::string(since);
    conditions.emplace_back(std::move(wanted));
  }
  if (former != nullptr && (text_at(*former, {"proxy", "httpAddress", "url"}) != status.proxy_url ||
                            number_at(*former, {"observedGeneration"}) != status.generation))
    changed = true;
  if (!changed) return std::nullopt;
  return json::object{{"observedGeneration", status.generation},
                      {"conditions", std::move(conditions)},
                      {"proxy", {{"httpAddress", {{"url", status.proxy_url}}}}}};
}

asio::awaitable<Outcome<void>> patch_status(Api& api, std::string target, json::object status) {
  const json::object patch{{"status", std::move(status)}};
  Call call{.method = Call::Method::merge_patch,
            .target = target + "/status",
            .body = broker::serialize_secret(patch),
            .repeatable = true};
  const auto answer = co_await api.send(std::move(call));
  if (!answer) co_return answer.error();
  co_return boost::system::in_place_value;
}

}  // namespace mintfs::kube
