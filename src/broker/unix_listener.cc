#include "broker/unix_listener.h"

#include <boost/system/error_code.hpp>

#include <cerrno>
#include <stdexcept>
#include <string>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

sockaddr_un address_of(const std::filesystem::path& file) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  file.string().copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

bool is_answered(const std::filesystem::path& file) {
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_un address = address_of(file);
  const bool dead =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return !dead;
}

void remove_stale(const UnixPlace& place) {
  struct stat entry {};
  if (::lstat(place.file.c_str(), &entry) != 0) return;
  if (!S_ISSOCK(entry.st_mode))
    throw std::runtime_error(place.file.string() + " is in the way: it is not a socket; move it or change " +
                             std::string(place.key));
  if (!place.locked && is_answered(place.file))
    throw std::runtime_error("the " + std::string(place.what) + " " + place.file.string() +
                             " is in use by another program; stop it or choose another " + std::string(place.key));
  ::unlink(place.file.c_str());
}

// Whether the descriptor listens at this path, which still leads there.
bool listens_at(int descriptor, const std::filesystem::path& file) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  struct stat entry {};
  return ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         address.sun_family == AF_UNIX && file.string() == address.sun_path && ::lstat(file.c_str(), &entry) == 0 &&
         S_ISSOCK(entry.st_mode);
}

}  // namespace

ListeningSocket listen_unix(const UnixPlace& place, int inherited) {
  if (inherited >= 0) {
    if (listens_at(inherited, place.file)) {
      ::chmod(place.file.c_str(), place.mode);
      return {.descriptor = inherited, .where = "unix:" + place.file.string(), .file = place.file, .inherited = true};
    }
    ::close(inherited);
  }
  const std::string name = place.file.string();
  const sockaddr_un address = address_of(place.file);
  if (name.size() >= sizeof address.sun_path)
    throw std::runtime_error("the " + std::string(place.what) + "'s path " + name +
                             " is over 107 bytes; choose a shorter " + std::string(place.key));
  remove_stale(place);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // Nobody is let in before listen(2), so the mode is right for whoever comes.
  if (descriptor < 0 || ::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(place.file.c_str(), place.mode) != 0 || ::listen(descriptor, SOMAXCONN) != 0) {
    const boost::system::error_code error(errno, boost::system::generic_category());
    if (descriptor >= 0) ::close(descriptor);
    throw std::runtime_error("cannot make the " + std::string(place.what) + " " + name + ": " + error.message() +
                             "; make room there or choose another " + std::string(place.key));
  }
  return {.descriptor = descriptor, .where = "unix:" + name, .file = place.file};
}

}  // namespace mintfs::broker
