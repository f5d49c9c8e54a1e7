// The leases of a node's pods, as the gateways grant them: what the control API asks becomes calls at their desk.
//
// A lease that closes here is closed there too, in the background and again and again while the gateways are away:
// until they have heard of it or it has ended by itself. What this process takes along when it ends in the meantime
// ends with the pod, which owns the lease. Of the context's thread.
#pragma once

#include "broker/broker.h"
#include "broker/lease_granter.h"
#include "kube/backoff.h"
#include "kube/desk_client.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <string>

namespace mintfs::kube {

class LeaseGrants final : public broker::LeaseGranter, public broker::LeaseObserver {
 public:
  static constexpr std::size_t kMostClosings = 16 * 1024;  // at once; beyond, the oldest is left to its pod's end

  struct Ways {
    Pause& pause;
    Chance chance;
    const broker::Clock& clock;
    std::function<void(const std::string&)> report;  // one sentence
  };

  LeaseGrants(boost::asio::io_context& context, Desk& desk, Ways ways);

  boost::asio::awaitable<broker::Granted<broker::LeaseGrant>> open(const broker::LeaseRequest& request) override;
  boost::asio::awaitable<broker::Granted<broker::Time>> renew(std::string id, broker::Secret token,
                                                              std::chrono::seconds ttl) override;
  void give_back(const std::string& id, broker::Time expires) override;

  void lease_opened(const broker::LeasePtr&) override {}
  void lease_closed(const broker::LeasePtr& lease) override;

  std::size_t closings() const { return closings_.size(); }

 private:
  struct Closing {
    std::string id;
    broker::Time expires;
  };
  boost::asio::awaitable<void> close_all();
  boost::asio::awaitable<bool> close(std::string id);

  boost::asio::io_context& context_;
  Desk& desk_;
  Ways ways_;
  Backoff backoff_;
  std::deque<Closing> closings_;
  bool closing_ = false;
};

}  // namespace mintfs::kube
