#include "kube/desk_server.h"

#include "kube/connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include <openssl/ssl.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <sys/socket.h>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using broker::Errc;

constexpr asio::as_tuple_t<asio::use_awaitable_t<>> kTuple{};
constexpr std::uint32_t kMaxHead = 32 * 1024;
constexpr std::chrono::milliseconds kOutOfDescriptors{100};
constexpr std::string_view kLeases = "/v1/leases";

using Body = http::basic_string_body<char, std::char_traits<char>, broker::WipingAllocator<char>>;

std::unique_ptr<asio::ssl::context> make_tls(const std::filesystem::path& certificate,
                                             const std::filesystem::path& key) {
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  boost::system::error_code error;
  tls->use_certificate_chain_file(certificate.string(), error);
  if (!error) tls->use_private_key_file(key.string(), asio::ssl::context::pem, error);
  if (error || SSL_CTX_check_private_key(tls->native_handle()) != 1)
    throw std::runtime_error("the certificate " + certificate.string() + " and its key " + key.string() +
                             " cannot be used: " + (error ? error.message() : "they do not belong together"));
  return tls;
}

broker::FileVersion version_of(const std::filesystem::path& certificate) {
  return broker::FileVersion::of(certificate);
}

std::string address_of(const tcp::socket& socket) {
  boost::system::error_code gone;
  return socket.remote_endpoint(gone).address().to_string();
}

// The id in "/v1/leases/ID" with `rest` behind it; empty where the target is another.
std::string id_in(std::string_view target, std::string_view rest) {
  if (target.size() != kLeases.size() + 1 + broker::kLeaseIdSize + rest.size() || !target.ends_with(rest) ||
      !target.starts_with(kLeases) || target[kLeases.size()] != '/')
    return {};
  return std::string(target.substr(kLeases.size() + 1, broker::kLeaseIdSize));
}

std::string_view word_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    default:
      return "Refused";
  }
}

broker::Secret write_answer(const DeskAnswer& answer, bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(word_of(answer.status)) +
                     "\r\nCache-Control: no-store\r\n";
  if (answer.status != 204)
    head += std::string("Content-Type: ") + (answer.status < 300 ? "application/json" : "application/problem+json") +
            "\r\nContent-Length: " + std::to_string(answer.body.size()) + "\r\n";
  if (answer.status == 503 || answer.status == 429) head += "Retry-After: 2\r\n";
  head += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  broker::Secret text(head.size() + answer.body.size());
  char* const end = std::copy(head.begin(), head.end(), text.bytes().data());
  std::copy_n(answer.body.reveal().data(), answer.body.size(), end);
  return text;
}

}  // namespace

struct DeskServer::Session {
  Session(tcp::socket socket, asio::ssl::context& tls)
      : address(address_of(socket)), stream(beast::tcp_stream(std::move(socket)), tls) {}
  std::string address;
  asio::ssl::stream<beast::tcp_stream> stream;
  beast::basic_flat_buffer<broker::WipingAllocator<char>> buffer{kMaxHead + LeaseDesk::kMaxBody};
  bool asks = false;   // a whole call is being answered
  bool ended = false;  // by make_room()
};

class DeskServer::Admitted {
 public:
  Admitted(std::shared_ptr<Sessions> all, Session& session)
      : all_(std::move(all)), place_(all_->insert(all_->end(), &session)) {}
  ~Admitted() { all_->erase(place_); }
  Admitted(const Admitted&) = delete;
  Admitted& operator=(const Admitted&) = delete;

 private:
  std::shared_ptr<Sessions> all_;
  Sessions::iterator place_;
};

DeskServer::DeskServer(asio::io_context& context, LeaseDesk& desk, Settings settings)
    : context_(context),
      desk_(desk),
      settings_(std::move(settings)),
      acceptor_(context, settings_.family == AF_INET6 ? tcp::v6() : tcp::v4(), settings_.listener),
      tls_(make_tls(settings_.certificate, settings_.key)),
      used_(version_of(settings_.certificate)) {}

DeskServer::~DeskServer() = default;

void DeskServer::start() { asio::co_spawn(context_, accept(), asio::detached); }

void DeskServer::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
}

