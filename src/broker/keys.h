// Signing keys: a master key per version, one derived key per lease.
//
// K_lease = HKDF-SHA256(master[kid], salt = "", info = "mintfs lease " + id) (RFC 5869). Who holds
// a lease's key can mint for that lease only; who holds the master can check for all, with nothing
// stored per token. Masters live in <state_dir>/master-keys (0600, one "kid created hex" per line),
// are made at first start and rotated with overlap: the newest signs new leases, older ones stay
// until no lease can be left of them.
#pragma once

#include "broker/clock.h"
#include "broker/secret.h"
#include "broker/state_file.h"
#include "broker/sync.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

using Digest = std::array<char, 32>;

class LeaseKey {
 public:
  LeaseKey() = default;
  ~LeaseKey() { wipe(bytes_); }
  LeaseKey(const LeaseKey&) = default;
  LeaseKey& operator=(const LeaseKey&) = default;
  std::string_view reveal() const noexcept { return {bytes_.data(), bytes_.size()}; }
  std::span<char> bytes() noexcept { return bytes_; }

 private:
  Digest bytes_{};
};

// Thread-safe.
class MasterKeys {
 public:
  // Reads <state_dir>/master-keys or makes it, and the directory (0700), where it is missing. Throws
  // std::runtime_error with one sentence: not writable, malformed, readable by others, disk full
  // (then nothing is left behind). Where others read the same file, a new version signs only `wait` after it was
  // seen here, or at the start after the time that its line names: by then they all can check what it signed.
  MasterKeys(const std::filesystem::path& state_dir, const Clock& clock, std::chrono::seconds wait = {});

  // None: of a node, whose leases bring their keys. It derives nothing.
  explicit MasterKeys(const Clock&) {}
  bool empty() const { return masters_.lock()->empty(); }

  // Reads the file again where it has changed: somebody else rotates it. Whether it did. Throws like the
  // constructor; then the keys are as before. One caller at a time.
  bool refresh();

  // The version that signs new leases: the newest that has waited, or else the oldest; 0 where there is none.
  std::uint32_t current() const;
  // Nothing when the version is not known. Not cheap (a few microseconds): keep the result with the
  // lease. Throws std::runtime_error when OpenSSL fails or `lease_id` is over 512 bytes.
  std::optional<LeaseKey> derive(std::uint32_t kid, std::string_view lease_id) const;

  // Adds a version when the newest is older than `period` and drops those that no lease can use any
  // more (`overlap`, at least the longest life of a lease, after they were superseded). Returns
  // whether anything changed. Throws like the constructor; then the keys are as before. One caller at a time.
  bool rotate(Time now, std::chrono::seconds period, std::chrono::seconds overlap);

 private:
  struct Master {
    std::uint32_t kid;
    std::int64_t created;  // seconds since the epoch
    Secret key;
    std::int64_t signs_from = 0;
  };
  using Masters = std::vector<Master>;  // oldest first
  static Masters read(const std::filesystem::path& file);
  void store(const Masters& masters) const;

  std::filesystem::path file_;
  const Clock* clock_ = nullptr;  // null: of a node
  std::chrono::seconds wait_{0};
  FileVersion read_;  // what refresh() last looked at
  mutable Sync<Masters> masters_;
};

// HMAC-SHA256 (RFC 2104) with a context that is prepared once. One per thread: not thread-safe.
class Signer {
 public:
  Signer();
  ~Signer();
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;
  Digest sign(const LeaseKey& key, std::string_view message);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Cryptographic random bytes, fetched in blocks. One per thread: not thread-safe.
class Random {
 public:
  void fill(std::span<char> out);

 private:
  std::array<char, 1024> block_{};
  std::size_t left_ = 0;
};

}  // namespace mintfs::broker
