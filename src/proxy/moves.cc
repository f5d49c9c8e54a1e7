#include "proxy/moves.h"

#include <algorithm>

namespace mintfs::proxy {

Moves::List::iterator Moves::search(List& list, const broker::ConnectorConfig& connector, std::string_view from) {
  return std::find_if(list.begin(), list.end(), [&](const Move& move) {
    return move.from == from && move.connector == connector.name && move.address == connector.address;
  });
}

void Moves::learn(const broker::ConnectorConfig& connector, std::string_view from, std::string_view to, Time now) {
  auto list = list_.lock();
  if (const auto known = search(*list, connector, from); known != list->end()) list->erase(known);
  list->push_front({connector.name, connector.address, std::string(from), std::string(to), now + kRememberedFor});
  if (list->size() > kMost) list->pop_back();
  any_.store(true, std::memory_order_relaxed);
}

void Moves::forget(const broker::ConnectorConfig& connector, std::string_view from) {
  if (!any_.load(std::memory_order_relaxed)) return;
  auto list = list_.lock();
  if (const auto known = search(*list, connector, from); known != list->end()) list->erase(known);
  any_.store(!list->empty(), std::memory_order_relaxed);
}

std::optional<std::string> Moves::find(const broker::ConnectorConfig& connector, std::string_view from, Time now) {
  if (!any_.load(std::memory_order_relaxed)) return std::nullopt;
  auto list = list_.lock();
  while (!list->empty() && list->back().until <= now) list->pop_back();
  any_.store(!list->empty(), std::memory_order_relaxed);
  const auto known = search(*list, connector, from);
  return known == list->end() ? std::nullopt : std::optional(known->to);
}

}  // namespace mintfs::proxy
