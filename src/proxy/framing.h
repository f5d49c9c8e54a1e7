// The chunked transfer coding (RFC 9112 section 7.1): read strictly, written by us.
//
// Chunks are taken off in place and what is sent on is framed anew, so that no byte of one side's
// framing reaches the other.
#pragma once

#include "broker/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mintfs::proxy {

inline constexpr std::size_t kMaxChunkHeader = 18;  // 16 digits and CRLF
inline constexpr std::size_t kMaxChunkExtension = 256;
inline constexpr std::size_t kMaxTrailers = 8 * 1024;
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// Writes "<hex>\r\n", at most kMaxChunkHeader characters, and returns their number. `size` is not 0.
// The chunk's bytes and kChunkEnd follow.
std::size_t write_chunk_header(std::size_t size, char* out) noexcept;

// Fed with successive buffers of one body. Keeps no bytes.
class ChunkedDecoder {
 public:
  enum class Side : std::uint8_t { request, response };

  struct Payload {
    std::span<char> bytes;     // within the given buffer
    std::size_t consumed = 0;  // all of the buffer unless done
    bool done = false;         // the last chunk and the trailers are read
  };

  // Extensions are refused in requests and skipped in responses; trailers are dropped in both.
  explicit ChunkedDecoder(Side side) noexcept : side_(side) {}

  // Compacts the payload of all chunks in `in` at the place of the first; a buffer that holds data of
  // one chunk only is not touched. request_malformed or upstream_malformed by side.
  boost::system::error_code decode(std::span<char> in, Payload& out) noexcept;

 private:
  enum class State : std::uint8_t {
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer,
    trailer_lf,
    end_lf,
    done
  };
  bool step(char c) noexcept;
  bool step_size(char c) noexcept;
  bool step_trailer(char c) noexcept;

  Side side_;
  State state_ = State::size;
  std::uint8_t digits_ = 0;
  std::uint16_t skipped_ = 0;  // bytes of this chunk's extension, or of the trailers
  std::uint64_t left_ = 0;     // of the current chunk
};

}  // namespace mintfs::proxy
