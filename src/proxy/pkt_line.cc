#include "proxy/pkt_line.h"

namespace mintfs::proxy {
namespace {

// The value of four hexadecimal digits; git writes lower case and reads both. -1 where one is none.
int read_size(std::string_view digits) {
  int size = 0;
  for (const char c : digits) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) return -1;
    size = size << 4 | digit;
  }
  return size;
}

void append_header(std::string& out, std::size_t payload) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const std::size_t size = payload + kPktHeader;
  for (const unsigned shift : {12U, 8U, 4U, 0U}) out += kHex[size >> shift & 15U];
}

}  // namespace

PktStatus take_pkt_line(std::string_view& bytes, PktLine& out) noexcept {
  if (bytes.size() < kPktHeader) return PktStatus::incomplete;
  const int read = read_size(bytes.substr(0, kPktHeader));
  if (read < 0 || read == 3) return PktStatus::malformed;
  const auto size = static_cast<std::size_t>(read);
  if (size > kPktHeader + kMaxPktPayload) return PktStatus::malformed;
  if (size < kPktHeader) {
    constexpr PktLine::Kind kSigns[] = {PktLine::Kind::flush, PktLine::Kind::delimiter, PktLine::Kind::response_end};
    out = {kSigns[size], {}};
    bytes.remove_prefix(kPktHeader);
    return PktStatus::complete;
  }
  if (bytes.size() < size) return PktStatus::incomplete;
  out = {PktLine::Kind::data, bytes.substr(kPktHeader, size - kPktHeader)};
  bytes.remove_prefix(size);
  return PktStatus::complete;
}

void append_pkt_line(std::string& out, std::string_view payload) {
  append_header(out, payload.size());
  out += payload;
}

void append_side_band(std::string& out, char band, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.substr(0, kMaxPktPayload - 1);
    append_header(out, part.size() + 1);
    out += band;
    out += part;
    bytes.remove_prefix(part.size());
  }
}

}  // namespace mintfs::proxy
