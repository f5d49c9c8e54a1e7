#include "proxy/relay.h"

#include <array>
#include <string>

namespace mintfs::proxy {

BufferPool::Memory BufferPool::take() {
  if (kept_.empty()) return Memory(new char[kSize]);
  Memory memory = std::move(kept_.back());
  kept_.pop_back();
  return memory;
}

void BufferPool::give_back(Memory memory) {
  if (memory && kept_.size() < kKept) kept_.push_back(std::move(memory));
}

Awaitable<error_code> Relay::write(Head head, std::span<char> payload, bool last) {
  std::string_view body(payload.data(), payload.size());
  std::string filtered;
  if (filter != nullptr) {
    filter->feed(body, filtered);
    if (last) filter->finish(filtered);
    body = filtered;
  }
  std::array<char, kMaxChunkHeader> size;
  std::string_view chunk_header;
  std::string_view chunk_end;
  if (chunked && !body.empty()) {
    chunk_header = {size.data(), write_chunk_header(body.size(), size.data())};
    chunk_end = kChunkEnd;
  }
  const std::string_view last_chunk = chunked && last ? kLastChunk : std::string_view();
  std::array<asio::const_buffer, Stream::kMaxBuffers> parts;
  std::size_t count = 0;
  for (const std::string_view part : {head.text, head.secret, head.end, chunk_header, body, chunk_end, last_chunk})
    if (!part.empty()) parts[count++] = asio::const_buffer(part.data(), part.size());
  co_return co_await sink.write(std::span(parts).first(count));
}

Awaitable<RelayEnd> Relay::run(Head head) {
  std::span<char> payload;
  if (source.take_buffered(payload)) co_return RelayEnd::source_failed;
  if (co_await write(head, payload, source.done())) co_return RelayEnd::sink_failed;
  if (source.done()) co_return RelayEnd::complete;

  if (!chunked && filter == nullptr && sink.plain() && source.raw_rest() >= kWorthSplicing) {
    if (auto pipe = buffers.pipes().take()) {
      const RelayEnd end = co_await splice_body(source.stream(), sink, *pipe, source.raw_rest(), may_go_on);
      if (end == RelayEnd::complete) {
        source.finish();
        buffers.pipes().give_back(std::move(pipe));
      }
      co_return end;
    }
  }
  RelayBuffer buffer(buffers);
  while (true) {
    if (!may_go_on()) co_return RelayEnd::source_failed;
    const BodySource::Piece piece = co_await source.next(buffer.room());
    if (piece.error) co_return RelayEnd::source_failed;
    if (co_await write({}, piece.payload, source.done())) co_return RelayEnd::sink_failed;
    if (source.done()) co_return RelayEnd::complete;
  }
}

}  // namespace mintfs::proxy
