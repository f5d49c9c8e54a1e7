#include "kube/reflector.h"

#include "kube/client.h"
#include "kube/fields.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

// A watch is asked to end by itself after 5 to 10 minutes, so that watches spread over API servers.
constexpr int kShortestWatch = 300;
constexpr std::size_t kMaxPages = 20'000;
constexpr std::size_t kMaxToken = 16 * 1024;

Failure malformed(std::string_view what) { return {.reason = Reason::malformed, .message = std::string(what)}; }

}  // namespace

Reflector::Reflector(Api& api, Collection collection, ObjectSink& sink, Ways ways)
    : api_(api),
      collection_(std::move(collection)),
      sink_(sink),
      ways_(std::move(ways)),
      backoff_(kFirstPause, kLongestPause, ways_.chance) {}

bool Reflector::is_fresh(Monotonic now, std::chrono::seconds bound) const {
  const Monotonic last = heard();
  return last != Monotonic() && now - last <= bound;
}

asio::awaitable<void> Reflector::run() {
  for (;;) {
    Failure failure;
    if (version_.empty()) {
      const auto listed = co_await list();
      if (!listed) failure = listed.error();
    }
    if (!version_.empty()) failure = co_await follow();
    // invalid: the server does not know our resource version at all, after a restore for instance.
    if (failure.reason == Reason::gone || failure.reason == Reason::invalid) version_.clear();
    const bool silent = failure.reason == Reason::silent;
    if (silent && collection_.confirmed) version_.clear();
    if (silent) backoff_.reset();
    if (!silent && failure.reason != Reason::ended) ways_.report(failure);
    const auto asked = std::chrono::milliseconds(failure.retry_after.value_or(std::chrono::seconds{0}));
    co_await ways_.pause.wait(asked + backoff_.next());
  }
}

asio::awaitable<Outcome<void>> Reflector::list() {
  const Monotonic asked = ways_.now();
  sink_.begin();
  std::string next;
  std::size_t most = kPage;
  for (std::size_t pages = 0; pages < kMaxPages; ++pages) {
    Call call{.target = list_target(most, next), .repeatable = true};
    const auto page = co_await api_.send(std::move(call));
    // Anybody's large objects must not keep all others from being known.
    if (!page && page.error().reason == Reason::too_large && most > kLeastPage) {
      most = std::max(most / 8, kLeastPage);
      continue;
    }
    if (!page) co_return page.error();
    if (const auto taken = take_page(*page, next); !taken) co_return taken.error();
    if (!next.empty()) continue;
    version_ = text_at(*page, {"metadata", "resourceVersion"});
    if (version_.empty()) co_return malformed("a list has no resourceVersion");
    sink_.complete();
    confirm(asked);
    co_return boost::system::in_place_value;
  }
  co_return Failure{.reason = Reason::too_large, .message = "a list does not end"};
}

Outcome<void> Reflector::take_page(const json::object& page, std::string& next) {
  const json::value* const items = value_at(page, {"items"});
  // An empty list of a Go program may be null.
  if (items == nullptr || !(items->is_array() || items->is_null())) return malformed("a list has no items");
  if (items->is_array()) {
    for (const json::value& item : items->get_array()) {
      if (!item.is_object()) return malformed("an item of a list is not an object");
      sink_.upsert(item.get_object());
    }
  }
  next = text_at(page, {"metadata", "continue"});
  if (next.size() > kMaxToken) return malformed("a list's continue token is over 16 KiB");
  return boost::system::in_place_value;
}

asio::awaitable<Failure> Reflector::follow() {
  auto stream = co_await api_.watch(watch_target());
  if (!stream) co_return stream.error();
  for (;;) {
    const auto event = co_await (*stream)->next();
    if (!event) co_return event.error();
    if (const auto taken = take_event(*event); !taken) co_return taken.error();
    backoff_.reset();
  }
}

Outcome<void> Reflector::take_event(const json::object& event) {
  const std::string_view type = text_at(event, {"type"});
  const json::object* const object = object_at(event, {"object"});
  if (object == nullptr) return malformed("an event has no object");
  if (type == "ERROR") return to_failure(*object);
  const std::string_view version = text_at(*object, {"metadata", "resourceVersion"});
  // Where we stand is not known any more: only a list tells.
  if (version.empty() || version.size() > 256) {
    version_.clear();
    return malformed("an event has no resourceVersion");
  }
  if (type == "ADDED" || type == "MODIFIED") {
    sink_.upsert(*object);
  } else if (type == "DELETED") {
    sink_.remove(*object);
  } else if (type != "BOOKMARK") {
    version_.clear();
    return malformed("an event is of no known type");
  }
  version_ = version;
  confirm(ways_.now());
  return boost::system::in_place_value;
}

std::string Reflector::target(const std::string& query) const {
  return collection_.path + "?" + query + (collection_.filter.empty() ? "" : "&" + collection_.filter);
}

std::string Reflector::list_target(std::size_t most, const std::string& next) const {
  return target("limit=" + std::to_string(most) + (next.empty() ? "" : "&continue=" + percent_encode(next)));
}

std::string Reflector::watch_target() {
  const int seconds = kShortestWatch + static_cast<int>(ways_.chance() * kShortestWatch);
  return target("watch=1&allowWatchBookmarks=true&resourceVersion=" + percent_encode(version_) +
                "&timeoutSeconds=" + std::to_string(seconds));
}

}  // namespace mintfs::kube
