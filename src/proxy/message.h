// What the head of a request and of a response share: the raw header section and its fields.
//
// Every view points into the caller's buffer, which holds the one header section the head was
// parsed from; nothing is copied. A section is scanned strictly before any parser sees it, because
// two parsers that read one section differently are how requests are smuggled (RFC 9112 section 11).
#pragma once

#include "broker/error.h"

#include <boost/beast/http/field.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

using FieldId = boost::beast::http::field;

struct Field {
  std::string_view name;   // as received
  std::string_view value;  // without surrounding white space
  FieldId id = FieldId::unknown;
};

// How the body of a message ends (RFC 9112 section 6.3).
struct BodyFraming {
  enum class Kind : std::uint8_t { none, length, chunked, until_close };
  Kind kind = Kind::none;
  std::uint64_t length = 0;  // of Kind::length only
  bool operator==(const BodyFraming&) const = default;
};

inline constexpr std::size_t kMaxHeaderSection = 64 * 1024;
inline constexpr std::size_t kMaxField = 16 * 1024;  // one line, without its CRLF
inline constexpr std::size_t kMaxFields = 128;

// The size of the header section at the front of `bytes`, its empty line included; npos when it is
// not complete. `from` is where the search goes on with more bytes: 0 at first, kept by the caller.
std::size_t find_header_end(std::string_view bytes, std::size_t& from) noexcept;

// Refuses a bare CR or LF, control characters, folded lines, an empty first line; in names always and
// in values where `obs_text` is false also bytes over 0x7e. request_malformed; header_too_large for a
// section, a line or a number of lines over the bounds above.
boost::system::error_code scan_section(std::string_view section, bool obs_text) noexcept;

bool iequals(std::string_view a, std::string_view b) noexcept;  // ASCII letters without case

// The number of fields called `id`; `value`, when given, gets that of the first.
std::size_t count_fields(const std::vector<Field>& fields, FieldId id, std::string_view* value = nullptr) noexcept;

// Whether a comma-separated list (RFC 9110 section 5.6.1) names `token`, without case.
bool list_names(std::string_view list, std::string_view token) noexcept;

// Whether a Connection field of the message names `name`: such a field is for one hop only.
bool connection_names(const std::vector<Field>& fields, std::string_view name) noexcept;

// What Content-Length and Transfer-Encoding say of a message. Fails where they are doubled, in
// doubt or contradict each other: a list of lengths, a sign, an overflow, both fields, any coding but
// exactly one "chunked", chunked in HTTP/1.0.
struct DeclaredLength {
  std::optional<std::uint64_t> length;
  bool chunked = false;
};
std::optional<DeclaredLength> declared_length(const std::vector<Field>& fields, int version_minor) noexcept;

}  // namespace mintfs::proxy
