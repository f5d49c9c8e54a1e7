// Memory for secrets that stay: never written to swap (mlock(2)), in no core dump, in no child, wiped at
// its end. How much of it a process may have is bounded by the system ("ulimit -l").
#pragma once

#include "broker/error.h"

#include <cstddef>
#include <span>

namespace mintfs::broker {

class LockedMemory {
 public:
  LockedMemory() = default;
  // At least `size` bytes, all zero. too_many when the system locks no more.
  static Result<LockedMemory> make(std::size_t size);
  ~LockedMemory();
  LockedMemory(LockedMemory&& other) noexcept;
  LockedMemory& operator=(LockedMemory&& other) noexcept;
  LockedMemory(const LockedMemory&) = delete;
  LockedMemory& operator=(const LockedMemory&) = delete;

  std::span<char> bytes() noexcept { return {base_, size_}; }
  std::span<const char> bytes() const noexcept { return {base_, size_}; }
  std::size_t size() const noexcept { return size_; }  // whole pages

 private:
  LockedMemory(char* base, std::size_t size) : base_(base), size_(size) {}

  char* base_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace mintfs::broker
