#include "broker/http_server.h"

#include "broker/process_watch.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>

#include <algorithm>
#include <sstream>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr std::size_t kMaxHeader = 16 * 1024;
constexpr std::chrono::milliseconds kOutOfDescriptors{100};

int option_of(int socket, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

asio::generic::stream_protocol protocol_of(int socket) {
  return {option_of(socket, SO_DOMAIN), option_of(socket, SO_PROTOCOL)};
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

// Whether the process that connected has ended: its number may be another's by now. False where the kernel cannot say.
bool has_peer_ended(int socket) {
  const int process = option_of(socket, SO_PEERPIDFD);
  if (process < 0) return errno != ENOPROTOOPT;  // ESRCH, EINVAL: it has been waited for as well
  pollfd asked{.fd = process, .events = POLLIN, .revents = 0};
  const bool ended = ::poll(&asked, 1, 0) != 0;
  ::close(process);
  return ended;
}

// As the kernel vouches for it at the moment of connect(2); nothing when it does not. Nobody's ids for TCP.
std::optional<Caller> peer_of(int socket) {
  if (option_of(socket, SO_DOMAIN) != AF_UNIX)
    return Caller{.uid = static_cast<uid_t>(-1), .gid = static_cast<gid_t>(-1)};
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  Caller caller{.uid = credentials.uid,
                .gid = credentials.gid,
                .groups = {},
                .pid = credentials.pid,
                .started = credentials.pid == 0 ? 0 : process_start_time(credentials.pid)};
  // Asked last: if it is there now, it was there before, and its start is what was read.
  if (caller.pid != 0 && has_peer_ended(socket)) caller.pid = 0, caller.started = 0;
  size = 0;  // asks for the size: ERANGE fills it in
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, nullptr, &size) != 0 && errno != ERANGE) return std::nullopt;
  caller.groups.resize(size / sizeof(gid_t));
  if (size != 0 && ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, caller.groups.data(), &size) != 0)
    return std::nullopt;
  return caller;
}

// The answer to what could not be read; nothing where nobody is left to read one.
std::optional<Errc> to_refusal(const error_code& error) {
  if (error == http::error::body_limit) return Errc::body_too_large;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return Errc::header_too_large;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  if (error.category() == make_error_code(http::error::bad_method).category()) return Errc::request_malformed;
  return std::nullopt;
}

// For who is not let in: one attempt that does not wait, the answer fits into any socket's buffer.
void send_and_forget(int socket, const HttpServer::Response& response) {
  std::ostringstream text;
  text << response;
  const std::string bytes = text.str();
  ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

HttpServer::HttpServer(asio::io_context& context, ListeningSocket socket, Limits limits)
    : context_(context),
      limits_(limits),
      where_(std::move(socket.where)),
      file_(std::move(socket.file)),
      acceptor_(context, protocol_of(socket.descriptor), socket.descriptor),
      left_(socket.inherited) {
  if (!file_.empty()) ::lstat(file_.c_str(), &made_);
}

HttpServer::~HttpServer() {
  if (!left_ && owns_file()) ::unlink(file_.c_str());
}

bool HttpServer::owns_file() const {
  struct stat entry {};
  // The number alone would not do: it is given again to the next file.
  return !file_.empty() && ::lstat(file_.c_str(), &entry) == 0 && entry.st_dev == made_.st_dev &&
         entry.st_ino == made_.st_ino && entry.st_mtim.tv_sec == made_.st_mtim.tv_sec &&
         entry.st_mtim.tv_nsec == made_.st_mtim.tv_nsec;
}

void HttpServer::start() {
  left_ = false;
  asio::co_spawn(context_, accept(), asio::detached);
}

void HttpServer::stop() {
  stopping_ = true;
  acceptor_.close();
  for (Connection& connection : connections_) {
    if (connection.waits) connection.stream.cancel();
    connection.resumed.cancel();
  }
}

void HttpServer::when_idle(std::function<void()> done) {
  if (connections_.empty()) return done();
  when_idle_ = std::move(done);
}

void HttpServer::leave() {
  left_ = true;
  stop();
}

void HttpServer::pause() {
  paused_ = true;
  acceptor_.cancel();
}

void HttpServer::resume() {
  if (!std::exchange(paused_, false)) return;
  start();
  for (Connection& connection : connections_) connection.resumed.cancel();
}

std::size_t HttpServer::connections_of(uid_t uid) const {
  const auto same_user = [&](const Connection& each) { return each.caller.uid == uid; };
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(), same_user));
}

