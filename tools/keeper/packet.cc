#include "keeper/packet.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace mintfs::keeper {

bool send(int socket, std::string_view text, int descriptor) {
  iovec part{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  *rights = {.cmsg_len = CMSG_LEN(sizeof descriptor), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  if (descriptor < 0) message.msg_controllen = 0;
  return sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
}

namespace {

socklen_t write_address(std::string_view path, sockaddr_un& address) {
  address.sun_family = AF_UNIX;
  const std::size_t length = path.copy(address.sun_path, sizeof address.sun_path);
  if (path.starts_with('@')) address.sun_path[0] = '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
}

}  // namespace

int raised(int descriptor) {
  const int high = fcntl(descriptor, F_DUPFD_CLOEXEC, kAbove);
  close(descriptor);
  return high;
}

int listening(const char* path) {
  sockaddr_un address{};
  const socklen_t size = write_address(path, address);
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), yes = 1;
  unlink(path);
  if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0 &&
      bind(socket, reinterpret_cast<const sockaddr*>(&address), size) == 0 && chmod(path, 0600) == 0)
    return socket;
  const int error = errno;
  close(socket);
  errno = error;
  return -1;
}

int connected(const char* to) {
  sockaddr_un address{};
  const socklen_t size = write_address(to, address);
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (connect(socket, reinterpret_cast<sockaddr*>(&address), size) == 0) return socket;
  close(socket);
  return -1;
}

std::string_view receive(int socket, char* room, std::size_t size, int& descriptor, bool of_anybody) {
  alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  iovec part{.iov_base = room, .iov_len = size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  bool counts = of_anybody;
  descriptor = -1;
  for (cmsghdr* each = got < 0 ? nullptr : CMSG_FIRSTHDR(&message); each != nullptr;
       each = CMSG_NXTHDR(&message, each)) {
    ucred peer{};
    if (each->cmsg_type == SCM_CREDENTIALS) {
      std::memcpy(&peer, CMSG_DATA(each), sizeof peer);
      counts = counts || peer.uid == geteuid();
      if (!counts) SAY("a message of user %u is refused; only user %u may speak here", peer.uid, geteuid());
      continue;
    }
    for (std::size_t at = 0; at + sizeof(int) <= each->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int given = -1;
      std::memcpy(&given, CMSG_DATA(each) + at, sizeof given);
      if (descriptor >= 0) close(descriptor);  // one is all that any message has
      descriptor = given;
    }
  }
  if (got > 0 && counts && (message.msg_flags & MSG_TRUNC) == 0) return {room, static_cast<std::size_t>(got)};
  if (descriptor >= 0) close(std::exchange(descriptor, -1));
  return {};
}

std::string_view value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == '=')
      return line.substr(key.size() + 1);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return {};
}

}  // namespace mintfs::keeper
