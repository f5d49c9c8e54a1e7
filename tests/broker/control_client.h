// A client of the control socket that says exactly what a test tells it to, as any user.
#pragma once

#include <boost/json.hpp>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <grp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace mintfs::test {

struct Reply {
  int status = 0;
  std::string head;
  std::string body;

  boost::json::object json() const { return boost::json::parse(body).as_object(); }
  std::string text(std::string_view member) const { return std::string(json().at(member).as_string()); }
};

// One connection with blocking calls and a deadline.
class RawClient {
 public:
  explicit RawClient(const std::filesystem::path& file) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    file.string().copy(address.sun_path, sizeof address.sun_path - 1);
    const timeval deadline{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect to " + file.string());
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send(std::string_view bytes) { ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  void request(std::string_view method, std::string_view target, std::string_view body = {}) {
    send(std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: mintfs\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }

  // The next answer; status 0 when the other side closed without one.
  Reply reply() {
    while (pending_.find("\r\n\r\n") == std::string::npos)
      if (!receive()) return {};
    Reply reply;
    const std::size_t end = pending_.find("\r\n\r\n") + 4;
    reply.head = pending_.substr(0, end);
    reply.status = std::stoi(reply.head.substr(9, 3));
    pending_.erase(0, end);
    const std::size_t length = reply.head.find("Content-Length: ");
    const std::size_t size = length == std::string::npos ? 0 : std::stoul(reply.head.substr(length + 16));
    while (pending_.size() < size)
      if (!receive()) return {};
    reply.body = pending_.substr(0, size);
    pending_.erase(0, size);
    return reply;
  }

  // All that comes until the other side closes.
  std::string all() {
    while (receive()) continue;
    return pending_;
  }

  bool at_end() { return pending_.empty() && !receive(); }

 private:
  bool receive() {
    char buffer[4096];
    const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
    if (count < 0 && errno == EAGAIN) throw std::runtime_error("nothing came within the deadline");
    if (count > 0) pending_.append(buffer, static_cast<std::size_t>(count));
    return count > 0;
  }

  int socket_;
  std::string pending_;
};

// Runs `act` on a thread that is another user (credentials(7): the kernel keeps them per thread, and
// the bare system calls change only the caller's). Needs root.
inline void as_user(uid_t uid, std::vector<gid_t> groups, const std::function<void()>& act) {
  std::thread([&] {
    if (::syscall(SYS_setgroups, groups.size(), groups.data()) != 0 || ::syscall(SYS_setresgid, uid, uid, uid) != 0 ||
        ::syscall(SYS_setresuid, uid, uid, uid) != 0)
      throw std::runtime_error("cannot become another user");
    act();
  }).join();
}

}  // namespace mintfs::test
