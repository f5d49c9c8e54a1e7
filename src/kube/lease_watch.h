// Brings the ConnectorLeases of the cluster into the broker: what is gone there ends here at once.
//
// Also says whether that picture may be trusted, see Reflector::is_fresh. Of the context's thread.
#pragma once

#include "broker/broker.h"
#include "kube/objects.h"
#include "kube/reflector.h"

#include <cstddef>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace mintfs::kube {

class LeaseWatch final : public ObjectSink {
 public:
  // `report` gets one sentence for each object that cannot be used; such a lease opens nothing.
  LeaseWatch(broker::Broker& broker, std::function<void(const std::string&)> report)
      : broker_(broker), report_(std::move(report)) {}

  static constexpr std::size_t kMostClosed = 16 * 1024;  // beyond, they count as heard of

  // Takes the leases whose key was not known when they came. Call it when the master keys have changed.
  void keys_changed();
  // Its object was deleted by us: what the watch tells of it until it tells that too is older, and opens nothing.
  void closed(const std::string& id);

  void begin() override;
  void upsert(const boost::json::object& object) override;
  void complete() override;
  void remove(const boost::json::object& object) override;

 private:
  broker::Broker& broker_;
  std::function<void(const std::string&)> report_;
  std::unordered_map<std::string, ConnectorLease> waiting_;  // for their key
  std::unordered_set<std::string> closed_;                   // until that is heard
  std::unordered_set<std::string> missing_;  // those that were here at begin() and were not listed since
};

}  // namespace mintfs::kube
