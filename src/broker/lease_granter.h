// Who grants leases in place of this daemon: the gateways of its cluster, which hold the keys and the credentials.
//
// The control API of a node asks here, and records what it is given (Broker::record_grant). Of the thread of
// its context.
#pragma once

#include "broker/error.h"
#include "broker/lease_request.h"
#include "broker/secret.h"

#include <boost/asio/awaitable.hpp>
#include <boost/system/result.hpp>

#include <chrono>
#include <string>

namespace mintfs::broker {

struct GrantRefusal {
  Errc error = Errc::internal;
  std::string detail{};  // one sentence: which, and what to do
};

template <class T>
using Granted = boost::system::result<T, GrantRefusal>;

class LeaseGranter {
 public:
  virtual ~LeaseGranter() = default;
  // `request` was checked (Broker::check_request) and outlives the call.
  virtual boost::asio::awaitable<Granted<LeaseGrant>> open(const LeaseRequest& request) = 0;
  // When the lease ends now. `token` is a fresh one of the same pod.
  virtual boost::asio::awaitable<Granted<Time>> renew(std::string id, Secret token, std::chrono::seconds ttl) = 0;
  // One that could not be recorded here.
  virtual void give_back(const std::string& id, Time expires) = 0;
};

}  // namespace mintfs::broker
