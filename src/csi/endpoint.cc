#include "csi/endpoint.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mintfs::csi {

std::filesystem::path endpoint_path(std::string_view text) {
  for (const std::string_view scheme : {"unix://", "unix:"}) {
    if (!text.starts_with(scheme)) continue;
    text.remove_prefix(scheme.size());
    break;
  }
  if (!text.starts_with('/')) throw std::runtime_error("--endpoint is 'unix:///path/to/csi.sock'");
  return text;
}

Endpoint::Endpoint(const std::string& text) : path_(endpoint_path(text)) {
  made_ = path_.parent_path() / ("." + path_.filename().string() + "." + std::to_string(::getpid()));
  if (made_.string().size() >= sizeof(sockaddr_un::sun_path))
    throw std::runtime_error("the endpoint " + path_.string() + " is too long for a socket; name a shorter one");
  struct stat there {};
  if (::lstat(path_.c_str(), &there) == 0 && !S_ISSOCK(there.st_mode))
    throw std::runtime_error("at " + path_.string() + " is something that is not a socket; remove it");
}

void Endpoint::publish() {
  struct stat made {};
  if (::stat(made_.c_str(), &made) != 0 || ::rename(made_.c_str(), path_.c_str()) != 0)
    throw std::runtime_error("cannot put the socket at " + path_.string() + ": " + std::strerror(errno));
  ours_ = made.st_ino;
}

Endpoint::~Endpoint() {
  struct stat there {};
  if (ours_ && ::lstat(path_.c_str(), &there) == 0 && there.st_ino == *ours_) ::unlink(path_.c_str());
}

}  // namespace mintfs::csi
