#include "broker/service_manager.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr int kFirstDescriptor = 3;  // SD_LISTEN_FDS_START
constexpr int kMostDescriptors = 64;
constexpr int kPatience = 5000;  // milliseconds

std::string taken_variable(const char* name) {
  const char* const value = std::getenv(name);
  std::string taken = value == nullptr ? "" : value;
  ::unsetenv(name);
  return taken;
}

int number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

// A socket connected to the service manager's; -1 when there is none.
int connect_to(const std::string& path) noexcept {
  sockaddr_un address{};
  if (path.empty() || (path[0] != '/' && path[0] != '@') || path.size() >= sizeof address.sun_path) return -1;
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (socket >= 0 && ::connect(socket, reinterpret_cast<const sockaddr*>(&address), size) == 0) return socket;
  if (socket >= 0) ::close(socket);
  return -1;
}

}  // namespace

ServiceManager::ServiceManager()
    : socket_(taken_variable("NOTIFY_SOCKET")),
      store_(taken_variable("FDSTORE")),
      keeps_(!socket_.empty() && number(store_) > 0),
      exchanges_init_(!taken_variable("MINTFS_KEEPER").empty() && keeps_) {
  const bool ours = number(taken_variable("LISTEN_PID")) == ::getpid();
  const int count = std::clamp(number(taken_variable("LISTEN_FDS")), 0, kMostDescriptors);
  const std::string names = taken_variable("LISTEN_FDNAMES");
  if (!ours) return;
  std::string_view rest = names;
  for (int i = 0; i < count; ++i) {
    const auto end = std::min(rest.find(':'), rest.size());
    if (::fcntl(kFirstDescriptor + i, F_SETFD, FD_CLOEXEC) == 0)
      kept_.emplace_back(rest.substr(0, end), kFirstDescriptor + i);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

ServiceManager::~ServiceManager() {
  for (const auto& [name, descriptor] : kept_) ::close(descriptor);
}

int ServiceManager::take(std::string_view name) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& each) { return each.first == name; });
  if (found == kept_.end()) return -1;
  const int descriptor = found->second;
  kept_.erase(found);
  return descriptor;
}

void ServiceManager::notify(std::string_view state) const noexcept { send(state, -1); }

void ServiceManager::keep(std::string_view name, int descriptor) const noexcept {
  if (!keeps_) return;
  forget(name);
  // FDPOLL=0: systemd would drop a connection of FUSE that somebody aborted, and with it the sign that it was ours.
  send("FDSTORE=1\nFDPOLL=0\nFDNAME=" + std::string(name), descriptor);
}

void ServiceManager::forget(std::string_view name) const noexcept {
  if (keeps_) send("FDSTOREREMOVE=1\nFDNAME=" + std::string(name), -1);
}

// sd_notify_barrier(3): the other side closes the pipe when it has come to this message.
void ServiceManager::synchronise() const noexcept {
  int ends[2];
  if (!keeps_ || ::pipe2(ends, O_CLOEXEC) != 0) return;
  send("BARRIER=1", ends[1]);
  ::close(ends[1]);
  pollfd waiting{.fd = ends[0], .events = 0, .revents = 0};
  while (::poll(&waiting, 1, kPatience) < 0 && errno == EINTR) {
  }
  ::close(ends[0]);
}

void ServiceManager::send(std::string_view state, int descriptor) const noexcept {
  const int socket = connect_to(socket_);
  if (socket < 0) return;
  iovec text{.iov_base = const_cast<char*>(state.data()), .iov_len = state.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
  msghdr message{};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
  ::close(socket);
}

std::vector<std::string> ServiceManager::environment() const {
  std::vector<std::string> variables;
  if (!socket_.empty()) variables.push_back("NOTIFY_SOCKET=" + socket_);
  if (!store_.empty()) variables.push_back("FDSTORE=" + store_);
  if (exchanges_init_) variables.push_back("MINTFS_KEEPER=1");
  return variables;
}

}  // namespace mintfs::broker
