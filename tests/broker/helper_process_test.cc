#include "broker/helper_process.h"
#include "broker/process_watch.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// A process that waits.
struct WaitForEnd : testing::Test {
  WaitForEnd() {
    if (child == 0) {
      while (true) ::pause();
    }
  }
  ~WaitForEnd() override { end(); }
  void end() {
    if (child <= 0) return;
    ::kill(child, SIGKILL);
    ::waitpid(std::exchange(child, 0), nullptr, 0);
  }
  void begin(std::uint64_t start_time) {
    asio::co_spawn(context, wait_for_end(context, child, start_time, 600s), [this](auto) { returned = true; });
  }

  pid_t child = ::fork();
  asio::io_context context;
  asio::steady_timer first{context};  // with it comes what the context needs descriptors for
  bool returned = false;
};

// Until its end this process opens nothing more.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(lowest);
    const rlimit none{static_cast<rlim_t>(lowest), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST_F(WaitForEnd, ReturnsWhenTheProcessHasEnded) {
  begin(process_start_time(child));
  context.poll();
  EXPECT_FALSE(returned);
  end();
  context.run();
  EXPECT_TRUE(returned);
}

TEST_F(WaitForEnd, ReturnsAtOnceForAnotherOfThatNumber) {
  begin(process_start_time(child) + 1);
  context.run();
  EXPECT_TRUE(returned);
}

TEST_F(WaitForEnd, WaitsAlsoWhereNoDescriptorIsLeft) {
  const std::uint64_t started = process_start_time(child);
  const NoDescriptors none;
  ASSERT_EQ(process_start_time(child), 0u);
  begin(started);
  context.run_one();
  context.poll();
  EXPECT_FALSE(returned) << "it may still store";
  end();
  context.run();
  EXPECT_TRUE(returned);
}

}  // namespace
}  // namespace mintfs::broker
