#include "kube/status_writer.h"

#include "kube/fields.h"

#include <boost/json/value.hpp>

#include <utility>

namespace mintfs::kube {

namespace asio = boost::asio;

StatusWriter::StatusWriter(Api& api, Catalog& catalog, Events& events, std::string proxy_url, Ways ways)
    : api_(api), catalog_(catalog), events_(events), proxy_url_(std::move(proxy_url)), ways_(std::move(ways)) {
  catalog_.on_change([this](const ObjectName& name) { look_at(name); });
}

asio::awaitable<void> StatusWriter::run() {
  for (;;) {
    co_await turn();
    co_await ways_.pause.wait(kTurn);
  }
}

asio::awaitable<void> StatusWriter::turn() {
  if (!ways_.leads()) {
    led_ = false;
    due_.clear();
    co_return;
  }
  // Until all is listed, what is missing may be on its way.
  if (!catalog_.is_complete()) co_return;
  if (!std::exchange(led_, true)) due_ = catalog_.names();
  for (std::size_t written = 0; written < kAtOnce && !due_.empty() && ways_.leads(); ++written) {
    const ObjectName name = *due_.begin();
    due_.erase(due_.begin());
    const auto done = co_await write(name);
    if (done || done.error().reason == Reason::not_found) continue;
    ways_.report(done.error());
    due_.insert(name);
    co_return;
  }
}

ConnectorStatus StatusWriter::status_of(const ObjectName& name, std::vector<Condition> probed) const {
  auto conditions = catalog_.conditions(name);
  bool ready = true;
  for (const Condition& each : conditions) ready = ready && each.status == Truth::yes;
  for (Condition& each : probed) conditions.push_back(std::move(each));
  conditions.push_back({.type = ConditionType::proxy_service_ready,
                        .status = ready ? Truth::yes : Truth::no,
                        .reason = ready ? "Proxied" : "NotProxied",
                        .message = ready ? "" : "The proxy serves a connector when its class and secret are ready."});
  return {.conditions = with_ready(std::move(conditions)),
          .proxy_url = proxy_url_ + "/namespaces/" + name.space + "/connectors/" + name.name};
}

asio::awaitable<Outcome<void>> StatusWriter::write(ObjectName name) {
  if (catalog_.find(name) == nullptr) co_return boost::system::in_place_value;
  auto probed = ways_.probed(name);
  if (!probed) co_return boost::system::in_place_value;
  const std::string target = in_namespace(kConnectors, name.space) + "/" + percent_encode(name.name);
  Call call{.target = target, .repeatable = true};
  const auto object = co_await api_.send(std::move(call));
  if (!object) co_return object.error();
  if (catalog_.find(name) == nullptr) co_return boost::system::in_place_value;
  ConnectorStatus status = status_of(name, std::move(*probed));
  status.generation = number_at(*object, {"metadata", "generation"}).value_or(0);
  auto next = next_status(object_at(*object, {"status"}), status, ways_.clock.now());
  if (!next) co_return boost::system::in_place_value;
  auto patched = co_await patch_status(api_, target, std::move(*next));
  const Condition& ready = status.conditions.back();
  if (!patched || ready.status != Truth::no) co_return patched;
  ObjectReference about{.api_version = std::string(kGroup) + "/" + kVersion,
                        .kind = "Connector",
                        .space = name.space,
                        .name = name.name,
                        .uid = std::string(text_at(*object, {"metadata", "uid"}))};
  co_return co_await events_.warn(std::move(about), ready.reason, ready.message);
}

}  // namespace mintfs::kube
