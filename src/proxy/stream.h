// One transport to a peer: a TCP or Unix socket, or TLS over it. Bytes in, bytes out, no message framing.
//
// Reads and writes are first tried without waiting; only when the kernel says "not now" does the
// coroutine suspend. That saves a pass through the event loop for almost every write. So that one
// fast transfer cannot keep the others waiting, a stream gives way after each mebibyte.
// Of one thread: that of the socket's executor.
#pragma once

#include "proxy/asio.h"
#include "proxy/tls_session.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace mintfs::proxy {

struct Transfer {
  error_code error;
  std::size_t size = 0;
};

class Stream {
 public:
  explicit Stream(Socket socket) : socket_(std::move(socket)) {}

  Socket& socket() { return socket_; }

  // Speaks TLS from here on, as a client: certificate and name are verified (RFC 6125), SNI is sent.
  Awaitable<error_code> start_tls(SSL_CTX* context, const std::string& host);
  // The same as a server.
  Awaitable<error_code> accept_tls(SSL_CTX* context);
  // Whether accept_tls() failed because the peer spoke plain HTTP; what is written then goes out in plain.
  bool was_http() const { return was_http_; }

  // At least one byte, or asio::error::eof, or an error.
  Awaitable<Transfer> read_some(std::span<char> into);

  // All of it, or an error. At most kMaxBuffers buffers.
  static constexpr std::size_t kMaxBuffers = 8;
  Awaitable<error_code> write(std::span<const asio::const_buffer> buffers);

  // Whether bytes go to the socket as they are.
  bool plain() const { return tls_ == nullptr; }

  // Lets others run after each mebibyte.
  Awaitable<void> give_way(std::size_t size);

  // Bytes of all its life: that came, and that the peer's system has taken (what waits in ours is not).
  std::uint64_t received() const { return received_; }
  std::uint64_t taken();
  // For who moves bytes past read_some() and write().
  void count_received(std::size_t size) { received_ += size; }
  void count_sent(std::size_t size) { sent_ += size; }
  std::uint64_t sent() const { return sent_; }

  // Whether a connection that should be silent has been closed or has sent something unasked for.
  bool is_stale();
  // Whether bytes that the peer sent are here and were not read; asks TLS alone, without a system call.
  bool holds_unread() const;

  // Ends every operation under way with operation_aborted; the stream can still be written to.
  void cancel();
  // Ends the connection at once.
  void abort();
  // Whether an end from here on is a reset (RST) instead of a regular one; what waits to be sent is lost then.
  void reset_when_closed(bool reset);
  // Says that nothing more will be sent; the other direction stays open.
  void shutdown_send();

 private:
  Awaitable<error_code> handshake();
  Awaitable<error_code> wait_for(TlsSession::Wants wants);
  Awaitable<Transfer> read_tls(std::span<char> into);
  Awaitable<error_code> write_tls(std::span<const asio::const_buffer> buffers);
  Awaitable<error_code> write_record(std::span<const char> bytes);

  Socket socket_;
  std::unique_ptr<TlsSession> tls_;
  bool was_http_ = false;
  std::size_t since_pause_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t sent_ = 0;
};

}  // namespace mintfs::proxy
