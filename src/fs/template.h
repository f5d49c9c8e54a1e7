// A file of a view without its tokens: the text, and the places where they go.
//
// All of a file but the tokens is the same at each open, so it is rendered once; an open copies the text
// around freshly minted tokens. The size never changes while a lease lives, because its tokens never
// change in size.
#pragma once

#include "broker/encoding.h"
#include "broker/error.h"
#include "broker/secret.h"
#include "broker/token.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::fs {

// The user name where one has to be; nobody reads it.
inline constexpr std::string_view kUserName = "mintfs";

struct Template {
  enum class Form : std::uint8_t {
    token,       // as it is: letters, digits, '.', '_' and '-', which need quotes in no format
    basic,       // base64 of ":" + token (RFC 7617 with an empty user name)
    named_basic  // base64 of kUserName + ":" + token
  };
  struct Hole {
    std::uint32_t at = 0;         // offset in `text`
    std::uint32_t connector = 0;  // index in Lease::connectors
    std::uint32_t token_size = 0;
    Form form = Form::basic;

    std::size_t size() const;  // of what fills it
    bool operator==(const Hole&) const = default;
  };
  std::string text;
  std::vector<Hole> holes;         // by offset
  std::vector<std::uint32_t> ids;  // where the lease's id stands, in the filled text

  std::size_t size() const;  // of the filled text, in bytes
  bool operator==(const Template&) const = default;
};

// Writes size() bytes to `out`. `mint(hole, out)` writes hole.token_size characters and returns
// their end, or why not; then `out` holds nothing that is worth wiping but earlier tokens.
template <class Mint>
boost::system::error_code fill(const Template& view, char* out, Mint&& mint) {
  std::array<char, kUserName.size() + 1 + broker::kMaxTokenSize> credentials;
  boost::system::error_code error;
  std::size_t used = 0, from = 0;
  for (const auto& hole : view.holes) {
    out = std::copy(view.text.data() + from, view.text.data() + hole.at, out);
    from = hole.at;
    const bool encoded = hole.form != Template::Form::token;
    char* at = encoded ? credentials.data() : out;
    if (hole.form == Template::Form::named_basic) at = std::copy(kUserName.begin(), kUserName.end(), at);
    if (encoded) *at++ = ':';
    const broker::Result<char*> end = mint(hole, at);
    if (!end) {
      error = end.error();
      break;
    }
    if (!encoded) {
      out = *end;
      continue;
    }
    const auto size = static_cast<std::size_t>(*end - credentials.data());
    out = broker::base64_encode({credentials.data(), size}, out);
    used = std::max(used, size);
  }
  broker::wipe({credentials.data(), used});
  if (!error) std::copy(view.text.data() + from, view.text.data() + view.text.size(), out);
  return error;
}

}  // namespace mintfs::fs