asio::awaitable<void> HttpServer::accept() {
  asio::steady_timer pause(context_);
  while (!stopping_ && !paused_) {
    error_code error;
    Protocol::socket socket(context_);
    co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
    if (stopping_ || error == asio::error::operation_aborted) break;
    if (!error) {
      admit(std::move(socket));
    } else {
      // Out of descriptors: the caller stays in the queue, and accepting again at once would spin.
      pause.expires_after(kOutOfDescriptors);
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }
}

void HttpServer::admit(Protocol::socket socket) {
  const auto caller = peer_of(socket.native_handle());
  if (!caller) return;
  if (const auto refusal = refuse_newcomer(*caller)) return send_and_forget(socket.native_handle(), *refusal);
  connections_.push_back({.stream = beast::basic_stream<Protocol>(std::move(socket)),
                          .resumed = asio::steady_timer(context_),
                          .caller = *caller});
  asio::co_spawn(context_, serve(std::prev(connections_.end())), asio::detached);
}

asio::awaitable<void> HttpServer::serve(Connections::iterator connection) {
  try {
    co_await exchange(*connection);
  } catch (const std::exception&) {
    // Out of memory: this connection's end, nobody else's.
  }
  connections_.erase(connection);
  if (connections_.empty() && when_idle_) std::exchange(when_idle_, nullptr)();
}

asio::awaitable<HttpServer::Answer> HttpServer::answer_to(const Caller& caller, const Request& request) {
  try {
    co_return co_await answer(caller, request);
  } catch (const std::exception&) {
    co_return Answer(refuse(Errc::internal));
  }
}

asio::awaitable<void> HttpServer::wait_for_resume(Connection& connection) {
  while (paused_ && !stopping_) {
    error_code ignored;
    connection.resumed.expires_at(asio::steady_timer::time_point::max());
    co_await connection.resumed.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

asio::awaitable<void> HttpServer::exchange(Connection& connection) {
  auto& stream = connection.stream;
  beast::basic_flat_buffer<WipingAllocator<char>> buffer(limits_.request_size + kMaxHeader);
  bool keep_alive = true;
  while (keep_alive && !stopping_) {
    http::request_parser<RequestBody> parser;
    parser.header_limit(kMaxHeader);
    parser.body_limit(limits_.request_size);
    error_code error;
    connection.waits = true;
    stream.expires_after(limits_.arrival);
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    connection.waits = false;

    Answer answer;
    if (error) {
      const auto refusal = to_refusal(error);
      if (!refusal) co_return;
      answer.response = refuse(*refusal);
      keep_alive = false;
    } else {
      co_await wait_for_resume(connection);
      if (stopping_) co_return;  // asked again, the successor answers
      answer = co_await answer_to(connection.caller, parser.get());
      keep_alive = parser.get().keep_alive();
    }
    answer.response.keep_alive(keep_alive);
    stream.expires_after(limits_.arrival);
    co_await http::async_write(stream, answer.response, asio::redirect_error(asio::use_awaitable, error));
    wipe(answer.response.body());
    if (error && answer.undelivered) answer.undelivered();
    if (error) co_return;
  }
  error_code ignored;
  stream.socket().shutdown(Protocol::socket::shutdown_send, ignored);
}

}  // namespace mintfs::broker
