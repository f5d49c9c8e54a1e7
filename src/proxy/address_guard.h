// Addresses that an upstream's name must not lead to: link-local and cloud metadata services, where
// a request alone hands out credentials of the machine. Loopback and private ranges are allowed,
// since that is where git servers live.
//
// Ask it for the very address that is then connected to; a name asked twice may answer twice.
#pragma once

#include "broker/error.h"

#include <boost/asio/ip/address.hpp>

#include <span>
#include <string>

namespace mintfs::proxy {

// Also true for the IPv6 forms that carry such an IPv4 address: mapped, compatible, translated,
// NAT64 and 6to4.
bool is_denied(const boost::asio::ip::address& address) noexcept;

// address_denied unless the address is fine or is listed; `allowed` are literal addresses.
boost::system::error_code check(const boost::asio::ip::address& address, std::span<const std::string> allowed);

}  // namespace mintfs::proxy
