// pkt-lines (gitprotocol-common): four hexadecimal digits that give the size, themselves included, and
// then the payload; sizes below 4 are signs without one. Pure; nothing is copied while reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::proxy {

inline constexpr std::size_t kPktHeader = 4;
inline constexpr std::size_t kMaxPktPayload = 65'516;  // LARGE_PACKET_DATA_MAX of git
inline constexpr std::string_view kFlushPkt = "0000";

struct PktLine {
  enum class Kind : std::uint8_t { data, flush, delimiter, response_end };
  Kind kind = Kind::flush;
  std::string_view payload;  // of `data`; may be empty. Within the given bytes
};

// Takes one off the front of `bytes`, which stays as it is unless there is a whole one.
enum class PktStatus : std::uint8_t { complete, incomplete, malformed };
PktStatus take_pkt_line(std::string_view& bytes, PktLine& out) noexcept;

// `payload` has at most kMaxPktPayload bytes.
void append_pkt_line(std::string& out, std::string_view payload);

// Bytes of any number in the framing of the side-band-64k capability, on `band` 1 (data) to 3 (error).
void append_side_band(std::string& out, char band, std::string_view bytes);

}  // namespace mintfs::proxy
