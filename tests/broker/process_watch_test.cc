#include "broker/process_watch.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <thread>

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {
std::atomic<bool> epoll_is_full{false};
}

// In place of the C library's: its bound (/proc/sys/fs/epoll/max_user_watches) is the whole machine's.
extern "C" int epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event) noexcept {
  if (epoll_is_full && operation == EPOLL_CTL_ADD) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, descriptor, event));
}

namespace mintfs::broker {
namespace {

constexpr std::chrono::seconds kDeadline{20};

// A process that lives until it is told to end.
class Child {
 public:
  Child() {
    if (::pipe(pipe_) != 0) throw std::runtime_error("pipe failed");
    pid_ = ::fork();
    if (pid_ == 0) {
      char byte;
      ::close(pipe_[1]);
      while (::read(pipe_[0], &byte, 1) > 0) continue;
      ::_exit(0);
    }
    ::close(pipe_[0]);
  }
  ~Child() { reap(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void end() {
    if (pipe_[1] >= 0) ::close(pipe_[1]);
    pipe_[1] = -1;
  }
  void reap() {
    end();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  int pipe_[2] = {-1, -1};
  pid_t pid_ = -1;
};

class ProcessWatchTest : public testing::Test {
 protected:
  LeasePtr open(std::optional<pid_t> pid) {
    LeaseRequest request;
    request.connectors = {"github"};
    request.pid = pid;
    return broker_.broker.open_lease({}, request).value();
  }
  bool is_open(const LeasePtr& lease) { return broker_.broker.find_lease(lease->id) != nullptr; }

  Child child_;  // forked before there is any thread
  test::TestBroker broker_;
  boost::asio::io_context context_{1};
  ProcessWatch watch_{context_, broker_.broker};
};

TEST_F(ProcessWatchTest, ClosesALeaseAtTheEndOfItsProcess) {
  broker_.broker.observe(watch_);
  const LeasePtr bound = open(child_.pid()), free = open(std::nullopt);
  context_.poll();
  EXPECT_TRUE(is_open(bound));
  child_.end();
  context_.run_for(kDeadline);
  EXPECT_FALSE(is_open(bound));
  EXPECT_TRUE(is_open(free));
}

TEST_F(ProcessWatchTest, LetsGoOfALeaseThatIsClosed) {
  broker_.broker.observe(watch_);
  const LeasePtr lease = open(child_.pid());
  context_.poll();
  std::thread([&] { broker_.close(lease); }).join();
  context_.run_for(kDeadline);
  EXPECT_TRUE(context_.stopped()) << "nothing waits any more though the process lives";
}

TEST_F(ProcessWatchTest, DoesNotWatchALeaseThatWasClosedInTheMeantime) {
  const LeasePtr lease = open(child_.pid());
  broker_.close(lease);
  watch_.lease_closed(lease);  // the other thread's word comes through first
  watch_.lease_opened(lease);
  context_.run_for(kDeadline);
  EXPECT_TRUE(context_.stopped());
}

TEST_F(ProcessWatchTest, AdoptsTheLeasesOfAnEarlierDaemon) {
  const LeasePtr lease = open(child_.pid());
  watch_.adopt();
  context_.poll();
  EXPECT_TRUE(is_open(lease));
  child_.end();
  context_.run_for(kDeadline);
  EXPECT_FALSE(is_open(lease));
}

TEST_F(ProcessWatchTest, ClosesAtOnceWhatIsBoundToAProcessThatIsGone) {
  const LeasePtr lease = open(child_.pid());
  child_.reap();
  watch_.adopt();
  EXPECT_FALSE(is_open(lease));
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

TEST_F(ProcessWatchTest, ClosesALeaseWhoseProcessCannotBeWatched) {
  const LeasePtr lease = open(child_.pid());
  const boost::asio::posix::stream_descriptor first(context_);  // makes the epoll instance
  const std::size_t before = open_descriptors();
  epoll_is_full = true;
  EXPECT_NO_THROW(watch_.adopt());
  epoll_is_full = false;
  EXPECT_FALSE(is_open(lease)) << "what cannot be watched is taken for ended";
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ProcessWatchTest, IsNotMisledByAReusedPid) {
  const LeasePtr lease = open(child_.pid());
  Lease earlier = *lease;
  broker_.close(lease);
  earlier.process.start_time -= 1;
  const LeasePtr stale = broker_.leases.add(earlier, 100).value();
  watch_.adopt();
  EXPECT_FALSE(is_open(stale));
}

TEST(ProcessStartTime, IsReadBehindAnyProgramName) {
  const std::uint64_t before = process_start_time(::getpid());
  EXPECT_GT(before, 0u);
  char name[16];
  ASSERT_EQ(::prctl(PR_GET_NAME, name), 0);
  ASSERT_EQ(::prctl(PR_SET_NAME, "a) R 1 (2 3"), 0);
  EXPECT_EQ(process_start_time(::getpid()), before);
  ::prctl(PR_SET_NAME, name);
}

TEST(ProcessStartTime, IsZeroWhereThereIsNoProcess) { EXPECT_EQ(process_start_time(2'147'483'647), 0u); }

}  // namespace
}  // namespace mintfs::broker
