#include "fs/handshake.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

constexpr std::uint32_t kOldestMinor = 23;
// The newest protocol whose INIT answer is known here.
constexpr std::uint32_t kNewestMinor = 36;
constexpr std::uint32_t kWanted = FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS;
constexpr std::size_t kPage = 4096;

struct Request {
  fuse_in_header header;
  fuse_init_in init;
};

}  // namespace

std::size_t init_size(std::span<const char> request) noexcept {
  std::uint32_t size = 0;
  if (request.size() < sizeof(Request)) return 0;
  std::memcpy(&size, request.data(), sizeof size);
  return size <= std::min(request.size(), kMaxInit) ? size : 0;
}

int exchange_init(int fuse, std::span<char> request) noexcept {
  alignas(fuse_in_header) static thread_local char buffer[FUSE_MIN_READ_BUFFER];
  ssize_t size = 0;
  do {
    size = ::read(fuse, buffer, sizeof buffer);
  } while (size < 0 && (errno == EINTR || errno == EAGAIN));
  if (size < 0) return errno;

  Request asked{};
  std::memcpy(&asked, buffer, std::min(sizeof asked, static_cast<std::size_t>(size)));
  if (asked.header.opcode != FUSE_INIT || asked.init.major != FUSE_KERNEL_VERSION || asked.init.minor < kOldestMinor ||
      static_cast<std::size_t>(size) > std::min(request.size(), kMaxInit))
    return EPROTO;

  struct {
    fuse_out_header header;
    fuse_init_out init;
  } answer{};
  answer.header = {.len = sizeof answer, .error = 0, .unique = asked.header.unique};
  answer.init.major = FUSE_KERNEL_VERSION;
  answer.init.minor = std::min(asked.init.minor, kNewestMinor);
  answer.init.flags = asked.init.flags & kWanted;
  answer.init.max_background = kMaxBackground;
  answer.init.congestion_threshold = kMaxBackground / 4 * 3;
  answer.init.max_write = kMaxTransfer;
  answer.init.time_gran = 1;
  answer.init.max_pages = kMaxTransfer / kPage;
  if (::write(fuse, &answer, sizeof answer) != sizeof answer) return errno;

  // What was not agreed on must not be taken for agreed by a later libfuse that knows more.
  asked.init.flags = answer.init.flags;
  asked.init.flags2 = 0;
  asked.init.max_readahead = 0;
  std::memcpy(buffer, &asked, std::min(sizeof asked, static_cast<std::size_t>(size)));
  std::memcpy(request.data(), buffer, static_cast<std::size_t>(size));
  return 0;
}

}  // namespace mintfs::fs
