// What of a mounted view must outlive the daemon that serves it, in memory that others hold too.
//
// A memfd, whose descriptor a service manager or mintfs-keeper keeps beside that of /dev/fuse:
//
//   the INIT request      as fs/handshake.h left it; written by whoever did the exchange
//   the request in work   as it was read from /dev/fuse. One thread answers, so there is at most one; a
//                         successor takes it up where the kernel cannot send it again
//   the open handles      a table, and the snapshot of each at its own place
//
// The daemon can be killed between any two instructions: each record is made valid by one store, after
// all else of it was written. The file is sparse: what is not used costs nothing. It holds tokens, which
// are wiped when their handle is released; it is on no disk and no other user can open it.
#pragma once

#include "fs/handshake.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace mintfs::fs {

class SharedState {
 public:
  static constexpr std::size_t kMaxHandles = 65536;
  static constexpr std::size_t kMaxView = 256 * 1024;    // bytes of one snapshot
  static constexpr std::size_t kMaxRequest = 64 * 1024;  // more than kMaxTransfer lets a request be

  enum class Use : std::uint32_t { free = 0, filling = 1, open = 2 };
  struct Handle {
    Use use;
    std::uint32_t generation;
    std::uint32_t uid;     // who opened it
    std::uint32_t size;    // bytes of the snapshot
    std::uint64_t serial;  // of its lease
  };

  // A new one, all zero. Throws std::runtime_error with one sentence.
  static std::unique_ptr<SharedState> make();
  // One that an earlier daemon made; the descriptor is taken over. Null when it is none, or was made by
  // a version with another layout: then nobody can say what is in it.
  static std::unique_ptr<SharedState> adopt(int descriptor);
  ~SharedState();
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;

  int descriptor() const { return descriptor_; }

  std::span<char> init() { return {base_, kMaxInit}; }
  std::span<char> request() { return {base_ + kRequestAt, kMaxRequest}; }
  // The unique of the last request that was answered.
  std::uint64_t answered() const { return header().answered; }
  void set_answered(std::uint64_t unique) { header().answered = unique; }

  // How many slots of the table were ever used; those above were not.
  std::uint32_t used() const { return header().used; }
  void set_used(std::uint32_t count) { header().used = count; }
  Handle& handle(std::uint32_t slot) { return reinterpret_cast<Handle*>(base_ + kTableAt)[slot]; }
  const Handle& handle(std::uint32_t slot) const { return reinterpret_cast<const Handle*>(base_ + kTableAt)[slot]; }
  char* content(std::uint32_t slot) { return base_ + kContentAt + slot * kMaxView; }
  // Gives a slot's memory back to the system.
  void discard(std::uint32_t slot);

 private:
  static constexpr std::size_t kHeaderAt = kMaxInit;
  static constexpr std::size_t kRequestAt = 4096;
  static constexpr std::size_t kTableAt = kRequestAt + kMaxRequest;
  static constexpr std::size_t kContentAt = kTableAt + ((kMaxHandles * sizeof(Handle) + 4095) & ~std::size_t{4095});
  static constexpr std::size_t kSize = kContentAt + kMaxHandles * kMaxView;

  struct Header {
    std::uint64_t layout;
    std::uint64_t answered;
    std::uint32_t used;
  };

  SharedState(int descriptor, char* base) : descriptor_(descriptor), base_(base) {}
  static char* map(int descriptor);
  Header& header() { return *reinterpret_cast<Header*>(base_ + kHeaderAt); }
  const Header& header() const { return *reinterpret_cast<const Header*>(base_ + kHeaderAt); }

  int descriptor_;
  char* base_;
};

}  // namespace mintfs::fs
