#include "broker/readiness.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

// One end is watched, the test has the other.
struct Pair {
  explicit Pair(asio::io_context& context) : watched(context) {
    std::array<int, 2> ends;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
    watched.assign(ends[0]);
    ours = ends[1];
  }
  ~Pair() { ::close(ours); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  void write() const { EXPECT_EQ(::write(ours, "x", 1), 1); }

  Descriptor watched;
  int ours;
};

class Readiness : public testing::Test {
 protected:
  void wait() { asio::co_spawn(context_, wait_for(*pair_), asio::detached); }
  asio::awaitable<void> wait_for(Pair& pair) { outcome_ = co_await wait_readable(pair.watched); }

  asio::io_context context_{1};
  std::optional<Pair> pair_{std::in_place, context_};
  std::optional<boost::system::error_code> outcome_;
};

TEST_F(Readiness, ComesWithAByteAndWithTheEnd) {
  wait();
  context_.poll();
  EXPECT_FALSE(outcome_);
  pair_->write();
  context_.run();
  EXPECT_EQ(outcome_, boost::system::error_code());

  outcome_.reset();
  pair_.emplace(context_);
  wait();
  context_.restart();
  ::shutdown(pair_->ours, SHUT_WR);
  context_.run();
  EXPECT_EQ(outcome_, boost::system::error_code());
}

TEST_F(Readiness, EndsWithItsDescriptor) {
  wait();
  context_.poll();
  pair_->watched.close();
  context_.run();
  EXPECT_EQ(outcome_, asio::error::operation_aborted);
}

TEST_F(Readiness, IsNotTakenFromAnEventOfADescriptorThatIsGone) {
  pair_.reset();
  // Both are readable in one batch of events; who is told first closes the other, whose event is queued.
  std::array<Pair, 2> both{Pair(context_), Pair(context_)};
  bool first = true;
  for (std::size_t i = 0; i < both.size(); ++i)
    both[i].watched.async_wait(Descriptor::wait_read, [&, i](const boost::system::error_code&) {
      if (!std::exchange(first, false)) return;
      both[1 - i].watched.close();
      pair_.emplace(context_);
      wait();
    });
  for (const Pair& each : both) each.write();
  context_.poll();
  ASSERT_TRUE(pair_);
  EXPECT_FALSE(outcome_) << "nothing can be read";
  pair_->write();
  context_.run();
  EXPECT_EQ(outcome_, boost::system::error_code());
}

}  // namespace
}  // namespace mintfs::broker
