#include "fs/shared_state.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

// "mintfs" and the version of the layout: to be raised with every change of what shared_state.h says.
constexpr std::uint64_t kLayout = 0x6d696e7466730001;

}  // namespace

char* SharedState::map(int descriptor) {
  void* const base = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  return base == MAP_FAILED ? nullptr : static_cast<char*>(base);
}

std::unique_ptr<SharedState> SharedState::make() {
  const int descriptor = ::memfd_create("mintfs-view", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  char* base = nullptr;
  // Sealed in size: who holds it too cannot cut it off under us.
  if (descriptor >= 0 && ::ftruncate(descriptor, static_cast<off_t>(kSize)) == 0 &&
      ::fcntl(descriptor, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
    base = map(descriptor);
  if (base == nullptr) {
    const int error = errno;
    if (descriptor >= 0) ::close(descriptor);
    throw std::runtime_error(std::string("cannot make the memory of the view: ") + std::strerror(error) +
                             "; look at 'ulimit -v' and the memory that is free");
  }
  std::unique_ptr<SharedState> state(new SharedState(descriptor, base));
  state->header().layout = kLayout;
  return state;
}

std::unique_ptr<SharedState> SharedState::adopt(int descriptor) {
  struct stat status {};
  const bool fits = ::fstat(descriptor, &status) == 0 && status.st_size == static_cast<off_t>(kSize) &&
                    (::fcntl(descriptor, F_GET_SEALS) & F_SEAL_SHRINK) != 0;
  char* const base = fits ? map(descriptor) : nullptr;
  if (base == nullptr) {
    ::close(descriptor);
    return nullptr;
  }
  std::unique_ptr<SharedState> state(new SharedState(descriptor, base));
  if (state->header().layout != kLayout || state->used() > kMaxHandles) return nullptr;
  return state;
}

SharedState::~SharedState() {
  ::munmap(base_, kSize);
  ::close(descriptor_);
}

void SharedState::discard(std::uint32_t slot) {
  ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(kContentAt + slot * kMaxView),
              static_cast<off_t>(kMaxView));
}

}  // namespace mintfs::fs
