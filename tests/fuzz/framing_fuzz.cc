// The payload does not depend on where the bytes are cut, is what a plain reading of RFC 9112 section
// 7.1 finds in a request, and framed anew decodes to itself.
#include "proxy/framing.h"
#include "require.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

using namespace mintfs::proxy;
using mintfs::require;

namespace {

struct Decoded {
  bool good = true;
  bool done = false;
  std::size_t consumed = 0;
  std::string payload;
};

// `cuts` gives the sizes of the buffers, again and again from its beginning; none: one buffer.
Decoded decode(std::string body, ChunkedDecoder::Side side, std::string_view cuts = {}) {
  ChunkedDecoder decoder(side);
  Decoded out;
  for (std::size_t turn = 0; out.good && !out.done && out.consumed < body.size(); ++turn) {
    const std::size_t step = cuts.empty() ? body.size() : 1 + static_cast<unsigned char>(cuts[turn % cuts.size()]) % 32;
    ChunkedDecoder::Payload payload;
    const std::size_t size = std::min(step, body.size() - out.consumed);
    out.good = !decoder.decode({body.data() + out.consumed, size}, payload);
    if (!out.good) break;
    require(payload.consumed <= size && payload.bytes.size() <= payload.consumed);
    require(payload.done || payload.consumed == size);
    out.payload.append(payload.bytes.data(), payload.bytes.size());
    out.consumed += payload.consumed;
    out.done = payload.done;
  }
  return out;
}

// Takes one line off the front of `rest`, without its CRLF.
std::optional<std::string_view> take_line(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const auto line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

// The payload of a body without chunk extensions, read in the plainest way; nothing where it is malformed.
std::optional<std::string> read_plainly(std::string_view rest) {
  std::string payload;
  while (const auto line = take_line(rest)) {
    if (line->empty() || line->find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
      return std::nullopt;
    const std::size_t size = std::stoull(std::string(*line), nullptr, 16);
    if (size == 0) {
      while (const auto trailer = take_line(rest))
        if (trailer->empty()) return payload;
      return std::nullopt;
    }
    if (size > rest.size() || !rest.substr(size).starts_with("\r\n")) return std::nullopt;
    payload.append(rest.substr(0, size));
    rest.remove_prefix(size + 2);
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const auto side = (data[0] & 1) != 0 ? ChunkedDecoder::Side::request : ChunkedDecoder::Side::response;
  const std::string_view cuts(reinterpret_cast<const char*>(data) + 1, 3);
  const std::string body(reinterpret_cast<const char*>(data) + 4, size - 4);
  const Decoded whole = decode(body, side), cut = decode(body, side, cuts);
  require(whole.good == cut.good && whole.done == cut.done);
  if (!whole.good) return 0;
  require(whole.payload == cut.payload && whole.consumed == cut.consumed);
  if (whole.done && side == ChunkedDecoder::Side::request)
    require(read_plainly(std::string_view(body).substr(0, whole.consumed)) == whole.payload);

  std::string framed;
  if (!whole.payload.empty()) {
    char header[kMaxChunkHeader];
    framed.assign(header, write_chunk_header(whole.payload.size(), header)).append(whole.payload).append(kChunkEnd);
  }
  framed += kLastChunk;
  const Decoded again = decode(framed, ChunkedDecoder::Side::request, cuts);
  require(again.done && again.payload == whole.payload && again.consumed == framed.size());
  return 0;
}
