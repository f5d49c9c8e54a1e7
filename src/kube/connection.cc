#include "kube/connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <poll.h>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr asio::as_tuple_t<asio::use_awaitable_t<>> kTuple{};
constexpr std::uint32_t kMaxHead = 64 * 1024;
constexpr std::size_t kReadAhead = 16 * 1024;
constexpr std::chrono::seconds kLongestRetryAfter{300};

std::string_view name_of(Call::Method method) {
  switch (method) {
    case Call::Method::get:
      return "GET";
    case Call::Method::post:
      return "POST";
    case Call::Method::merge_patch:
      return "PATCH";
    case Call::Method::put:
      return "PUT";
    case Call::Method::remove:
      return "DELETE";
  }
  return "GET";
}

broker::Secret write_request(const Call& call, const broker::Address& server, const broker::Secret& token) {
  std::string head(name_of(call.method));
  head += " " + call.target + " HTTP/1.1\r\nHost: " + server.authority() +
          "\r\nUser-Agent: mintfs/" MINTFS_VERSION "\r\nAccept: application/json\r\n";
  if (!call.body.empty())
    head += std::string("Content-Type: ") +
            (call.method == Call::Method::merge_patch ? "application/merge-patch+json" : "application/json") +
            "\r\nContent-Length: " + std::to_string(call.body.size()) + "\r\n";
  head += "Authorization: Bearer ";
  broker::Secret request(head.size() + token.size() + 4 + call.body.size());
  char* out = request.bytes().data();
  for (const std::string_view part :
       {std::string_view(head), token.reveal(), std::string_view("\r\n\r\n"), call.body.reveal()})
    out = std::copy(part.begin(), part.end(), out);
  return request;
}

Failure broken(const error_code& error, std::string_view what) {
  const bool late = error == beast::error::timeout;
  return {.reason = late ? Reason::timed_out : Reason::unreachable,
          .message = std::string(what) + ": " + (late ? "no answer in time" : error.message())};
}

std::optional<std::chrono::seconds> read_retry_after(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  // The other form, a date, is never sent by the API server.
  if (error != std::errc() || end != text.data() + text.size() || seconds < 0) return std::nullopt;
  return std::min(std::chrono::seconds(seconds), kLongestRetryAfter);
}

}  // namespace

// getaddrinfo cannot be ended: a lookup that takes too long is left to itself, and what it brings then with it.
struct Lookup {
  explicit Lookup(asio::io_context& context) : resolver(context), bound(context) {}
  tcp::resolver resolver;
  asio::steady_timer bound;
  std::optional<error_code> error{};
  tcp::resolver::results_type addresses{};
};

asio::awaitable<std::shared_ptr<Lookup>> look_up(asio::io_context& context, const broker::Address& server,
                                                 asio::steady_timer::time_point until) {
  auto lookup = std::make_shared<Lookup>(context);
  lookup->bound.expires_at(until);
  lookup->resolver.async_resolve(server.host, std::to_string(server.port), asio::ip::resolver_base::numeric_service,
                                 [lookup](const error_code& error, tcp::resolver::results_type addresses) {
                                   if (lookup->error) return;  // too late
                                   lookup->error = error;
                                   lookup->addresses = std::move(addresses);
                                   lookup->bound.cancel();
                                 });
  co_await lookup->bound.async_wait(kTuple);
  if (!lookup->error) {
    lookup->error = beast::error::timeout;
    lookup->resolver.cancel();  // one that waits for another's end, as they do in turn, is not begun any more
  }
  co_return lookup;
}

struct Connection::Parts {
  using Parser = http::response_parser<http::buffer_body>;

  Parts(asio::io_context& in, asio::ssl::context& trust, std::string_view who)
      : context(in), peer(who), stream(in, trust) {}

  beast::tcp_stream& tcp() { return stream.next_layer(); }

  asio::io_context& context;
  std::string peer;
  asio::ssl::stream<beast::tcp_stream> stream;
  beast::basic_flat_buffer<broker::WipingAllocator<char>> buffer{kMaxHead + kReadAhead};
  std::optional<Parser> parser;
  bool usable = false;
};

Connection::Connection(asio::io_context& context, asio::ssl::context& trust, std::string_view peer)
    : parts_(std::make_unique<Parts>(context, trust, peer)) {}

Connection::~Connection() = default;

