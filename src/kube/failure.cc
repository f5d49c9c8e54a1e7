#include "kube/failure.h"

#include <algorithm>

namespace mintfs::kube {

std::string_view to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::unreachable:
      return "unreachable";
    case Reason::untrusted:
      return "untrusted";
    case Reason::timed_out:
      return "timed-out";
    case Reason::token_missing:
      return "token-missing";
    case Reason::unauthorized:
      return "unauthorized";
    case Reason::forbidden:
      return "forbidden";
    case Reason::not_found:
      return "not-found";
    case Reason::already_exists:
      return "already-exists";
    case Reason::conflict:
      return "conflict";
    case Reason::gone:
      return "gone";
    case Reason::invalid:
      return "invalid";
    case Reason::too_many:
      return "too-many";
    case Reason::server_failed:
      return "server-failed";
    case Reason::malformed:
      return "malformed";
    case Reason::too_large:
      return "too-large";
    case Reason::ended:
      return "ended";
    case Reason::silent:
      return "silent";
  }
  return "malformed";
}

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 512;
  std::string shown(text.substr(0, kLongest));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

}  // namespace mintfs::kube
