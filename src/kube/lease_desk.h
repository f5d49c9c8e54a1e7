// Where a node opens the lease of a pod: the rules of docs/kubernetes-design.md, without the wire.
//
// Nobody is believed: the node and the pod each prove themselves by a token that the API server reviews, and
// the pod's service account must be allowed to `get` each connector. The lease is an object of the cluster
// before its key leaves this process. Of the context's thread.
#pragma once

#include "broker/broker.h"
#include "kube/api.h"
#include "kube/objects.h"
#include "kube/reviews.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace mintfs::kube {

struct DeskAnswer {
  int status = 0;
  broker::Secret body{};  // JSON: the lease with its key, or a problem document
};

class LeaseDesk {
 public:
  struct Settings {
    std::string node_space;    // of the node daemon's service account
    std::string node_account;  // its name
    std::string node_audience = "mintfs-gateway";
    std::string pod_audience = "mintfs";
    std::chrono::seconds default_ttl{12 * 3600};
    std::chrono::seconds max_ttl{24 * 3600};
  };
  static constexpr std::size_t kMaxBody = 64 * 1024;
  static constexpr std::size_t kLeasesPerPod = 16;

  LeaseDesk(Api& api, broker::Broker& broker, const broker::MasterKeys& keys, Settings settings);

  // `bearer` is the node daemon's token.
  boost::asio::awaitable<DeskAnswer> open(broker::Secret bearer, broker::Secret body);
  // Of a pod on the bearer's node; 404 for all others, as if there were none.
  boost::asio::awaitable<DeskAnswer> close(broker::Secret bearer, std::string id);

  static DeskAnswer refuse(broker::Errc error, std::string_view detail = {});

 private:
  struct Request {
    broker::Secret token;
    std::vector<broker::ConnectorName> connectors;
    broker::Operations operations = broker::Operations::all();
    std::vector<std::string> repositories;
    std::chrono::seconds ttl{0};
  };
  // Nothing: it is the node's, and `node` is filled in.
  boost::asio::awaitable<std::optional<DeskAnswer>> admit(broker::Secret bearer, PodIdentity& node);
  boost::asio::awaitable<std::optional<DeskAnswer>> allow(const PodIdentity& pod, const Request& request);
  Outcome<Request> read(std::string_view body) const;
  std::size_t leases_of(const PodIdentity& pod) const;
  ConnectorLease describe(const PodIdentity& pod, const Request& request) const;
  DeskAnswer grant(const ConnectorLease& lease, const broker::LeaseKey& key) const;

  Api& api_;
  broker::Broker& broker_;
  const broker::MasterKeys& keys_;
  Settings settings_;
};

// What a lease of the cluster is to the broker; without its key.
broker::Lease to_lease(const ConnectorLease& lease);

}  // namespace mintfs::kube
