// Where a node opens the lease of a pod: the rules of docs/kubernetes-design.md, without the wire.
//
// Nobody is believed: the node and the pod each prove themselves by a token that the API server reviews, and
// the pod's service account must be allowed to `get` each connector. The lease is an object of the cluster
// before its key leaves this process. Of the context's thread.
#pragma once

#include "broker/broker.h"
#include "broker/lease_granter.h"
#include "kube/api.h"
#include "kube/objects.h"
#include "kube/reviews.h"
#include "kube/strangers.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace mintfs::kube {

class Members;

// Who calls: with the token of a node's daemon, or so it says.
struct DeskCaller {
  broker::Secret bearer;
  std::string address{};  // where the call comes from, of whatever form
};

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
    // A pod may use the connectors of its own namespace without a role, as it may mount the Secrets there.
    bool open_own_namespace = false;
    Strangers::Settings strangers{};
  };
  // What the rest of the gateway knows.
  struct Knowledge {
    std::function<bool()> leases_confirmed = [] { return true; };
    std::function<bool()> connectors_listed = [] { return true; };  // until then none is missed
    // Why a connector is not served, and where more is told.
    std::function<std::string(const broker::ConnectorName&)> why_not_served{};
    // Whether a lease was made is not known: its object is to be taken away. UnmadeLeases.
    std::function<void(const std::string& id, const std::string& target)> unmade{};
    // Its object was deleted, of which the watch has not told yet. LeaseWatch.
    std::function<void(const std::string& id)> closed{};
  };
  static constexpr std::size_t kMaxBody = 64 * 1024;
  static constexpr std::size_t kLeasesPerPod = 16;

  LeaseDesk(Api& api, broker::Broker& broker, const broker::MasterKeys& keys, Settings settings, Knowledge knowledge);

  boost::asio::awaitable<DeskAnswer> open(DeskCaller caller, broker::Secret body);
  // Of a pod on the caller's node; 404 for all others, as if there were none.
  boost::asio::awaitable<DeskAnswer> close(DeskCaller caller, std::string id);
  // Moves the end of a lease of the pod whose fresh token is in the body, on the caller's node; 404 for all others.
  boost::asio::awaitable<DeskAnswer> renew(DeskCaller caller, std::string id, broker::Secret body);

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
  boost::asio::awaitable<std::optional<DeskAnswer>> admit(DeskCaller caller, PodIdentity& node);
  boost::asio::awaitable<std::optional<DeskAnswer>> allow(const PodIdentity& pod,
                                                          const std::vector<broker::ConnectorName>& connectors);
  Outcome<Request> read(std::string_view body) const;
  // Only token and time; a renewal changes nothing else.
  Outcome<Request> read_renewal(std::string_view body) const;
  void read_proof(const Members& all, Request& request) const;
  // An open lease of the node's; a refusal where there is none, or where that cannot be told.
  broker::Granted<broker::LeasePtr> find(const std::string& id, const PodIdentity& node) const;
  std::size_t leases_of(const PodIdentity& pod) const;
  ConnectorLease describe(const PodIdentity& pod, const Request& request) const;
  DeskAnswer grant(const ConnectorLease& lease, const broker::LeaseKey& key) const;

  Api& api_;
  broker::Broker& broker_;
  const broker::MasterKeys& keys_;
  Settings settings_;
  Knowledge knowledge_;
  Strangers strangers_;
};

// What a lease of the cluster is to the broker; without its key.
broker::Lease to_lease(const ConnectorLease& lease);

}  // namespace mintfs::kube
