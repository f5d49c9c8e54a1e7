// Writes what is known of each Connector into its status, and an event where it cannot be used.
//
// Only the elected replica writes; who becomes it looks at all of them anew. An object is read before it is
// written, and written only where something is news, so that a status that is right costs one GET. At most 32 are
// written in a second. Of the context's thread.
#pragma once

#include "broker/clock.h"
#include "kube/backoff.h"
#include "kube/catalog.h"
#include "kube/events.h"

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace mintfs::kube {

class StatusWriter {
 public:
  static constexpr std::size_t kAtOnce = 32;
  static constexpr std::chrono::seconds kTurn{1};

  struct Ways {
    Pause& pause;
    const broker::Clock& clock;
    std::function<bool()> leads;
    // LivenessReady and AuthReady; nothing while they are not known yet: then the object is left as it is, and
    // look_at() is called when they are.
    std::function<std::optional<std::vector<Condition>>(const ObjectName&)> probed = [](const ObjectName&) {
      return std::vector<Condition>();
    };
    std::function<void(const Failure&)> report = [](const Failure&) {};
  };

  // `proxy_url`: where the proxy is for the cluster's pods.
  StatusWriter(Api& api, Catalog& catalog, Events& events, std::string proxy_url, Ways ways);

  // Never returns; ends with its context.
  boost::asio::awaitable<void> run();
  // One second's work.
  boost::asio::awaitable<void> turn();
  // Something about this one may be news.
  void look_at(const ObjectName& name) { due_.insert(name); }

 private:
  boost::asio::awaitable<Outcome<void>> write(ObjectName name);
  ConnectorStatus status_of(const ObjectName& name, std::vector<Condition> probed) const;

  Api& api_;
  Catalog& catalog_;
  Events& events_;
  std::string proxy_url_;
  Ways ways_;
  std::set<ObjectName> due_;
  bool led_ = false;
};

}  // namespace mintfs::kube
