// The text of a lease's .gitconfig. Pure: no clock, no key, no file.
//
// All of it but the tokens is the same at each open, so it is rendered once, to the text without the
// tokens and the places where they go; an open copies the text around freshly minted tokens. The
// size never changes while a lease lives, because its tokens never change in size.
//
// Several connectors keep the order of one: all `http` sections, `credential` once, all `url`
// sections, each in the order of the lease. Values and subsections are quoted as git-config(1) says,
// so no name or address can add a key; what cannot be quoted (newline in a subsection, NUL) is refused.
#pragma once

#include "broker/broker.h"
#include "broker/encoding.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::fs {

// A view whose prefixes would make more text than this is rendered in the whole-host form instead.
inline constexpr std::size_t kMaxTextByPrefix = 64 * 1024;

struct Template {
  // Where an authorization goes: the base64 of ":" + token (RFC 7617 with an empty user name).
  struct Hole {
    std::uint32_t at = 0;         // offset in `text`
    std::uint32_t connector = 0;  // index in Lease::connectors
    std::uint32_t token_size = 0;
    bool operator==(const Hole&) const = default;
  };
  std::string text;
  std::vector<Hole> holes;         // by offset
  std::vector<std::uint32_t> ids;  // where the lease's id stands, in the filled text

  std::size_t size() const;  // of the filled text, in bytes
  bool operator==(const Template&) const = default;
};

using TokenSize = std::function<std::size_t(const broker::ConnectorName&)>;

// A connector of the lease that the configuration no longer knows is left out. `authorities` is the file of
// whom git must trust for an https proxy, or empty. `internal` when something cannot be quoted.
broker::Result<Template> render(const broker::Lease& lease, const broker::Connectors& connectors,
                                std::string_view proxy_url, const TokenSize& token_size,
                                std::string_view authorities = {});

// Writes size() bytes to `out`. `mint(hole, out)` writes hole.token_size characters and returns
// their end, or why not; then `out` holds nothing that is worth wiping but earlier tokens.
template <class Mint>
boost::system::error_code fill(const Template& view, char* out, Mint&& mint) {
  std::array<char, 1 + broker::kMaxTokenSize> credentials;
  boost::system::error_code error;
  std::size_t used = 0, from = 0;
  for (const auto& hole : view.holes) {
    out = std::copy(view.text.data() + from, view.text.data() + hole.at, out);
    from = hole.at;
    credentials[0] = ':';
    const broker::Result<char*> end = mint(hole, credentials.data() + 1);
    if (!end) {
      error = end.error();
      break;
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
