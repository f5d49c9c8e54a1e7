// The token: a JWT (RFC 7519, RFC 7515 compact form) in exactly one spelling.
//
// Header and claims are written in a fixed order without white space, and only that spelling is
// read: no JSON ambiguity (duplicate keys, escapes, numbers in another form) reaches a decision.
// For one lease and one connector every token has the same length.
#pragma once

#include "broker/clock.h"
#include "broker/error.h"
#include "broker/keys.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::broker {

inline constexpr std::size_t kMaxTokenSize = 2048;
inline constexpr std::size_t kTokenIdSize = 16;  // base64url of 96 random bits
inline constexpr std::chrono::seconds kClockSkew{60};

// Views into the caller's strings. No value holds a character that JSON would escape: names,
// subjects and URLs were checked where they came in.
struct Claims {
  std::string_view audience;   // aud: the proxy URL
  std::string_view subject;    // sub: "uid:1000", "pod:ns/name"
  std::string_view lease;      // 26 characters
  std::string_view connector;  // con: "ns/name"
  std::int64_t issued = 0;     // iat, seconds since the epoch
  std::int64_t expires = 0;    // exp
  std::string_view id;         // jti
};

std::size_t token_size(const Claims& claims, std::uint32_t kid);

// Writes token_size() characters to `out` and returns their end.
char* mint_token(const Claims& claims, std::uint32_t kid, const LeaseKey& key, Signer& signer, char* out);

// A token taken apart, with nothing checked but its form. `claims` point into `payload`.
struct ParsedToken {
  std::string_view signing_input;  // into the given token
  std::uint32_t kid = 0;
  Digest signature{};
  Claims claims;
  std::array<char, kMaxTokenSize> payload;
};

// token_malformed, token_algorithm. Fills `out`; no allocation.
boost::system::error_code parse_token(std::string_view token, ParsedToken& out);

// In constant time. The caller has found the key by the token's lease.
bool is_signed_with(const ParsedToken& token, const LeaseKey& key, Signer& signer);

// token_expired, without grace; token_not_yet_valid, with kClockSkew.
boost::system::error_code check_times(const Claims& claims, Time now);

}  // namespace mintfs::broker
