// What can go wrong on the request path, as one enumeration.
//
// Every refusal has one reason word: it stands in the audit log, in proxy answers and in problem
// documents of the control API, so that one search finds all traces of one event. Each edge (FUSE,
// HTTP, command line) maps the whole enumeration in a switch without `default:`; a new error does
// not compile until each edge has answered it. Nothing here carries client data or a secret.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>

namespace mintfs::broker {

enum class Errc {
  // Tokens.
  token_missing = 1,
  token_malformed,
  token_algorithm,
  token_key_unknown,
  token_signature,
  token_expired,
  token_not_yet_valid,
  token_audience,
  token_connector,
  token_origin,
  // Leases and rights.
  lease_closed,  // closed, expired or never opened: indistinguishable on purpose
  lease_malformed,
  lease_denied,   // the caller may not open, see or use this lease
  caller_denied,  // not for this user at all
  connector_unknown,
  connector_denied,
  operation_denied,
  repository_denied,
  reference_denied,
  too_many,
  // Requests.
  request_malformed,
  header_too_large,
  body_too_large,
  request_timeout,
  // Upstream.
  address_denied,
  egress_refused,
  upstream_unreachable,
  upstream_untrusted,
  upstream_timeout,
  upstream_refused,
  upstream_redirect,
  upstream_malformed,
  // This machine.
  leases_unconfirmed,
  gateway_unreachable,
  storage_failed,
  upgrade_failed,
  internal,  // the last: see kErrcs
};

// One more than the largest value.
inline constexpr std::size_t kErrcs = static_cast<std::size_t>(Errc::internal) + 1;

// The stable reason word, e.g. "token-expired".
std::string_view reason_word(Errc code) noexcept;

// The Errc of a reason word; nothing for one of a newer program.
std::optional<Errc> parse_reason(std::string_view word) noexcept;

// One sentence without names: what happened and what to do about it.
std::string_view advice(Errc code) noexcept;

const boost::system::error_category& error_category() noexcept;

inline boost::system::error_code make_error_code(Errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

// The Errc behind an error_code of our category; `internal` for any other category.
Errc to_errc(const boost::system::error_code& error) noexcept;

template <class T>
using Result = boost::system::result<T>;

}  // namespace mintfs::broker

template <>
struct boost::system::is_error_code_enum<mintfs::broker::Errc> : std::true_type {};
