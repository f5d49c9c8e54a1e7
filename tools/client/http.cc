#include "client/http.h"

#include "broker/secret.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include <cerrno>
#include <exception>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using TcpStream = beast::basic_stream<asio::ip::tcp>;
using UnixStream = beast::basic_stream<asio::local::stream_protocol>;

template <class Stream>
asio::awaitable<HttpAnswer> exchange(Stream& stream, const HttpRequest& request, const std::string& host) {
  http::request<http::string_body> message(http::string_to_verb(request.method), request.target, 11);
  message.set(http::field::host, host);
  message.set(http::field::user_agent, "mintfs/" MINTFS_VERSION);
  message.keep_alive(false);
  if (!request.authorization.empty()) message.set(http::field::authorization, request.authorization);
  if (!request.body.empty()) message.set(http::field::content_type, "application/json");
  message.body() = request.body;
  message.prepare_payload();

  // Who refuses a connection answers and closes without reading: the answer is what counts.
  error_code write_error;
  co_await http::async_write(stream, message, asio::redirect_error(asio::use_awaitable, write_error));

  broker::wipe(message.body());  // it may be a secret

  http::response_parser<http::string_body> parser;
  parser.body_limit(request.answer_size);
  beast::basic_flat_buffer<broker::WipingAllocator<char>> buffer;
  error_code error;
  co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
  const bool cut = error == http::error::body_limit && parser.is_header_done();
  if (error == beast::error::timeout) error = asio::error::timed_out;  // which people know
  if (error && !cut) throw boost::system::system_error(write_error ? write_error : error);
  co_return HttpAnswer{.status = parser.get().result_int(), .body = std::move(parser.get().body())};
}

asio::awaitable<void> connect(TcpStream& stream, const broker::Address& server) {
  asio::ip::tcp::resolver resolver(stream.get_executor());
  const auto endpoints = co_await resolver.async_resolve(server.host, std::to_string(server.port), asio::use_awaitable);
  co_await stream.async_connect(endpoints, asio::use_awaitable);
}

// Whether the directory of a socket is this user's in a place where only root could have put it so: then
// root let the user serve there (a service with a user of its own).
bool is_appointed(uid_t uid, const std::filesystem::path& socket) {
  std::error_code error;
  auto directory = std::filesystem::canonical(socket.parent_path(), error);
  struct stat entry {};
  if (error || ::stat(directory.c_str(), &entry) != 0 || entry.st_uid != uid || (entry.st_mode & 022) != 0)
    return false;
  while (directory.has_relative_path()) {
    directory = directory.parent_path();
    if (::stat(directory.c_str(), &entry) != 0 || entry.st_uid != 0 || (entry.st_mode & 022) != 0) return false;
  }
  return true;
}

// The kernel remembers who called listen(2); nobody can pretend to be another user.
void check_peer(int socket, const std::filesystem::path& path) {
  ucred server{};
  socklen_t size = sizeof server;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &server, &size) != 0)
    throw boost::system::system_error(errno, boost::system::system_category());
  if (server.uid != 0 && server.uid != ::geteuid() && !is_appointed(server.uid, path)) throw ForeignServer(server.uid);
}

asio::awaitable<HttpAnswer> ask_unix(const std::filesystem::path& socket, const HttpRequest& request) {
  UnixStream stream(co_await asio::this_coro::executor);
  stream.expires_after(request.deadline);
  const asio::local::stream_protocol::endpoint endpoint(socket.string());
  co_await stream.async_connect(endpoint, asio::use_awaitable);
  check_peer(stream.socket().native_handle(), socket);
  co_return co_await exchange(stream, request, "mintfs");
}

asio::awaitable<HttpAnswer> ask_tls(const broker::Address& server, const HttpRequest& request) {
  asio::ssl::context context(asio::ssl::context::tls_client);
  if (request.ca_file.empty())
    context.set_default_verify_paths();
  else
    context.load_verify_file(request.ca_file.string());
  beast::ssl_stream<TcpStream> stream(co_await asio::this_coro::executor, context);
  stream.set_verify_mode(asio::ssl::verify_peer);
  stream.set_verify_callback(asio::ssl::host_name_verification(server.host));
  SSL_set_tlsext_host_name(stream.native_handle(), server.host.c_str());
  auto& socket = beast::get_lowest_layer(stream);
  socket.expires_after(request.deadline);
  co_await connect(socket, server);
  co_await stream.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
  co_return co_await exchange(stream, request, server.authority());
}

asio::awaitable<HttpAnswer> ask_tcp(const broker::Address& server, const HttpRequest& request) {
  TcpStream stream(co_await asio::this_coro::executor);
  stream.expires_after(request.deadline);
  co_await connect(stream, server);
  co_return co_await exchange(stream, request, server.authority());
}

asio::awaitable<void> connect_only(const broker::Address& server, std::chrono::seconds deadline) {
  TcpStream stream(co_await asio::this_coro::executor);
  stream.expires_after(deadline);
  co_await connect(stream, server);
}

// Runs one coroutine to its end on this thread.
template <class Value>
Value run(asio::awaitable<Value> work) {
  asio::io_context context(1);
  std::exception_ptr failure;
  if constexpr (std::is_void_v<Value>) {
    asio::co_spawn(context, std::move(work), [&](std::exception_ptr thrown) { failure = std::move(thrown); });
    context.run();
    if (failure) std::rethrow_exception(failure);
  } else {
    Value result;
    asio::co_spawn(context, std::move(work), [&](std::exception_ptr thrown, Value value) {
      failure = std::move(thrown);
      result = std::move(value);
    });
    context.run();
    if (failure) std::rethrow_exception(failure);
    return result;
  }
}

}  // namespace

HttpAnswer ask(const std::filesystem::path& socket, const HttpRequest& request) {
  return run(ask_unix(socket, request));
}

HttpAnswer ask(const broker::Address& server, const HttpRequest& request) {
  return run(server.tls() ? ask_tls(server, request) : ask_tcp(server, request));
}

void try_connect(const broker::Address& server, std::chrono::seconds deadline) { run(connect_only(server, deadline)); }

}  // namespace mintfs::client
