// One of several replicas leads: it alone writes the connectors' status.
//
// A Lease object (coordination.k8s.io/v1) names the leader. A leader renews every `retry`; who has not seen
// the record change for `duration`, by its own monotonic clock, takes it over. Clocks are never compared
// between machines. A leader that could not renew for `deadline`, less than `duration`, stops leading by
// itself, before another one can begin. Two may still write at once across a long pause of the process; what
// they write is the same kind of patch, so that is not dangerous.
//
// Of the context's thread.
#pragma once

#include "broker/clock.h"
#include "kube/api.h"
#include "kube/backoff.h"

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <functional>
#include <string>

namespace mintfs::kube {

class Election {
 public:
  using Monotonic = std::chrono::steady_clock::time_point;

  struct Settings {
    std::string space;
    std::string name;      // of the Lease
    std::string identity;  // of this replica: its pod's name
    std::chrono::seconds duration{15};
    std::chrono::seconds deadline{10};
    std::chrono::seconds retry{2};
  };
  struct Ways {
    Pause& pause;
    Chance chance;
    const broker::Clock& clock;
    std::function<Monotonic()> now = [] { return std::chrono::steady_clock::now(); };
    std::function<void(const Failure&)> report = [](const Failure&) {};
  };

  Election(Api& api, Settings settings, Ways ways);

  // Never returns; ends with its context.
  boost::asio::awaitable<void> run();
  // Ask right before each write.
  bool leads() const;
  // One attempt to become or stay the leader.
  boost::asio::awaitable<Outcome<void>> attempt();

 private:
  boost::asio::awaitable<Outcome<void>> create();
  boost::asio::awaitable<Outcome<void>> take(const boost::json::object& lease);
  boost::json::object record(const boost::json::object* former) const;

  Api& api_;
  Settings settings_;
  Ways ways_;
  std::string seen_version_;  // of the record, and when it was first seen
  Monotonic seen_{};
  bool leader_ = false;
  Monotonic renewed_{};
};

}  // namespace mintfs::kube
