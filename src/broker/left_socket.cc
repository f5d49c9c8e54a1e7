#include "broker/left_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mintfs::broker {

LeftSocket::LeftSocket(int inherited, const std::filesystem::path& now) {
  sockaddr_un address{};
  socklen_t size = sizeof address - 1;
  if (::getsockname(inherited, reinterpret_cast<sockaddr*>(&address), &size) == 0 && address.sun_family == AF_UNIX &&
      now != address.sun_path)
    file_ = address.sun_path;
}

void LeftSocket::remove() const {
  struct stat entry {};
  if (!file_.empty() && ::lstat(file_.c_str(), &entry) == 0 && S_ISSOCK(entry.st_mode)) ::unlink(file_.c_str());
}

}  // namespace mintfs::broker
