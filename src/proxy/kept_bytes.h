// The bound of what requests keep of their bodies in memory, all together and for each user.
//
// A body is relayed in a small constant of memory, but an LFS batch and the commands of a push are read
// whole before they are judged. Each is small; hundreds at once, sent slowly, are not.
#pragma once

#include "broker/sync.h"

#include <cstddef>
#include <unordered_map>

#include <sys/types.h>

namespace mintfs::proxy {

// Thread-safe.
class KeptBytes {
 public:
  static constexpr std::size_t kMost = 64 * 1024 * 1024;
  static constexpr std::size_t kMostPerUser = kMost / 4;

  // What one request keeps; given back at the end. Of one thread.
  class Share {
   public:
    explicit Share(KeptBytes& all) : all_(all) {}
    ~Share() { release(); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // From here on it is `size` bytes of this user; false, and unchanged, where that is beyond a bound.
    bool grow(uid_t user, std::size_t size);
    void release();

   private:
    KeptBytes& all_;
    uid_t user_ = 0;
    std::size_t size_ = 0;
  };

  std::size_t total() { return counts_.lock()->total; }

 private:
  struct Counts {
    std::size_t total = 0;
    std::unordered_map<uid_t, std::size_t> by_user;  // who keeps nothing is not in it
  };
  broker::Sync<Counts> counts_;
};

}  // namespace mintfs::proxy
