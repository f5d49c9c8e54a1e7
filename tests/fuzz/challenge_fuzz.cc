// What a registry says of its token service ends in a request line that is one line and one path, and a token that
// fits into a header.
#include "proxy/path.h"
#include "proxy/registry_challenge.h"
#include "require.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace mintfs::proxy;
using mintfs::require;

namespace {

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto realm = parse_challenge(text)) {
    require(!realm->realm.empty());
    if (const auto target = token_target(realm->realm, *realm, "repository:acme/app:pull")) {
      require(is_plain(*target) && target->starts_with('/'));
      require(target->find("scope=repository:acme/app:pull") != std::string::npos);
    }
  }
  if (const auto token = parse_token_answer(text)) {
    require(is_plain(token->token.reveal()) && !token->token.empty());
    require(token->token.size() <= kMaxRegistryToken && token->lifetime.count() >= 0);
  }
  return 0;
}
