#include "broker/locked_memory.h"

#include "broker/secret.h"

#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace mintfs::broker {

Result<LockedMemory> LockedMemory::make(std::size_t size) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t whole = (size + page - 1) / page * page;
  if (whole == 0) return LockedMemory();
  void* const base = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return Errc::too_many;
  if (::mlock(base, whole) != 0 || ::madvise(base, whole, MADV_DONTDUMP) != 0 ||
      ::madvise(base, whole, MADV_DONTFORK) != 0) {
    ::munmap(base, whole);
    return Errc::too_many;
  }
  return LockedMemory(static_cast<char*>(base), whole);
}

LockedMemory::~LockedMemory() {
  if (base_ == nullptr) return;
  wipe(bytes());
  ::munmap(base_, size_);
}

LockedMemory::LockedMemory(LockedMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), size_(std::exchange(other.size_, 0)) {}

LockedMemory& LockedMemory::operator=(LockedMemory&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace mintfs::broker