void DeskServer::refresh(const std::function<void(const std::string&)>& report) {
  const auto version = version_of(settings_.certificate);
  if (version == used_) return;
  used_ = version;
  try {
    tls_ = make_tls(settings_.certificate, settings_.key);
    report("the certificate " + settings_.certificate.string() + " was read again");
  } catch (const std::runtime_error& error) {
    report(std::string(error.what()) + "; the former one stays");
  }
}

asio::awaitable<void> DeskServer::accept() {
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(kTuple);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      asio::steady_timer timer(context_, kOutOfDescriptors);
      co_await timer.async_wait(kTuple);
    } else if (open_->size() < settings_.connections || make_room()) {
      asio::co_spawn(context_, serve(std::move(socket)), asio::detached);
    }
  }
}

bool DeskServer::make_room() {
  const auto waits = [](const Session* each) { return !each->asks && !each->ended; };
  const auto oldest = std::find_if(open_->begin(), open_->end(), waits);
  if (oldest == open_->end()) return false;
  (*oldest)->ended = true;
  (*oldest)->stream.next_layer().close();
  return true;
}

asio::awaitable<void> DeskServer::serve(tcp::socket socket) {
  const auto session = std::make_unique<Session>(std::move(socket), *tls_);
  const Admitted admitted(open_, *session);
  session->stream.next_layer().expires_after(settings_.call);
  const auto [error] = co_await session->stream.async_handshake(asio::ssl::stream_base::server, kTuple);
  if (error || session->ended) co_return;
  while (co_await exchange(*session)) session->stream.next_layer().expires_after(settings_.idle);
}

// Whether another call may follow.
asio::awaitable<bool> DeskServer::exchange(Session& session) {
  http::request_parser<Body> parser;
  parser.header_limit(kMaxHead);
  parser.body_limit(LeaseDesk::kMaxBody);
  const auto [unread, head] = co_await http::async_read_header(session.stream, session.buffer, parser, kTuple);
  if (unread || session.ended) co_return false;
  session.stream.next_layer().expires_after(settings_.call);
  const auto [cut, rest] = co_await http::async_read(session.stream, session.buffer, parser, kTuple);
  if (session.ended) co_return false;
  session.asks = true;
  auto& request = parser.get();
  DeskAnswer answer;
  constexpr std::string_view kBearer = "Bearer ";
  const auto authorization = request[http::field::authorization];
  const std::string_view credential(authorization.data(), authorization.size());
  const std::string_view target(request.target().data(), request.target().size());
  const bool one = request.count(http::field::authorization) == 1 && credential.starts_with(kBearer);
  DeskCaller caller{.bearer = broker::Secret(one ? credential.substr(kBearer.size()) : std::string_view()),
                    .address = session.address};
  if (cut == http::error::body_limit) {
    answer = LeaseDesk::refuse(Errc::request_malformed, "The body is over 64 KiB.");
  } else if (cut) {
    co_return false;
  } else if (caller.bearer.empty()) {
    answer = LeaseDesk::refuse(Errc::caller_denied, "A node daemon shows its service account token as a bearer.");
  } else if (request.method() == http::verb::post && target == kLeases) {
    broker::Secret body(std::string_view(request.body().data(), request.body().size()));
    answer = co_await desk_.open(std::move(caller), std::move(body));
  } else if (const std::string id = id_in(target, ""); request.method() == http::verb::delete_ && !id.empty()) {
    answer = co_await desk_.close(std::move(caller), id);
  } else if (const std::string renewed = id_in(target, "/renew");
             request.method() == http::verb::post && !renewed.empty()) {
    broker::Secret body(std::string_view(request.body().data(), request.body().size()));
    answer = co_await desk_.renew(std::move(caller), renewed, std::move(body));
  } else {
    answer = LeaseDesk::refuse(Errc::lease_closed,
                               "There is POST /v1/leases, POST /v1/leases/{id}/renew and DELETE /v1/leases/{id}.");
  }
  const bool keep = !cut && request.keep_alive();
  const broker::Secret text = write_answer(answer, keep);
  session.stream.next_layer().expires_after(settings_.call);
  const auto [unsent, size] =
      co_await asio::async_write(session.stream, asio::buffer(text.reveal().data(), text.size()), kTuple);
  session.asks = false;
  co_return keep && !unsent;
}

}  // namespace mintfs::kube
