// What makes a mintfsd the node of a cluster (--role node): whom it asks for leases, and what it must not have.
//
// It has the view, the minting and the control socket of one machine. It holds no credential and no master key, and
// proxies nothing: see docs/kubernetes-design.md.
#pragma once

#include "broker/clock.h"
#include "broker/config.h"
#include "kube/backoff.h"
#include "kube/desk_client.h"
#include "kube/lease_grants.h"

#include <spdlog/fwd.h>
#include <boost/asio/io_context.hpp>

namespace mintfs {

class ClusterNode {
 public:
  // Throws std::runtime_error with one sentence where this is not a node's.
  static void check(const broker::Config& config);

  // Throws std::exception with one sentence where the configuration is not a node's. All outlives it.
  ClusterNode(boost::asio::io_context& context, const broker::Config& config, const broker::Clock& clock,
              spdlog::logger& log);

  kube::LeaseGrants& grants() { return grants_; }

 private:
  kube::TimerPause pause_;
  kube::DeskClient desk_;
  kube::LeaseGrants grants_;
};

}  // namespace mintfs
