// Connects to the first of several addresses that answers (RFC 8305 section 5): each gets a head start of a
// quarter of a second, then the next is tried beside it.
#pragma once

#include "proxy/asio.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>

namespace mintfs::proxy {

inline constexpr std::chrono::milliseconds kHeadStart{250};  // RFC 8305 section 8

struct Dialled {
  std::optional<std::size_t> chosen{};  // index of the address; `socket` is connected to it
  bool in_time = true;                  // false: the deadline came first
};

// `wake` is waited on; whoever makes may_go_on() false cancels it. `failed` is told of each address that refused
// or fell behind. All of one thread.
Awaitable<Dialled> dial(Socket& socket, std::span<const Tcp::endpoint> addresses,
                        std::chrono::steady_clock::time_point deadline, Timer& wake, std::function<bool()> may_go_on,
                        std::function<void(const Tcp::endpoint&)> failed);

}  // namespace mintfs::proxy
