// The body of one message as a sequence of payload pieces, whatever its framing on the wire.
//
// What arrived together with the head is given out first, in place; further pieces are read into
// the caller's buffer, chunk framing is taken off there. Bytes that belong to the next message are
// never given out.
#pragma once

#include "proxy/framing.h"
#include "proxy/message.h"
#include "proxy/stream.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mintfs::proxy {

class BodySource {
 public:
  // `buffered` is what lies behind the head and stays valid; `stream` outlives the source.
  BodySource(Stream& stream, std::span<char> buffered, BodyFraming framing, ChunkedDecoder::Side side);

  // Has payload that was looked at given out once more, by take_buffered(); it stays valid.
  void give_again(std::span<char> payload) { again_ = payload; }

  // The payload that is here without waiting; may be empty. Call it before next().
  error_code take_buffered(std::span<char>& payload);

  // Waits for a non-empty piece, read into `room`; an empty one is the end of the body.
  struct Piece {
    error_code error;
    std::span<char> payload;
  };
  Awaitable<Piece> next(std::span<char> room);

  // How many bytes of known number are still to come as they are on the wire; 0 where that is not so.
  // The caller may take them off the stream itself and says so by finish().
  std::uint64_t raw_rest() const { return framing_.kind == BodyFraming::Kind::length && stream_.plain() ? left_ : 0; }
  Stream& stream() { return stream_; }
  void finish() { left_ = 0, done_ = true; }

  bool done() const { return done_; }
  // How much of `buffered` belonged to this message.
  std::size_t used() const { return used_; }
  // Bytes of the next message that were read into a caller's buffer.
  std::string& surplus() { return surplus_; }

 private:
  error_code accept(std::span<char> bytes, std::span<char>& payload, std::size_t& consumed);

  Stream& stream_;
  std::span<char> buffered_;
  std::span<char> again_;
  BodyFraming framing_;
  ChunkedDecoder decoder_;
  std::uint64_t left_;
  std::size_t used_ = 0;
  std::string surplus_;
  bool done_ = false;
};

}  // namespace mintfs::proxy
