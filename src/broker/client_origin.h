// Where a request with a token may come from: leases can be bound to the addresses of a container, so that a token
// that is taken elsewhere opens nothing there.
//
// The address is that of the connection as the proxy sees it. Behind a translation of addresses everybody has the
// translator's: bind to what the proxy sees, or bind to nothing.
#pragma once

#include <boost/asio/ip/address.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

struct ClientOrigin {
  enum class Kind { unknown, unix_socket, address };
  Kind kind = Kind::unknown;
  boost::asio::ip::address address{};

  // The other end of a connected socket.
  static ClientOrigin of(int socket);
};

// "unix", "10.88.0.5", "10.88.0.0/16", "fd00:1::/64". An IPv4 address also stands for its IPv4-mapped form.
class OriginPattern {
 public:
  // Nothing when malformed, also where bits are set behind the prefix: it would be a host and a network at once.
  static std::optional<OriginPattern> parse(std::string_view text);
  bool admits(const ClientOrigin& origin) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool unix_socket_ = false;
  std::array<unsigned char, 16> prefix_{};  // IPv4 as IPv4-mapped
  unsigned bits_ = 128;
};

using OriginPatterns = std::vector<OriginPattern>;

// False for an origin that is not known.
bool admits(const OriginPatterns& patterns, const ClientOrigin& origin);

}  // namespace mintfs::broker
