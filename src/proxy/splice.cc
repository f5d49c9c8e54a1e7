#include "proxy/splice.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace mintfs::proxy {

std::unique_ptr<Pipe> Pipe::make() {
  std::unique_ptr<Pipe> pipe(new Pipe);
  if (::pipe2(pipe->descriptors_, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  ::fcntl(pipe->writer(), F_SETPIPE_SZ, kCapacity);  // a smaller one works as well
  return pipe;
}

Pipe::~Pipe() {
  for (const int descriptor : descriptors_)
    if (descriptor >= 0) ::close(descriptor);
}

std::unique_ptr<Pipe> PipePool::take() {
  if (kept_.empty()) return Pipe::make();
  auto pipe = std::move(kept_.back());
  kept_.pop_back();
  return pipe;
}

void PipePool::give_back(std::unique_ptr<Pipe> pipe) {
  if (pipe && kept_.size() < kKept) kept_.push_back(std::move(pipe));
}

Awaitable<RelayEnd> splice_body(Stream& source, Stream& sink, Pipe& pipe, std::uint64_t size,
                                const std::function<bool()>& may_go_on) {
  std::size_t held = 0;  // in the pipe
  while (size > 0 || held > 0) {
    // As much as is there goes in, as much as is taken comes out; one waits only when it must.
    if (size > 0 && held < Pipe::kMostHeld / 2) {
      const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(size, Pipe::kMostHeld - held));
      const ssize_t in = ::splice(source.socket().native_handle(), nullptr, pipe.writer(), nullptr, most,
                                  SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (in == 0) co_return RelayEnd::source_failed;
      if (in > 0) {
        held += static_cast<std::size_t>(in);
        source.count_received(static_cast<std::size_t>(in));
        size -= static_cast<std::size_t>(in);
      } else if (errno != EAGAIN && errno != EINTR) {
        co_return RelayEnd::source_failed;
      } else if (held == 0) {
        auto [error] = co_await source.socket().async_wait(Socket::wait_read, as_tuple);
        if (error) co_return RelayEnd::source_failed;
        continue;
      }
    }
    const ssize_t out = ::splice(pipe.reader(), nullptr, sink.socket().native_handle(), nullptr, held,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (out > 0) {
      held -= static_cast<std::size_t>(out);
      sink.count_sent(static_cast<std::size_t>(out));
      co_await sink.give_way(static_cast<std::size_t>(out));
      if (!may_go_on()) co_return RelayEnd::source_failed;
    } else if (out == 0 || (errno != EAGAIN && errno != EINTR)) {
      co_return RelayEnd::sink_failed;
    } else {
      auto [error] = co_await sink.socket().async_wait(Socket::wait_write, as_tuple);
      if (error) co_return RelayEnd::sink_failed;
    }
  }
  co_return RelayEnd::complete;
}

}  // namespace mintfs::proxy
