// The way out of a network that lets nobody connect directly: an HTTP proxy that is asked to CONNECT (RFC 9110
// section 9.3.6).
//
// Which proxy serves which host is told by the variables that curl and git know (https_proxy, http_proxy,
// all_proxy, no_proxy), unless the configuration says otherwise. Immutable once made.
#pragma once

#include "broker/config.h"
#include "broker/secret.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

struct EgressProxy {
  std::string host;
  std::uint16_t port = 0;
  broker::Secret authorization{};  // "Proxy-Authorization: Basic ...\r\n", or empty
};

class Egress {
 public:
  using Environment = std::function<const char*(const char* name)>;

  // `setting` is proxy.egress: "environment", "none" or an http URL. Throws std::runtime_error with one sentence
  // for a proxy that cannot be spoken to: to go past it would be worse.
  explicit Egress(const std::string& setting, const Environment& environment);

  // Null where the address is reached directly, as loopback always is. Lives as long as this object.
  const EgressProxy* find(const broker::Address& address) const;

 private:
  bool is_excepted(const broker::Address& address) const;

  std::unique_ptr<EgressProxy> http_, https_;
  std::vector<std::string> exceptions_;  // of no_proxy
};

// What asks the proxy for a connection to `address`, without the last line end; the authorization goes between.
std::string connect_request(const broker::Address& address);
// Whether the whole head of an answer to it says yes; nothing when more of it must come. Bytes behind it are a no.
std::optional<bool> read_connect_answer(std::string_view head);

}  // namespace mintfs::proxy
