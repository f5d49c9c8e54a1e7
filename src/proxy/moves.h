// Where repositories have moved to, as their servers told.
//
// git is told not to follow redirects, so the proxy follows that of info/refs and git goes on asking
// under the old path. Servers redirect no POST: without this memory a clone of a renamed repository
// would end in 404. What is remembered is a hint and no right: the new path is authorized each time.
// Thread-safe; one lookup costs no lock where nothing has moved.
#pragma once

#include "broker/config.h"
#include "broker/sync.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::proxy {

class Moves {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMost = 256;  // the oldest is dropped
  static constexpr std::chrono::minutes kRememberedFor{10};

  // `from` and `to` are paths of repositories as they stand in requests: "/acme/app.git".
  void learn(const broker::ConnectorConfig& connector, std::string_view from, std::string_view to, Time now);
  void forget(const broker::ConnectorConfig& connector, std::string_view from);
  std::optional<std::string> find(const broker::ConnectorConfig& connector, std::string_view from, Time now);

 private:
  struct Move {
    broker::ConnectorName connector;
    broker::Address address;  // a reload may point the connector elsewhere
    std::string from;
    std::string to;
    Time until;
  };
  using List = std::list<Move>;  // the newest is in front
  static List::iterator search(List& list, const broker::ConnectorConfig& connector, std::string_view from);

  std::atomic<bool> any_{false};
  broker::Sync<List> list_;
};

}  // namespace mintfs::proxy
