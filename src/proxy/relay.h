// Sends a message on: its head, then its body piece by piece, framed anew.
//
// A piece is written before the next is read, so a slow receiver slows the sender and a body of any
// size costs one buffer. The head goes out together with the first piece. Large bodies that need no
// look are moved inside the kernel instead.
#pragma once

#include "proxy/body.h"
#include "proxy/body_filter.h"
#include "proxy/splice.h"
#include "proxy/stream.h"

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

// Buffers for bodies under way, kept for the next one. Of one thread.
class BufferPool {
 public:
  static constexpr std::size_t kSize = 128 * 1024;
  static constexpr std::size_t kKept = 64;
  using Memory = std::unique_ptr<char[]>;

  Memory take();
  void give_back(Memory memory);
  PipePool& pipes() { return pipes_; }

 private:
  PipePool pipes_;
  std::vector<Memory> kept_;
};

// One buffer for the length of a scope.
class RelayBuffer {
 public:
  explicit RelayBuffer(BufferPool& pool) : pool_(pool), memory_(pool.take()) {}
  ~RelayBuffer() { pool_.give_back(std::move(memory_)); }
  RelayBuffer(const RelayBuffer&) = delete;
  RelayBuffer& operator=(const RelayBuffer&) = delete;
  std::span<char> room() { return {memory_.get(), BufferPool::kSize}; }

 private:
  BufferPool& pool_;
  BufferPool::Memory memory_;
};

// Up to three parts that are written in front of the body; the views outlive the relay.
struct Head {
  std::string_view text;
  std::string_view secret;  // the credential's header line: written from where it is kept
  std::string_view end;
};

struct Relay {
  BodySource& source;
  Stream& sink;
  BufferPool& buffers;
  bool chunked = false;             // frame the payload in chunks
  BodyFilter* filter = nullptr;     // sees every byte of the payload
  std::function<bool()> may_go_on;  // after each write; false ends the relay as source_failed

  Awaitable<RelayEnd> run(Head head);

 private:
  static constexpr std::uint64_t kWorthSplicing = 256 * 1024;

  Awaitable<error_code> write(Head head, std::span<char> payload, bool last);
};

}  // namespace mintfs::proxy
