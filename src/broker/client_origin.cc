#include "broker/client_origin.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace mintfs::broker {
namespace {

namespace ip = boost::asio::ip;

constexpr unsigned kMappedBits = 96;  // before an IPv4 address in IPv6 (RFC 4291 section 2.5.5.2)

std::array<unsigned char, 16> bytes_of(const ip::address& address) {
  if (address.is_v6()) return address.to_v6().to_bytes();
  return ip::make_address_v6(ip::v4_mapped, address.to_v4()).to_bytes();
}

bool bit(const std::array<unsigned char, 16>& bytes, unsigned at) { return (bytes[at / 8] >> (7 - at % 8) & 1) != 0; }

}  // namespace

ClientOrigin ClientOrigin::of(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_UNIX) return {.kind = Kind::unix_socket};
  if (storage.ss_family == AF_INET) {
    sockaddr_in inet{};
    std::memcpy(&inet, &storage, sizeof inet);
    return {.kind = Kind::address, .address = ip::address_v4(ntohl(inet.sin_addr.s_addr))};
  }
  if (storage.ss_family != AF_INET6) return {};
  sockaddr_in6 inet{};
  std::memcpy(&inet, &storage, sizeof inet);
  ip::address_v6::bytes_type bytes;
  std::copy(std::begin(inet.sin6_addr.s6_addr), std::end(inet.sin6_addr.s6_addr), bytes.begin());
  return {.kind = Kind::address, .address = ip::address_v6(bytes)};
}

std::optional<OriginPattern> OriginPattern::parse(std::string_view text) {
  OriginPattern pattern;
  pattern.text_ = text;
  pattern.unix_socket_ = text == "unix";
  if (pattern.unix_socket_) return pattern;
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  boost::system::error_code error;
  const auto address = ip::make_address(host, error);
  if (error || host.find('%') != std::string::npos) return std::nullopt;
  const unsigned most = address.is_v4() ? 32 : 128;
  unsigned bits = most;
  if (slash != std::string_view::npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, wrong] = std::from_chars(text.data() + slash + 1, end, bits);
    if (wrong != std::errc() || stop != end || bits > most) return std::nullopt;
  }
  pattern.prefix_ = bytes_of(address);
  pattern.bits_ = address.is_v4() ? kMappedBits + bits : bits;
  for (unsigned at = pattern.bits_; at < 128; ++at)
    if (bit(pattern.prefix_, at)) return std::nullopt;
  return pattern;
}

bool OriginPattern::admits(const ClientOrigin& origin) const {
  if (unix_socket_) return origin.kind == ClientOrigin::Kind::unix_socket;
  if (origin.kind != ClientOrigin::Kind::address) return false;
  const auto bytes = bytes_of(origin.address);
  for (unsigned at = 0; at < bits_; ++at)
    if (bit(bytes, at) != bit(prefix_, at)) return false;
  return true;
}

bool admits(const OriginPatterns& patterns, const ClientOrigin& origin) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& each) { return each.admits(origin); });
}

}  // namespace mintfs::broker
