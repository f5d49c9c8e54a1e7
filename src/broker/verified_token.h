// The token of a client's last request, whose signature was found good. A client shows the same one in
// every request of a connection, and for the same bytes and the same key the answer is the same: it is
// not worked out again. Nothing else is remembered: whether the lease lives, the token's time and its
// rights are asked each time. Of one thread.
#pragma once

#include "broker/keys.h"
#include "broker/secret.h"
#include "broker/token.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::broker {

class VerifiedToken {
 public:
  VerifiedToken() = default;  // of no request yet
  VerifiedToken(const VerifiedToken&) = delete;
  VerifiedToken& operator=(const VerifiedToken&) = delete;

  // `parsed` is what parse_token() made of `token`, and is signed with `key`. Throws std::bad_alloc.
  void set(std::string_view token, const ParsedToken& parsed, const LeaseKey& key);

  // Both in constant time, for tokens of equal lengths.
  bool is(std::string_view token) const noexcept { return !token_.empty() && token_.equals(token); }
  bool was_signed_with(std::uint32_t kid, const LeaseKey& key) const noexcept;

  const Claims& claims() const noexcept { return claims_; }

 private:
  Secret token_;
  LeaseKey key_;
  std::uint32_t kid_ = 0;
  std::string payload_;  // what claims_ point into
  Claims claims_;
};

}  // namespace mintfs::broker