asio::awaitable<std::optional<Failure>> Connection::connect(const broker::Address& server, std::chrono::seconds bound) {
  Parts& p = *parts_;
  const std::string where = p.peer + " at " + server.authority();
  const auto until = std::chrono::steady_clock::now() + bound;
  const auto lookup = co_await look_up(p.context, server, until);
  if (*lookup->error) co_return broken(*lookup->error, where + ": its name");
  p.tcp().expires_at(until);
  const auto [refused, chosen] = co_await p.tcp().async_connect(lookup->addresses, kTuple);
  if (refused) co_return broken(refused, where);
  error_code ignored;
  p.tcp().socket().set_option(tcp::no_delay(true), ignored);
  // A machine that vanished is noticed although nothing is sent for minutes.
  p.tcp().socket().set_option(asio::socket_base::keep_alive(true), ignored);
  SSL* const session = p.stream.native_handle();
  error_code not_an_address;
  asio::ip::make_address(server.host, not_an_address);
  if (not_an_address) SSL_set_tlsext_host_name(session, server.host.c_str());
  p.stream.set_verify_callback(asio::ssl::host_name_verification(server.host));
  const auto [untrusted] = co_await p.stream.async_handshake(asio::ssl::stream_base::client, kTuple);
  if (untrusted && untrusted.category() == asio::error::get_ssl_category())
    co_return Failure{.reason = Reason::untrusted,
                      .message = where + ": " + untrusted.message() + "; look at the cluster's ca.crt"};
  if (untrusted) co_return broken(untrusted, where);
  p.usable = true;
  co_return std::nullopt;
}

asio::awaitable<Outcome<Connection::Head>> Connection::ask(const Call& call, const broker::Address& server,
                                                           const broker::Secret& token, std::chrono::seconds bound) {
  Parts& p = *parts_;
  p.usable = false;
  p.parser.emplace();
  p.parser->header_limit(kMaxHead);
  p.parser->body_limit(boost::none);
  const broker::Secret request = write_request(call, server, token);
  p.tcp().expires_after(bound);
  const auto [unsent, sent] =
      co_await asio::async_write(p.stream, asio::buffer(request.reveal().data(), request.size()), kTuple);
  if (unsent) co_return broken(unsent, "the connection to " + p.peer);
  const auto [unread, size] = co_await http::async_read_header(p.stream, p.buffer, *p.parser, kTuple);
  if (unread && unread.category() == make_error_code(http::error::bad_method).category() &&
      unread != http::error::end_of_stream && unread != http::error::partial_message)
    co_return Failure{.reason = Reason::malformed, .message = "the answer of " + p.peer + " is not HTTP/1.1"};
  if (unread) co_return broken(unread, "the connection to " + p.peer);
  Head head{.status = p.parser->get().result_int()};
  const auto later = p.parser->get()[http::field::retry_after];
  head.retry_after = read_retry_after({later.data(), later.size()});
  co_return head;
}

asio::awaitable<Outcome<std::size_t>> Connection::read_some(std::span<char> into, std::chrono::seconds bound) {
  if (bound.count() != 0) parts_->tcp().expires_after(bound);
  Parts& p = *parts_;
  auto& body = p.parser->get().body();
  while (!p.parser->is_done()) {
    body.data = into.data();
    body.size = into.size();
    const auto [error, size] = co_await http::async_read_some(p.stream, p.buffer, *p.parser, kTuple);
    const std::size_t got = into.size() - body.size;
    if (error && error != http::error::need_buffer) co_return broken(error, "the connection to " + p.peer);
    if (got != 0) co_return got;
  }
  p.usable = p.parser->keep_alive();
  co_return std::size_t{0};
}

asio::awaitable<Outcome<WipedString>> Connection::read_all(std::size_t limit) {
  WipedString body;
  for (;;) {
    // Doubling, as the string would: what it leaves behind wipes itself.
    const std::size_t had = body.size();
    body.resize(had + std::max(kReadAhead, had / 2));
    const auto got = co_await read_some({body.data() + had, body.size() - had}, std::chrono::seconds{0});
    if (!got) co_return got.error();
    body.resize(had + *got);
    if (*got == 0) co_return body;
    if (body.size() > limit)
      co_return Failure{.reason = Reason::too_large,
                        .message = "an answer of " + parts_->peer + " is over " + std::to_string(limit) + " bytes"};
  }
}

bool Connection::can_be_used_again() {
  if (!parts_->usable) return false;
  // Nothing is due: a byte, or the end, says that the server has closed it.
  pollfd waiting{.fd = parts_->tcp().socket().native_handle(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) == 0;
}

bool Connection::was_answered() const { return parts_->parser && parts_->parser->got_some(); }

}  // namespace mintfs::kube
