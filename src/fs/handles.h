// Open handles: each holds the bytes that its open minted, and wipes them when it is released.
//
// They live in a SharedState, so that a successor goes on serving the same snapshots under the same
// numbers. A handle is a slot's index and its generation; generations begin at a random number, so a
// handle of a daemon whose state was lost is not taken for one of ours. Not thread-safe.
//
// Bounds: 65 536 handles and 256 MiB in all (ENFILE), a quarter of both per user (EMFILE), 256 KiB each (EFBIG).
#pragma once

#include "fs/answer.h"
#include "fs/shared_state.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include <sys/types.h>

namespace mintfs::fs {

class Handles {
 public:
  static constexpr std::size_t kMaxHandles = SharedState::kMaxHandles;
  static constexpr std::size_t kMaxBytes = 256 << 20;
  static constexpr std::size_t kMaxHandlesPerUser = kMaxHandles / 4;
  static constexpr std::size_t kMaxBytesPerUser = kMaxBytes / 4;

  struct Handle {
    uid_t uid = 0;             // who opened it
    std::uint64_t serial = 0;  // of its lease
    std::span<char> content;
  };

  // Where somebody else has used the state, reload() or clear() comes before anything else.
  Handles(SharedState& state, std::uint32_t first_generation) : state_(state), first_generation_(first_generation) {}

  // A handle with room for `size` bytes. A successor knows it once it is committed.
  Answer<std::uint64_t> take(uid_t uid, std::uint64_t serial, std::size_t size);
  void commit(std::uint64_t handle);
  // Nothing when it is not open.
  std::optional<Handle> find(std::uint64_t handle);
  void release(std::uint64_t handle);  // one that is not open: nothing happens
  void clear();                        // releases all
  void reload();                       // finds what the state holds; what was never committed is released

  std::size_t size() const { return open_; }
  std::size_t bytes() const { return bytes_; }
  std::size_t users() const { return of_user_.size(); }  // who have something open
  std::uint32_t count_of(std::uint64_t serial) const;    // open handles of one lease

 private:
  bool is_open(std::uint64_t handle) const;
  void count(const SharedState::Handle& slot);
  void free(std::uint32_t index);
  void forget_counts();

  SharedState& state_;
  std::uint32_t first_generation_;
  std::vector<std::uint32_t> free_;  // slots that were used before
  std::size_t open_ = 0;
  std::size_t bytes_ = 0;
  struct OfUser {
    std::size_t handles = 0;
    std::size_t bytes = 0;
  };
  std::unordered_map<uid_t, OfUser> of_user_;  // without those of zero: in a pod, root is any user it likes
  std::unordered_map<std::uint64_t, std::uint32_t> of_lease_;
};

}  // namespace mintfs::fs
