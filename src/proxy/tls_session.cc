#include "proxy/tls_session.h"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/error.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
namespace asio = boost::asio;

constexpr std::size_t kReadAhead = 64 * 1024;  // four records

int bounded(std::size_t size) { return static_cast<int>(std::min<std::size_t>(size, std::numeric_limits<int>::max())); }

}  // namespace

void TlsSession::Free::operator()(SSL* session) const noexcept { SSL_free(session); }

TlsSession::TlsSession(SSL_CTX* context, int socket, Side side) : session_(SSL_new(context)) {
  if (!session_ || SSL_set_fd(session_.get(), socket) != 1) throw std::bad_alloc();
  // A write may take a part, and go on from a copy; what is not in use gives its buffers back.
  SSL_set_mode(session_.get(),
               SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_set_read_ahead(session_.get(), 1);
  SSL_set_default_read_buffer_len(session_.get(), kReadAhead);
  if (side == Side::client)
    SSL_set_connect_state(session_.get());
  else
    SSL_set_accept_state(session_.get());
}

TlsSession::~TlsSession() = default;

bool TlsSession::expect(const std::string& host) {
  error_code not_an_address;
  asio::ip::make_address(host, not_an_address);
  SSL_set_verify(session_.get(), SSL_VERIFY_PEER, nullptr);
  X509_VERIFY_PARAM* const parameters = SSL_get0_param(session_.get());
  if (!not_an_address) return X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1;
  // RFC 6066 section 3: a name is sent as it is known, an address is not sent.
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size()) == 1 &&
         SSL_set_tlsext_host_name(session_.get(), host.c_str()) == 1;
}

TlsSession::Step TlsSession::handshake() {
  ERR_clear_error();
  errno = 0;
  const int result = SSL_do_handshake(session_.get());
  return result == 1 ? Step{} : failed(result, 0);
}

TlsSession::Step TlsSession::read(std::span<char> into) {
  std::size_t size = 0;
  while (size < into.size()) {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_read(session_.get(), into.data() + size, bounded(into.size() - size));
    if (result <= 0) return failed(result, size);
    size += static_cast<std::size_t>(result);
    // The next record would be asked for in vain, and the caller can go on with this.
    if (!holds_unread()) break;
  }
  return {.size = size};
}

TlsSession::Step TlsSession::write(std::span<const char> from) {
  std::size_t size = 0;
  while (size < from.size()) {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_write(session_.get(), from.data() + size, bounded(from.size() - size));
    if (result <= 0) return failed(result, size);
    size += static_cast<std::size_t>(result);
  }
  return {.size = size};
}

void TlsSession::close() {
  if (!usable_ || SSL_is_init_finished(session_.get()) == 0) return;
  ERR_clear_error();
  usable_ = false;
  SSL_shutdown(session_.get());
}

bool TlsSession::holds_unread() const { return SSL_has_pending(session_.get()) != 0; }

TlsSession::Step TlsSession::failed(int result, std::size_t size) {
  const int system_error = errno;
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {.wants = Wants::to_read, .size = size};
    case SSL_ERROR_WANT_WRITE:
      return {.wants = Wants::to_write, .size = size};
    case SSL_ERROR_ZERO_RETURN:
      return {.error = asio::error::eof, .size = size};
    case SSL_ERROR_SYSCALL:
      usable_ = false;
      if (system_error != 0) return {.error = {system_error, boost::system::system_category()}, .size = size};
      return {.error = asio::ssl::error::stream_truncated, .size = size};
    default:
      break;
  }
  usable_ = false;
  const unsigned long reason = ERR_get_error();
  if (ERR_GET_LIB(reason) == ERR_LIB_SSL) {
    if (ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
      return {.error = asio::ssl::error::stream_truncated, .size = size};
    was_http_ = ERR_GET_REASON(reason) == SSL_R_HTTP_REQUEST;
  }
  return {.error = {static_cast<int>(reason), asio::error::get_ssl_category()}, .size = size};
}

}  // namespace mintfs::proxy
