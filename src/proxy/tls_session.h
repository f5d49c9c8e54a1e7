// One TLS connection: OpenSSL reads and writes the socket itself, without waiting.
//
// Asio's own stream takes one record (16 KiB) per turn of the event loop and moves every byte through a
// pair of buffers of its own; this takes as many records as the caller has room for and as are here. Who
// uses it waits for the socket when a step says so. Of one thread; the socket outlives it and must not
// block. SIGPIPE is to be ignored.
#pragma once

#include <boost/system/error_code.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <openssl/types.h>

namespace mintfs::proxy {

class TlsSession {
 public:
  enum class Side : std::uint8_t { client, server };
  enum class Wants : std::uint8_t { nothing, to_read, to_write };

  // What a step did before the socket had to be waited for. eof: the peer has said that nothing more comes;
  // stream_truncated: the connection ended without that.
  struct Step {
    boost::system::error_code error{};
    Wants wants = Wants::nothing;
    std::size_t size = 0;
  };

  // Throws std::bad_alloc. The context is counted, so that one that is replaced lives on here.
  TlsSession(SSL_CTX* context, int socket, Side side);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // The name or address that the peer's certificate must be for (RFC 6125); a name is sent too (SNI).
  bool expect(const std::string& host);

  Step handshake();
  Step read(std::span<char> into);
  Step write(std::span<const char> from);
  // Tells the peer, once, that nothing more is sent (close_notify); best effort.
  void close();

  // Whether bytes that the peer sent are here and were not read, as plaintext or as records.
  bool holds_unread() const;
  // Whether the peer spoke plain HTTP instead.
  bool was_http() const { return was_http_; }

 private:
  Step failed(int result, std::size_t size);

  struct Free {
    void operator()(SSL* session) const noexcept;
  };
  std::unique_ptr<SSL, Free> session_;
  bool was_http_ = false;
  bool usable_ = true;  // after a fatal error OpenSSL must not be asked to close
};

}  // namespace mintfs::proxy
