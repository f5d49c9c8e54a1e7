#include "broker/job_credential.h"

#include <algorithm>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxProtocol = 32;
constexpr std::size_t kMaxHost = 261;  // a name of 255 and ":65535"

bool is_web(std::string_view protocol) { return protocol == "http" || protocol == "https"; }

bool agrees(const std::optional<std::string>& want, const std::optional<std::string>& have) {
  return !want || (have && *have == *want);
}

}  // namespace

bool JobCredential::is_complete() const {
  return (where.username && password) || (!authtype.empty() && credential.has_value());
}

bool is_credential_text(std::string_view text, std::size_t most) {
  return text.size() <= most && text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

bool is_protocol(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  };
  return !text.empty() && text.size() <= kMaxProtocol && std::all_of(text.begin(), text.end(), fits);
}

bool is_host(std::string_view text) {
  const auto fits = [](char c) {
    return c > 0x20 && c < 0x7f && std::string_view("/\\?#@%").find(c) == std::string::npos;
  };
  return !text.empty() && text.size() <= kMaxHost && std::all_of(text.begin(), text.end(), fits);
}

bool is_same_protocol(std::string_view one, std::string_view other, bool exact) {
  return one == other || (!exact && is_web(one) && is_web(other));
}

bool matches(const CredentialPattern& want, const CredentialPattern& have, bool exact_protocol) {
  const bool protocol =
      !want.protocol || (have.protocol && is_same_protocol(*want.protocol, *have.protocol, exact_protocol));
  return protocol && agrees(want.host, have.host) && agrees(want.path, have.path) &&
         agrees(want.username, have.username);
}

}  // namespace mintfs::broker
