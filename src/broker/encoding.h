// Text encodings of RFC 4648, strict on the way in.
//
// Decoding accepts exactly one spelling per value: no white space, no missing or superfluous
// padding, no non-zero bits behind the last byte. Otherwise two texts would be one token.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::broker {

// Sizes of the encoded text for `size` input bytes.
constexpr std::size_t base64_size(std::size_t size) { return (size + 2) / 3 * 4; }
constexpr std::size_t base64url_size(std::size_t size) { return (size * 4 + 2) / 3; }

// Section 4, with padding. The pointer form writes base64_size(in.size()) characters to `out`.
char* base64_encode(std::string_view in, char* out) noexcept;
std::string base64_encode(std::string_view in);
std::optional<std::string> base64_decode(std::string_view in);

// Section 5, without padding (RFC 7515 section 2).
char* base64url_encode(std::string_view in, char* out) noexcept;
std::string base64url_encode(std::string_view in);
// Writes at most in.size() * 3 / 4 bytes to `out`; returns the count, nothing when malformed.
std::optional<std::size_t> base64url_decode(std::string_view in, char* out) noexcept;

// Section 6 in lower case, without padding: 26 characters for 16 bytes.
std::string base32_encode(std::string_view in);

// Lower case only. Neither leaves a copy of a key behind in freed memory: wipe the result.
std::string hex_encode(std::string_view in);
std::optional<std::string> hex_decode(std::string_view in);

}  // namespace mintfs::broker
