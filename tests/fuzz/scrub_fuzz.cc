// What a stream is scrubbed to does not depend on where it is cut, has the same length, and holds the
// credential in no form: neither one that stands in the text nor one that is written into it here.
#include "broker/encoding.h"
#include "proxy/scrub.h"
#include "require.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

using namespace mintfs::proxy;
using mintfs::require;
namespace broker = mintfs::broker;

namespace {

std::string percent(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      text += c;
    } else {
      (text += '%') += "0123456789ABCDEF"[byte >> 4];
      text += "0123456789ABCDEF"[byte & 15];
    }
  }
  return text;
}

// One form in which a server may send the credential back.
std::string form_of(std::string_view secret, unsigned kind) {
  const std::string pair = "bot:" + std::string(secret);
  switch (kind % 6) {
    case 0:
      return std::string(secret);
    case 1:
      return percent(secret);
    case 2:
      return broker::base64_encode(pair);
    case 3:
      return broker::base64url_encode(pair);
    case 4:
      return percent(broker::base64_encode(pair));
    default:
      return broker::base64_encode(secret);
  }
}

std::string scrubbed_in_pieces(const ScrubPatterns& patterns, std::string_view text, std::string_view cuts) {
  Scrubber scrubber(patterns);
  std::string out;
  for (std::size_t turn = 0; !text.empty(); ++turn) {
    const std::size_t step =
        std::min<std::size_t>(1 + static_cast<unsigned char>(cuts[turn % cuts.size()]) % 64, text.size());
    scrubber.feed(text.substr(0, step), out);
    text.remove_prefix(step);
  }
  scrubber.finish(out);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  // The credential is the front of the input, so that the fuzzer can repeat it further on.
  const std::size_t length = std::min<std::size_t>(data[0] % 24, size - 5);
  const std::string_view cuts(reinterpret_cast<const char*>(data) + 1, 3);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 5, size - 5);
  const std::string_view secret = rest.substr(0, length);
  std::string text(rest.substr(length));
  const std::string form = form_of(secret, data[4]);
  text.insert(text.size() * (data[4] >> 4) / 16, form);
  // Made anew only for another credential: that takes longer than all else.
  static std::string known;
  static ScrubPatterns patterns("bot", known);
  if (secret != known) patterns = ScrubPatterns("bot", known = secret);

  std::string whole(text);
  patterns.scrub(whole);
  require(whole.size() == text.size());
  require(scrubbed_in_pieces(patterns, text, cuts) == whole);
  // A star of ours may complete a credential that holds one.
  if (secret.size() < 2 || secret.find('*') != std::string_view::npos) return 0;
  require(!patterns.contains(whole));
  // Of two bytes base64 has three characters, which are not looked for.
  require(secret.size() < 3 || whole.find(form) == std::string::npos);
  return 0;
}
