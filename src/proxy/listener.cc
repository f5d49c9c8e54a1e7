#include "proxy/listener.h"

#include "broker/unix_listener.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mintfs::proxy {
namespace {

using broker::ListenAddress;
using Tcp = boost::asio::ip::tcp;

constexpr int kBacklog = 1024;

// What may be done about a failed bind(2) or listen(2), as the beginning of "choose another address".
std::string way_out(int error) {
  switch (error) {
    case EADDRINUSE:
      return "stop what uses the port ('ss -ltnp' shows it) or ";
    case EACCES:
      return "allow the port to mintfsd (those below 1024 need root or CAP_NET_BIND_SERVICE) or ";
    case EADDRNOTAVAIL:
      return "no interface has this address ('ip address' shows those there are), so give it to one or ";
    default:
      return "";
  }
}

[[noreturn]] void fail(const std::string& where, int error, const std::string& remedy, const std::string& key) {
  throw std::runtime_error("cannot listen on " + where + ": " +
                           boost::system::error_code(error, boost::system::system_category()).message() + "; " +
                           remedy + "choose another " + key);
}

bool is_listening(int descriptor) {
  int listening = 0;
  socklen_t size = sizeof listening;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

// The address of a listening socket, as far as it is one of ours.
bool read_address(int descriptor, ListenAddress& found) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return false;
  if (address.ss_family == AF_UNIX) {
    found.socket = reinterpret_cast<const sockaddr_un*>(&address)->sun_path;
    return true;
  }
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return false;
  Tcp::endpoint endpoint;
  endpoint.resize(size);
  if (::getsockname(descriptor, endpoint.data(), &size) != 0) return false;
  found.socket.clear();
  found.host = endpoint.address().to_string();
  found.port = endpoint.port();
  return true;
}

}  // namespace

Listener::Listener(ListenAddress address, std::vector<int>* inherited, std::string key)
    : address_(std::move(address)), key_(std::move(key)) {
  if (inherited != nullptr) {
    for (auto each = inherited->begin(); each != inherited->end(); ++each) {
      if (!adopt(*each)) continue;
      inherited->erase(each);
      return;
    }
  }
  if (address_.is_unix())
    open_unix();
  else
    open_tcp();
}

void Listener::open_tcp() {
  const Tcp::endpoint wanted(boost::asio::ip::make_address(address_.host), address_.port);
  descriptor_ = ::socket(wanted.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1;
  if (descriptor_ >= 0) ::setsockopt(descriptor_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (descriptor_ < 0 || ::bind(descriptor_, wanted.data(), static_cast<socklen_t>(wanted.size())) != 0 ||
      ::listen(descriptor_, kBacklog) != 0) {
    const int error = errno;
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    fail(address_.host + ":" + std::to_string(address_.port), error, way_out(error), key_);
  }
  read_address(descriptor_, address_);
}

// Whoever may connect still has to show a token, as with TCP: so the file is open to all.
void Listener::open_unix() {
  descriptor_ = broker::listen_unix({address_.socket, 0666, "proxy's socket", key_}, -1).descriptor;
}

// Any port will do where any was asked for. A Unix socket must still be what its path leads to.
bool Listener::adopt(int inherited) {
  ListenAddress there = address_;
  if (!is_listening(inherited) || !read_address(inherited, there) || there.socket != address_.socket) return false;
  struct stat entry {};
  if (address_.is_unix()) {
    if (::lstat(address_.socket.c_str(), &entry) != 0 || !S_ISSOCK(entry.st_mode)) return false;
  } else {
    const auto wanted = boost::asio::ip::make_address(address_.host);
    if (boost::asio::ip::make_address(there.host) != wanted) return false;
    if (address_.port != 0 && there.port != address_.port) return false;
  }
  address_ = there;
  descriptor_ = inherited;
  return true;
}

Listener::~Listener() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Listener::Listener(Listener&& other) noexcept
    : address_(std::move(other.address_)),
      key_(std::move(other.key_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

std::string Listener::url() const {
  const std::uint16_t usual = address_.tls ? 443 : 80;
  std::string text = address_.text();
  if (!address_.is_unix() && address_.port == usual) text.resize(text.rfind(':'));
  return text;
}

int Listener::family() const {
  if (address_.is_unix()) return AF_UNIX;
  return boost::asio::ip::make_address(address_.host).is_v6() ? AF_INET6 : AF_INET;
}

int Listener::release() { return std::exchange(descriptor_, -1); }

std::vector<Listener> listen_on(const std::vector<ListenAddress>& addresses, std::vector<int> inherited) {
  std::vector<Listener> listeners;
  listeners.reserve(addresses.size());
  for (const auto& address : addresses) listeners.emplace_back(address, &inherited);
  for (const int unused : inherited) ::close(unused);
  return listeners;
}

}  // namespace mintfs::proxy
