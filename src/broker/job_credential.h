// A credential as git's credential protocol knows it (git-credential(1)), and the descriptions by which
// one is asked for. Pure.
#pragma once

#include "broker/secret.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::broker {

// An absent member matches anything, an empty one only what is empty.
struct CredentialPattern {
  std::optional<std::string> protocol{};
  std::optional<std::string> host{};  // with its port, as the URL has it
  std::optional<std::string> path{};
  std::optional<std::string> username{};
  bool operator==(const CredentialPattern&) const = default;
};

// What a password or the like is, if there is one. An empty one is one, too.
using MaybeSecret = std::optional<Secret>;

struct JobCredential {
  CredentialPattern where{};              // protocol and host are there
  std::string authtype{};                 // of `credential`: "Basic", "Bearer"
  std::optional<std::int64_t> expires{};  // seconds since the epoch
  MaybeSecret password{};
  MaybeSecret credential{};  // the value behind the authtype in an Authorization header
  MaybeSecret refresh_token{};

  // A user with a password, or a whole header value: what git can work with.
  bool is_complete() const;
};

// What a member may hold: no control character that a line of git's protocol would end at, and no more
// bytes than this.
inline constexpr std::size_t kMaxCredentialText = 4096;         // path, username
inline constexpr std::size_t kMaxCredentialSecret = 16 * 1024;  // each
bool is_credential_text(std::string_view text, std::size_t most);
// "https", "smtp": a URL's scheme.
bool is_protocol(std::string_view text);
// A host with or without a port, printable and without what would end it in a URL, or hide what it is ('%').
bool is_host(std::string_view text);

// Whether two protocols of one host are served by one credential.
bool is_same_protocol(std::string_view one, std::string_view other, bool exact);

// As git matches: what `want` names must be the same in `have`.
bool matches(const CredentialPattern& want, const CredentialPattern& have, bool exact_protocol);

}  // namespace mintfs::broker
