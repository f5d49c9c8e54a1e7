// HTTP/1.1 for those who ask the daemon itself: the control socket and the admin listener.
//
// How connections and requests come in is here, what is answered is the heir's. Everything a caller
// controls is bounded: connections, the size of a request, the time in which it arrives and in which its
// answer is taken. At a bound there is an answer or, for who does not listen, a closed connection.
//
// All on the thread that runs the context, which outlives this object. Destroyed after the context was
// run for the last time.
#pragma once

#include "broker/error.h"
#include "broker/policy.h"
#include "broker/secret.h"
#include "broker/unix_listener.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include <sys/stat.h>

namespace mintfs::broker {

class HttpServer {
 public:
  // A body may hold a secret: its memory wipes itself, and that of an answer is wiped when it was sent.
  using RequestBody = boost::beast::http::basic_string_body<char, std::char_traits<char>, WipingAllocator<char>>;
  using Request = boost::beast::http::request<RequestBody>;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;

  struct Limits {
    std::size_t connections;
    std::size_t request_size;      // of a body
    std::chrono::seconds arrival;  // of a whole request, or for taking an answer
  };

  // Removes the socket's file unless it was left, or is another's by now.
  virtual ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  void start();
  // Takes no more connections and requests; answers under way still go out. On the context's thread.
  void stop();
  // Calls `done` on the context's thread when the last connection has ended, after stop() or leave().
  void when_idle(std::function<void()> done);
  // As stop(), but a Unix socket stays in its place: a successor listens on it.
  void leave();
  // Takes no more connections and answers no more requests until resume(); both wait meanwhile. On the
  // context's thread.
  void pause();
  void resume();

  int descriptor() { return acceptor_.native_handle(); }
  const std::string& where() const { return where_; }  // it listens: ListeningSocket::where

 protected:
  struct Answer {
    Answer() = default;
    explicit Answer(Response made) : response(std::move(made)) {}
    Response response;
    std::function<void()> undelivered{};  // called where the caller is not there any more to take it
  };

  // `socket` becomes ours.
  HttpServer(boost::asio::io_context& context, ListeningSocket socket, Limits limits);

  // The answer to who is not let in.
  virtual std::optional<Response> refuse_newcomer(const Caller& caller) const = 0;
  // The answer to what could not be read.
  virtual Response refuse(Errc error) const = 0;
  // Not called while paused. What it throws becomes Errc::internal.
  virtual boost::asio::awaitable<Answer> answer(const Caller& caller, const Request& request) = 0;

  std::size_t connections() const { return connections_.size(); }
  std::size_t connections_of(uid_t uid) const;

 private:
  using Protocol = boost::asio::generic::stream_protocol;
  struct Connection {
    boost::beast::basic_stream<Protocol> stream;
    boost::asio::steady_timer resumed;  // cancelled when a pause ends
    Caller caller;
    bool waits = false;  // for a request
  };
  using Connections = std::list<Connection>;

  boost::asio::awaitable<void> accept();
  void admit(Protocol::socket socket);
  boost::asio::awaitable<void> serve(Connections::iterator connection);
  boost::asio::awaitable<void> exchange(Connection& connection);
  boost::asio::awaitable<void> wait_for_resume(Connection& connection);
  boost::asio::awaitable<Answer> answer_to(const Caller& caller, const Request& request);
  bool owns_file() const;

  boost::asio::io_context& context_;
  Limits limits_;
  std::string where_;
  std::filesystem::path file_;
  struct stat made_ {};  // the file, as it was made
  boost::asio::basic_socket_acceptor<Protocol> acceptor_;
  Connections connections_;
  std::function<void()> when_idle_;
  bool stopping_ = false;
  bool paused_ = false;
  bool left_;
};

}  // namespace mintfs::broker
