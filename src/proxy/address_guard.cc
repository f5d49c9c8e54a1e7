#include "proxy/address_guard.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace mintfs::proxy {
namespace {

namespace ip = boost::asio::ip;
using Bytes = ip::address_v6::bytes_type;

constexpr std::uint32_t v4(unsigned a, unsigned b, unsigned c, unsigned d) { return a << 24 | b << 16 | c << 8 | d; }

bool within(std::uint32_t address, std::uint32_t network, unsigned bits) {
  return (address ^ network) >> (32 - bits) == 0;
}

bool is_denied_v4(std::uint32_t address) {
  return within(address, v4(0, 0, 0, 0), 8) ||       // this host (RFC 1122)
         within(address, v4(169, 254, 0, 0), 16) ||  // link-local, metadata of most clouds
         within(address, v4(224, 0, 0, 0), 4) ||     // multicast
         address == v4(255, 255, 255, 255) ||        // broadcast
         address == v4(100, 100, 100, 200) ||        // Alibaba metadata
         address == v4(192, 0, 0, 192) ||            // Oracle metadata
         address == v4(168, 63, 129, 16);            // Azure's host channel
}

bool starts_with(const Bytes& bytes, std::initializer_list<unsigned> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

// The IPv4 address that an IPv6 address carries.
std::optional<std::uint32_t> embedded(const Bytes& bytes) {
  const auto at = [&](std::size_t i) { return v4(bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]); };
  if (starts_with(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) ||     // mapped ::ffff:0:0/96
      starts_with(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}) ||     // translated (RFC 2765)
      starts_with(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) ||           // compatible ::/96
      starts_with(bytes, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}) ||  // NAT64 (RFC 6052)
      starts_with(bytes, {0, 0x64, 0xff, 0x9b, 0, 1}))                      // local NAT64 (RFC 8215)
    return at(12);
  if (starts_with(bytes, {0x20, 0x02})) return at(2);  // 6to4 (RFC 3056)
  return std::nullopt;
}

bool is_denied_v6(const ip::address_v6& address) {
  if (address.is_loopback()) return false;
  const Bytes bytes = address.to_bytes();
  if (const auto inner = embedded(bytes); inner && is_denied_v4(*inner)) return true;
  const bool link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  return link_local || bytes[0] == 0xff ||                // multicast
         starts_with(bytes, {0xfd, 0x00, 0x0e, 0xc2}) ||  // Amazon's local services
         address == ip::make_address_v6("fd20:ce::254");  // Google metadata
}

// One spelling per host, so that "169.254.1.1" in the configuration also means ::ffff:169.254.1.1.
ip::address plain(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, address.to_v6());
  if (address.is_v6()) return ip::address_v6(address.to_v6().to_bytes());  // without its scope
  return address;
}

}  // namespace

bool is_denied(const ip::address& address) noexcept {
  return address.is_v4() ? is_denied_v4(address.to_v4().to_uint()) : is_denied_v6(address.to_v6());
}

boost::system::error_code check(const ip::address& address, std::span<const std::string> allowed) {
  if (!is_denied(address)) return {};
  for (const std::string& text : allowed) {
    boost::system::error_code error;
    const auto listed = ip::make_address(text, error);
    if (!error && plain(listed) == plain(address)) return {};
  }
  return broker::Errc::address_denied;
}

}  // namespace mintfs::proxy
