#include "proxy/stream.h"

#include "broker/secret.h"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <array>
#include <cerrno>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace mintfs::proxy {
namespace {

constexpr std::size_t kTurn = 1 << 20;
// Of TLS: what one record holds, and what is copied to share one.
constexpr std::size_t kRecord = 16 * 1024;
constexpr std::size_t kSmall = 4 * 1024;

error_code last_error() { return {errno, boost::system::system_category()}; }

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

Awaitable<error_code> Stream::start_tls(SSL_CTX* context, const std::string& host) {
  tls_ = std::make_unique<TlsSession>(context, socket_.native_handle(), TlsSession::Side::client);
  if (!tls_->expect(host)) co_return asio::error::invalid_argument;
  co_return co_await handshake();
}

Awaitable<error_code> Stream::accept_tls(SSL_CTX* context) {
  tls_ = std::make_unique<TlsSession>(context, socket_.native_handle(), TlsSession::Side::server);
  const error_code error = co_await handshake();
  if (!error || !tls_->was_http()) co_return error;
  was_http_ = true;
  tls_.reset();
  co_return error;
}

Awaitable<error_code> Stream::handshake() {
  error_code failed;
  socket_.native_non_blocking(true, failed);
  while (!failed) {
    const TlsSession::Step step = tls_->handshake();
    if (step.error || step.wants == TlsSession::Wants::nothing) co_return step.error;
    failed = co_await wait_for(step.wants);
  }
  co_return failed;
}

Awaitable<error_code> Stream::wait_for(TlsSession::Wants wants) {
  const auto what = wants == TlsSession::Wants::to_read ? Socket::wait_read : Socket::wait_write;
  auto [error] = co_await socket_.async_wait(what, as_tuple);
  co_return error;
}

Awaitable<Transfer> Stream::read_tls(std::span<char> into) {
  if (since_pause_ >= kTurn) co_await give_way(0);
  while (true) {
    const TlsSession::Step step = tls_->read(into);
    received_ += step.size;
    since_pause_ += step.size;
    if (step.size > 0 || step.error) co_return Transfer{step.size > 0 ? error_code() : step.error, step.size};
    if (const error_code error = co_await wait_for(step.wants)) co_return Transfer{error, 0};
  }
}

Awaitable<error_code> Stream::write_record(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const TlsSession::Step step = tls_->write(bytes);
    sent_ += step.size;
    bytes = bytes.subspan(step.size);
    if (step.error) co_return step.error;
    if (step.wants == TlsSession::Wants::nothing) continue;
    if (const error_code error = co_await wait_for(step.wants)) co_return error;
  }
  co_return error_code();
}

// Small parts share a record: a head that comes in six would cost six of them.
Awaitable<error_code> Stream::write_tls(std::span<const asio::const_buffer> buffers) {
  std::string record;  // may hold a credential
  error_code error;
  const auto flush = [&]() -> Awaitable<void> {
    if (!record.empty() && !error) error = co_await write_record(record);
    broker::wipe(record);
    record.clear();
  };
  for (const auto& buffer : buffers) {
    const std::span<const char> part(static_cast<const char*>(buffer.data()), buffer.size());
    since_pause_ += part.size();
    if (part.size() > kSmall || record.size() + part.size() > kRecord) co_await flush();
    if (part.size() > kSmall) {
      if (!error) error = co_await write_record(part);
    } else {
      if (record.capacity() < kRecord) record.reserve(kRecord);  // so that it never moves
      record.append(part.data(), part.size());
    }
  }
  co_await flush();
  if (!error && since_pause_ >= kTurn) co_await give_way(0);
  co_return error;
}

Awaitable<void> Stream::give_way(std::size_t size) {
  since_pause_ += size;
  if (since_pause_ < kTurn) co_return;
  since_pause_ = 0;
  co_await asio::post(socket_.get_executor(), use_awaitable);
}

Awaitable<Transfer> Stream::read_some(std::span<char> into) {
  if (tls_) co_return co_await read_tls(into);
  const asio::mutable_buffer buffer(into.data(), into.size());
  if (since_pause_ >= kTurn) co_await give_way(0);
  auto [error, size] = co_await socket_.async_read_some(buffer, as_tuple);
  since_pause_ += size;
  received_ += size;
  co_return Transfer{error, size};
}

Awaitable<error_code> Stream::write(std::span<const asio::const_buffer> buffers) {
  if (tls_) co_return co_await write_tls(buffers);
  std::array<iovec, kMaxBuffers> vectors;
  std::size_t count = 0;
  std::size_t total = 0;
  for (const auto& buffer : buffers) {
    if (buffer.size() == 0) continue;
    vectors[count++] = {const_cast<void*>(buffer.data()), buffer.size()};
    total += buffer.size();
  }
  iovec* next = vectors.data();
  while (count > 0) {
    msghdr message{};
    message.msg_iov = next;
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (!would_block()) co_return last_error();
      auto [error] = co_await socket_.async_wait(Socket::wait_write, as_tuple);
      if (error) co_return error;
      continue;
    }
    auto left = static_cast<std::size_t>(sent);
    sent_ += left;
    while (count > 0 && left >= next->iov_len) {
      left -= next->iov_len;
      ++next;
      --count;
    }
    if (left > 0) {
      next->iov_base = static_cast<char*>(next->iov_base) + left;
      next->iov_len -= left;
    }
  }
  since_pause_ += total;
  if (since_pause_ >= kTurn) co_await give_way(0);
  co_return error_code();
}

bool Stream::holds_unread() const { return tls_ && tls_->holds_unread(); }

bool Stream::is_stale() {
  if (holds_unread()) return true;
  char byte = 0;
  const ssize_t size = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size >= 0 || !would_block();
}

std::uint64_t Stream::taken() {
  int waiting = 0;
  if (::ioctl(socket_.native_handle(), SIOCOUTQ, &waiting) != 0) waiting = 0;
  // TLS makes a little more of what was given to it.
  return sent_ - std::min<std::uint64_t>(sent_, static_cast<std::uint64_t>(std::max(waiting, 0)));
}

void Stream::cancel() {
  error_code ignored;
  socket_.cancel(ignored);
}

void Stream::abort() {
  error_code ignored;
  socket_.close(ignored);
}

void Stream::reset_when_closed(bool reset) {
  error_code ignored;
  socket_.set_option(Socket::linger(reset, 0), ignored);
}

void Stream::shutdown_send() {
  if (tls_) tls_->close();
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

}  // namespace mintfs::proxy
