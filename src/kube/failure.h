// What can go wrong between us and the Kubernetes API server, with the sentence that an administrator reads.
//
// It is not broker::Errc: no client of ours ever sees these. Where one of them ends a client's request, the
// edge says which Errc that is.
#pragma once

#include <boost/system/result.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::kube {

enum class Reason : std::uint8_t {
  unreachable,     // no connection, or it broke
  untrusted,       // the certificate is not the cluster's
  timed_out,       // connected, and then no answer in time
  token_missing,   // our own service account's token cannot be read
  unauthorized,    // 401: the token is expired or unknown
  forbidden,       // 403: the role lacks a rule
  not_found,       // 404
  already_exists,  // 409, on creation
  conflict,        // 409, on change: somebody else changed it first
  gone,            // 410: the resource version is too old to go on from
  invalid,         // 400, 422 and other 4xx: the server does not take what we sent
  too_many,        // 429, or 503 with Retry-After: later
  server_failed,   // 5xx
  malformed,       // not what the API's conventions promise
  too_large,       // over our bound
  ended,           // a watch ended in good order
  silent,          // a watch brought nothing for so long that it may be dead
};

std::string_view to_string(Reason reason) noexcept;

struct Failure {
  Reason reason = Reason::malformed;
  std::string message{};  // one sentence or clause; what the server said is cut to 512 printable characters
  std::optional<std::chrono::seconds> retry_after{};

  std::string text() const { return std::string(to_string(reason)) + ": " + message; }
  bool operator==(const Failure&) const = default;
};

template <class T>
using Outcome = boost::system::result<T, Failure>;

// Printable ASCII, at most 512 characters; all else becomes '?'.
std::string printable(std::string_view text);

}  // namespace mintfs::kube
