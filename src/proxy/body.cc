#include "proxy/body.h"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <utility>

namespace mintfs::proxy {

using Kind = BodyFraming::Kind;

BodySource::BodySource(Stream& stream, std::span<char> buffered, BodyFraming framing, ChunkedDecoder::Side side)
    : stream_(stream), buffered_(buffered), framing_(framing), decoder_(side), left_(framing.length) {
  done_ = framing_.kind == Kind::none || (framing_.kind == Kind::length && left_ == 0);
}

error_code BodySource::accept(std::span<char> bytes, std::span<char>& payload, std::size_t& consumed) {
  switch (framing_.kind) {
    case Kind::none:
      payload = {};
      consumed = 0;
      return {};
    case Kind::length:
      payload = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
      consumed = payload.size();
      left_ -= consumed;
      done_ = left_ == 0;
      return {};
    case Kind::chunked: {
      ChunkedDecoder::Payload out;
      const auto error = decoder_.decode(bytes, out);
      payload = out.bytes;
      consumed = out.consumed;
      done_ = out.done;
      return error;
    }
    case Kind::until_close:
      payload = bytes;
      consumed = bytes.size();
      return {};
  }
  return asio::error::invalid_argument;
}

error_code BodySource::take_buffered(std::span<char>& payload) {
  payload = std::exchange(again_, {});
  if (!payload.empty()) return {};
  if (done_ || buffered_.empty()) return {};
  const auto error = accept(buffered_, payload, used_);
  buffered_ = {};
  return error;
}

Awaitable<BodySource::Piece> BodySource::next(std::span<char> room) {
  while (!done_) {
    std::span<char> into = room;
    if (framing_.kind == Kind::length && left_ < into.size()) into = into.first(static_cast<std::size_t>(left_));
    const Transfer read = co_await stream_.read_some(into);
    if (read.error) {
      if (read.error == asio::error::eof && framing_.kind == Kind::until_close) {
        done_ = true;
        break;
      }
      co_return Piece{read.error, {}};
    }
    std::span<char> payload;
    std::size_t consumed = 0;
    const std::span<char> bytes = into.first(read.size);
    if (const auto error = accept(bytes, payload, consumed)) co_return Piece{error, {}};
    if (consumed < bytes.size()) surplus_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(consumed), bytes.end());
    if (!payload.empty()) co_return Piece{{}, payload};
  }
  co_return Piece{};
}

}  // namespace mintfs::proxy
