// The first exchange with the kernel, FUSE_INIT (linux/fuse.h), without libfuse.
//
// The kernel queues one INIT request at mount(2) and answers nobody before it is answered. Whoever dies
// between reading and answering it, while somebody else keeps the descriptor, leaves a mount that waits
// for good. So it is done once, right after mount(2), by whoever will outlive mintfsd: mintfs-keeper, or
// mintfsd itself before it gives the descriptor away. The request is kept, and each mintfsd shows it to its
// libfuse, which learns from it what was agreed.
//
// Allocates nothing and throws nothing: mintfs-keeper links it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mintfs::fs {

// The largest READ: a view is a page or two, and the kernel pins that many pages at each read. It
// bounds what one request can be, too.
inline constexpr std::uint32_t kMaxTransfer = 16 * 1024;
// RELEASE counts as background work. With the usual 12 at a time, releases fall behind the opens of a
// busy job until it meets the bound of open handles that it has long closed (measured: 50 threads).
inline constexpr std::uint16_t kMaxBackground = 65535;
// What of the request is kept; more than any kernel sends.
inline constexpr std::size_t kMaxInit = 512;

// Reads the request and answers it; blocks until the kernel has sent it. Puts it into `request` (at
// least kMaxInit bytes) with every flag off that was not agreed on. Returns 0 or an errno: EPROTO when
// it is no INIT or of a protocol before 7.23 (Linux 3.15).
int exchange_init(int fuse, std::span<char> request) noexcept;

// The length of a kept request; 0 where there is none.
std::size_t init_size(std::span<const char> request) noexcept;

}  // namespace mintfs::fs
