#include "proxy/framing.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace mintfs::proxy {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

bool is_blank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

std::size_t write_chunk_header(std::size_t size, char* out) noexcept {
  char* const end = std::to_chars(out, out + kMaxChunkHeader - 2, size, 16).ptr;
  return static_cast<std::size_t>(end - out) + kChunkEnd.copy(end, kChunkEnd.size());
}

boost::system::error_code ChunkedDecoder::decode(std::span<char> in, Payload& out) noexcept {
  char* at = in.data();
  char* const end = at + in.size();
  char* begin = at;
  char* to = at;
  while (at != end && state_ != State::done) {
    if (state_ != State::data) {
      if (!step(*at++))
        return side_ == Side::request ? broker::Errc::request_malformed : broker::Errc::upstream_malformed;
      continue;
    }
    const auto size = static_cast<std::size_t>(std::min(left_, static_cast<std::uint64_t>(end - at)));
    if (begin == to) begin = to = at;
    if (to != at) std::memmove(to, at, size);
    to += size;
    at += size;
    left_ -= size;
    if (left_ == 0) state_ = State::data_cr;
  }
  out.bytes = {begin, to};
  out.consumed = static_cast<std::size_t>(at - in.data());
  out.done = state_ == State::done;
  return {};
}

// One byte that is not data; whether it may stand there.
bool ChunkedDecoder::step(char c) noexcept {
  const auto expect = [&](char wanted, State next) {
    state_ = next;
    return c == wanted;
  };
  switch (state_) {
    case State::size:
      return step_size(c);
    case State::extension:
      if (c == '\r') return expect('\r', State::size_lf);
      return !is_control(c) && ++skipped_ <= kMaxChunkExtension;
    case State::size_lf:
      skipped_ = 0;
      digits_ = 0;
      return expect('\n', left_ == 0 ? State::trailer_start : State::data);
    case State::data_cr:
      return expect('\r', State::data_lf);
    case State::data_lf:
      return expect('\n', State::size);
    case State::trailer_start:
    case State::trailer:
      return step_trailer(c);
    case State::trailer_lf:
      return expect('\n', State::trailer_start);
    case State::end_lf:
      return expect('\n', State::done);
    case State::data:
    case State::done:
      break;
  }
  return false;
}

bool ChunkedDecoder::step_size(char c) noexcept {
  const int digit = hex_value(c);
  if (digit >= 0) {
    left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
    return ++digits_ <= 16;
  }
  if (digits_ == 0) return false;
  if (c == '\r') {
    state_ = State::size_lf;
    return true;
  }
  // Some servers pad the size with spaces.
  if (side_ == Side::request || (c != ';' && !is_blank(c))) return false;
  state_ = State::extension;
  skipped_ = 1;
  return true;
}

bool ChunkedDecoder::step_trailer(char c) noexcept {
  const bool first = state_ == State::trailer_start;
  if (c == '\r') {
    state_ = first ? State::end_lf : State::trailer_lf;
    return true;
  }
  state_ = State::trailer;
  return !(first && is_blank(c)) && !is_control(c) && ++skipped_ <= kMaxTrailers;
}

}  // namespace mintfs::proxy
