// What git says to a credential helper on its standard input (git-credential(1)): one "key=value" per line,
// up to an empty line or the end. Pure, bounded, strict.
//
// Parts of it come from URLs that others wrote (a submodule, a redirect), so nothing may be read as more than
// one line, or as less: a CR within a line, a NUL, a line without "=" or one that is too long spoils it all.
// Where *every* line ends in CRLF the CR belongs to the line's end: no URL can bring that about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::credential {

inline constexpr std::size_t kMaxLine = 65'535;  // without its end
inline constexpr std::size_t kMaxInput = 256 * 1024;

// Absent where git did not say it; of several lines with one key the last counts. All point into the input.
struct Description {
  std::optional<std::string_view> protocol{};
  std::optional<std::string_view> host{};
  std::optional<std::string_view> path{};
  std::optional<std::string_view> username{};
  std::optional<std::string_view> password{};
  std::optional<std::string_view> oauth_refresh_token{};
  std::optional<std::int64_t> password_expiry_utc{};  // absent as well where it is no number
  std::optional<std::string_view> authtype{};
  std::optional<std::string_view> credential{};
  bool ephemeral = false;     // not to be stored
  bool can_authtype = false;  // this git knows authtype, credential and ephemeral

  // Whether it names what is there: an empty protocol or host (of "cert:///...") is nothing that we keep.
  bool is_answerable() const;
};

// Nothing when it is malformed; `problem` then says why, without a word of the input. Unknown keys are passed
// over, as git wants it.
std::optional<Description> parse_description(std::string_view input, std::string& problem);

}  // namespace mintfs::credential
