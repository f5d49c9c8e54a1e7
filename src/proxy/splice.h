// Moves a body from one plain socket to another inside the kernel (splice(2)).
//
// The bytes pass through a pipe as references to the pages they arrived in, so a large body costs no
// copy at all. Only for bytes that nobody needs to see: a body of known length, neither side TLS.
#pragma once

#include "proxy/stream.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace mintfs::proxy {

class Pipe {
 public:
  // The kernel counts a pipe's room in pages, and received data often fills a small part of one: room
  // for a mebibyte (what pipe(7) lets anybody ask for) takes what kMostHeld bytes come as.
  static constexpr int kCapacity = 1 << 20;
  static constexpr std::size_t kMostHeld = 1 << 19;

  // Null when there is no descriptor left; then the caller copies.
  static std::unique_ptr<Pipe> make();
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int reader() const { return descriptors_[0]; }
  int writer() const { return descriptors_[1]; }

 private:
  Pipe() = default;
  int descriptors_[2] = {-1, -1};
};

// Pipes that are empty and can be used again. Of one thread.
class PipePool {
 public:
  static constexpr std::size_t kKept = 16;
  std::unique_ptr<Pipe> take();
  void give_back(std::unique_ptr<Pipe> pipe);

 private:
  std::vector<std::unique_ptr<Pipe>> kept_;
};

// How sending a body on ended.
enum class RelayEnd { complete, source_failed, sink_failed };

// Moves exactly `size` bytes. `may_go_on` is called after each step; false ends it as source_failed.
// After a failure bytes may be left in the pipe: it must not be used again.
Awaitable<RelayEnd> splice_body(Stream& source, Stream& sink, Pipe& pipe, std::uint64_t size,
                                const std::function<bool()>& may_go_on);

}  // namespace mintfs::proxy
