// Whether the servers of the connectors are there and take their credentials: LivenessReady and AuthReady.
//
// Each connector that is served is probed every five minutes, and at once when its address or its credential changed; a
// server that does not answer after 15 s, and then after twice as long each time, so that one which was only started
// later is soon seen. A credential that is refused is not tried again sooner: servers lock accounts for that. At
// most sixteen are under way, so that a thousand of them neither flood one server nor wait for a dead one. Only
// while this replica is the elected one. How a server is asked is an argument: this folder speaks to none.
// Of the context's thread.
#pragma once

#include "broker/error.h"
#include "kube/backoff.h"
#include "kube/catalog.h"
#include "kube/conditions.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mintfs::kube {

// What a server said.
struct Probed {
  broker::Errc failure{};  // it said nothing, or nothing that can be read; Errc{}: it answered
  unsigned status = 0;     // of its answer
  bool tried = false;      // the credential: without that a status tells nothing about it

  bool operator==(const Probed&) const = default;
};

// LivenessReady and AuthReady of a connector whose server said this.
std::vector<Condition> conditions_of(const Connector& connector, const Probed& probed);

class Probes {
 public:
  using Monotonic = std::chrono::steady_clock::time_point;
  using Ask = std::function<boost::asio::awaitable<Probed>(const Connector&)>;  // always returns, within a bound
  static constexpr std::size_t kAtOnce = 16;
  static constexpr std::chrono::seconds kEvery{300};
  static constexpr std::chrono::seconds kSoon{15};   // where nobody answers; then twice as long each time, up to
  static constexpr std::chrono::seconds kLater{60};  // this, or kEvery where a server answers that it cannot
  static constexpr std::chrono::seconds kTurn{1};

  struct Ways {
    Pause& pause;
    Ask ask;
    std::function<bool()> leads;
    std::function<void(const ObjectName&)> told;  // another answer than before
    std::function<Monotonic()> now = [] { return std::chrono::steady_clock::now(); };
  };

  Probes(const Catalog& catalog, Ways ways) : catalog_(catalog), ways_(std::move(ways)) {}

  // Never returns; ends with its context.
  boost::asio::awaitable<void> run();
  // Begins what is due; returns before that is done.
  boost::asio::awaitable<void> turn();

  // Nothing where a served connector was not probed yet: say nothing about it until it is.
  std::optional<std::vector<Condition>> conditions(const ObjectName& name) const;
  std::size_t under_way() const { return under_way_; }

 private:
  struct Known {
    std::string as;  // what was probed, see Catalog::served_as
    std::optional<Probed> probed{};
    Monotonic when{};
    std::chrono::seconds pause = kEvery;  // until the next time
    bool under_way = false;
  };
  boost::asio::awaitable<void> probe(ObjectName name, Connector connector);
  bool is_due(const ObjectName& name, const std::string& as, Monotonic now) const;

  const Catalog& catalog_;
  Ways ways_;
  std::map<ObjectName, Known> known_;
  std::size_t under_way_ = 0;
  ObjectName next_{};  // whose turn it is: those who never answer must not keep all others waiting
};

}  // namespace mintfs::kube
