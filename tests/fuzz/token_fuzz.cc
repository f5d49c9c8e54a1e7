// Whatever parses is minted again to the same text: no token has a second spelling. And a token that was
// minted is good for its lease as it is, and after any change it is not.
#include "broker/token.h"
#include "require.h"

#include <string>

using namespace mintfs::broker;
using mintfs::require;

namespace {

LeaseKey key_of(char lease) {
  LeaseKey key;
  for (char& byte : key.bytes()) byte = lease;
  return key;
}

std::string minted(const ParsedToken& token, const LeaseKey& key, Signer& signer) {
  std::string text(token_size(token.claims, token.kid) + kMaxTokenSize, '\0');
  const char* const end = mint_token(token.claims, token.kid, key, signer, text.data());
  text.resize(static_cast<std::size_t>(end - text.data()));
  return text;
}

bool is_good(const std::string& text, const LeaseKey& key, Signer& signer) {
  static ParsedToken token;
  return !parse_token(text, token).failed() && is_signed_with(token, key, signer);
}

// Pairs of a place and what is done to the byte there: the next one is doubled or taken out, or it is changed.
std::string altered(std::string text, std::string_view edits) {
  for (; edits.size() >= 2 && !text.empty(); edits.remove_prefix(2)) {
    const std::size_t at = static_cast<unsigned char>(edits[0]) * text.size() / 256;
    if (edits[1] == '\0') {
      text.erase(at, 1);
    } else if (edits[1] == '\x01') {
      text.insert(at, 1, text[at]);
    } else {
      text[at] = edits[1];
    }
  }
  return text;
}

}  // namespace

// The edits stand behind a line feed, which no token holds.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static ParsedToken token;
  static Signer signer;
  static const LeaseKey none, own = key_of('a'), other = key_of('b');
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t newline = input.find('\n');
  const std::string_view text = input.substr(0, newline);
  if (newline != std::string_view::npos) require(parse_token(input, token).failed());
  if (parse_token(text, token).failed()) return 0;

  const std::string again = minted(token, none, signer);
  require(std::string_view(again).substr(0, again.rfind('.')) == token.signing_input);
  require(again.size() == text.size());
  // A signature is good for the text that it stands in and for no other.
  require(is_signed_with(token, none, signer) == (again == text));

  const std::string good = minted(token, own, signer);
  require(is_good(good, own, signer) && !is_good(good, other, signer));
  if (newline == std::string_view::npos) return 0;
  const std::string changed = altered(good, input.substr(newline + 1));
  require(is_good(changed, own, signer) == (changed == good));
  return 0;
}
