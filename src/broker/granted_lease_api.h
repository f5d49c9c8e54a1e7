// The routes of the control API that a node answers by asking the gateways: opening and renewing a lease.
//
// What can be refused here is refused before they are asked. A lease is recorded as soon as it is granted, and given
// back where that fails, so that none is left anywhere; if this process ends between the two, the lease ends with its
// pod, which owns it.
#pragma once

#include "broker/control_api.h"
#include "broker/lease_granter.h"

#include <boost/asio/awaitable.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace mintfs::broker {

class GrantedLeaseApi {
 public:
  GrantedLeaseApi(Broker& broker, LeaseGranter& granter, std::filesystem::path mount)
      : broker_(broker), granter_(granter), mount_(std::move(mount)) {}

  // Whether the request is for one of these routes.
  static bool takes(const ControlRequest& request);
  // Caller and request outlive the call.
  boost::asio::awaitable<ControlAnswer> answer(const Caller& caller, const ControlRequest& request);

 private:
  boost::asio::awaitable<ControlAnswer> open(const Caller& caller, std::string_view body);
  boost::asio::awaitable<ControlAnswer> renew(const Caller& caller, std::string id, std::string_view body);
  ControlAnswer reply(unsigned status, const Lease& lease) const;

  Broker& broker_;
  LeaseGranter& granter_;
  std::filesystem::path mount_;
};

}  // namespace mintfs::broker
