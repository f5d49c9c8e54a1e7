// Packets on Unix sockets, with a descriptor in them: what the keeper hears and says. No allocation.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string_view>

#include <unistd.h>

#define SAY(format, ...) dprintf(STDERR_FILENO, "mintfs-keeper: " format "\n" __VA_OPT__(, ) __VA_ARGS__)

namespace mintfs::keeper {

inline constexpr int kAbove = 64;             // our descriptors are from here on, the child's below
inline constexpr std::size_t kMaxPath = 108;  // of a socket, with its end (unix(7))

// The same descriptor out of the child's way; the given one is closed.
int raised(int descriptor);

// A datagram socket at this path, in place of what is there, that tells who sends; -1 and errno when it cannot be.
int listening(const char* path);
// A datagram socket connected to this path (or @name); -1 when nobody is there.
int connected(const char* to);

// `descriptor` -1: none goes along.
bool send(int socket, std::string_view text, int descriptor);

// The next packet's text, put into `room`, and its descriptor or -1. Empty where there is none, where it is cut
// off, or where it is of another user and not `of_anybody`.
std::string_view receive(int socket, char* room, std::size_t size, int& descriptor, bool of_anybody);

// The value of "KEY=value" in lines of such; empty where there is none.
std::string_view value_of(std::string_view text, std::string_view key);

}  // namespace mintfs::keeper
