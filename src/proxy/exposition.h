// All that the daemon counts, as metrics of Prometheus. docs/operations.md explains each.
//
// Families are made when somebody asks, from counts that the work itself keeps without a lock. Labels
// are connectors (a bounded number, see Traffic), kinds of work and reason words; never a repository, a
// lease or a user.
#pragma once

#include "broker/broker.h"
#include "broker/metrics.h"
#include "proxy/server.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace mintfs::proxy {

// What is watched; all outlive who watches. The functions are called on the thread that asks.
struct Watched {
  broker::Broker& broker;
  Server& server;
  const broker::OpenCounts* opens;  // null, as the next: there is no view
  std::function<bool()> view_mounted;
  std::function<bool()> cluster_known{};  // of a gateway
  std::function<bool()> stopping;
};

class Exposition final : public prometheus::Collectable {
 public:
  explicit Exposition(Watched watched);

  std::vector<prometheus::MetricFamily> Collect() const override;
  // In the text format 0.0.4.
  std::string text() const;

 private:
  Watched watched_;
  std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
};

}  // namespace mintfs::proxy
