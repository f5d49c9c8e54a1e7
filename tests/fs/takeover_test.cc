// The mount outlives who serves it: what a successor finds and takes up.
#include "fs/handshake.h"
#include "mounted.h"

#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <string>

#include <poll.h>
#include <sys/stat.h>

namespace mintfs::fs {
namespace {

// A first mount whose descriptors are kept, as mintfs-keeper keeps them.
class Takeover : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = why_not_mountable(); !reason.empty()) GTEST_SKIP() << reason;
    first = std::make_unique<Mount>(broker.broker, mountpoint, Mount::Options{.keep = [this](int device, int memory) {
                                      fuse = fcntl(device, F_DUPFD_CLOEXEC, 0);
                                      state = fcntl(memory, F_DUPFD_CLOEXEC, 0);
                                    }});
    ASSERT_FALSE(first->start());
    lease = broker.open(0);
  }
  void TearDown() override {
    first.reset();
    if (second) second->stop();
    if (fuse >= 0) ::close(fuse);
    if (state >= 0) ::close(state);
  }

  Mount::Inherited inherited() const {
    return {.fuse = fcntl(fuse, F_DUPFD_CLOEXEC, 0), .state = fcntl(state, F_DUPFD_CLOEXEC, 0)};
  }
  bool start_second(Mount::Options options = {}) {
    options.inherited = inherited();
    second = std::make_unique<Mount>(broker.broker, mountpoint, std::move(options));
    return second->start();
  }
  std::filesystem::path gitconfig() const { return mountpoint / lease->id / ".gitconfig"; }

  // Reads the file in another process, which may wait for an answer in the kernel for good.
  std::future<std::string> read_elsewhere() {
    return std::async(std::launch::async, [path = gitconfig()] { return File(path).content(); });
  }
  // Takes the next request out of the kernel and answers it never: a daemon that is killed right then.
  std::string steal_request() {
    pollfd waiting{.fd = fuse, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 20'000) != 1) return {};
    std::string request(SharedState::kMaxRequest, '\0');
    const ssize_t size = ::read(fuse, request.data(), request.size());
    request.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return request;
  }

  test::TestBroker broker;
  std::filesystem::path mountpoint = broker.directory.path() / "fs";
  std::unique_ptr<Mount> first, second;
  broker::LeasePtr lease;
  int fuse = -1, state = -1;
};

bool is_soon(std::future<std::string>& result) {
  return result.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
}

TEST_F(Takeover, LeavesTheMountAndItsNodesAsTheyWere) {
  struct stat before, after;
  ASSERT_EQ(stat(gitconfig().c_str(), &before), 0);
  first->leave();
  EXPECT_FALSE(first->alive());
  EXPECT_TRUE(start_second()) << "no new mount";
  ASSERT_EQ(stat(gitconfig().c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(before.st_dev, after.st_dev);
  EXPECT_FALSE(File(gitconfig()).content().empty());
}

TEST_F(Takeover, ServesTheSnapshotsThatAreOpen) {
  const File held(gitconfig());
  const std::string content = held.content();
  first->leave();
  start_second();
  EXPECT_EQ(held.content(), content);
  EXPECT_EQ(held.content(7), content) << "in parts as well";
  EXPECT_NE(File(gitconfig()).content(), content);
}

TEST_F(Takeover, KeepsReadersWaitingUntilSomebodyAnswers) {
  first->leave();
  auto reader = read_elsewhere();
  EXPECT_EQ(reader.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  start_second();
  ASSERT_TRUE(is_soon(reader));
  EXPECT_FALSE(reader.get().empty());
}

TEST_F(Takeover, AnswersTheRequestInTheMiddleOfWhichTheFirstWasKilled) {
  first->leave();
  auto reader = read_elsewhere();
  ASSERT_FALSE(steal_request().empty());
  start_second();
  ASSERT_TRUE(is_soon(reader));
  EXPECT_FALSE(reader.get().empty());
}

// Where the kernel does not send again: what was read last stands in the state.
TEST_F(Takeover, FindsThatRequestInTheStateWhereTheKernelDoesNotSendItAgain) {
  first->leave();
  auto reader = read_elsewhere();
  const std::string request = steal_request();
  ASSERT_FALSE(request.empty());
  {
    const auto memory = SharedState::adopt(fcntl(state, F_DUPFD_CLOEXEC, 0));
    request.copy(memory->request().data(), request.size());
  }
  start_second({.resend = false});
  ASSERT_TRUE(is_soon(reader));
  EXPECT_FALSE(reader.get().empty());
}

TEST_F(Takeover, DoesNotAnswerTwiceWhatWasAnswered) {
  EXPECT_FALSE(File(gitconfig()).content().empty());
  const auto minted = broker.broker.minted();
  first->leave();
  start_second({.resend = false});
  EXPECT_EQ(broker.broker.minted(), minted);
}

TEST_F(Takeover, TakesUpWhatAnotherServedMeanwhile) {
  const File before(gitconfig());
  const std::string content = before.content();
  first->pause();
  start_second();
  const File meanwhile(gitconfig());
  const std::string theirs = meanwhile.content();
  second->leave();  // it failed, say
  first->resume();
  EXPECT_EQ(before.content(), content);
  EXPECT_EQ(meanwhile.content(), theirs);
  EXPECT_FALSE(File(gitconfig()).content().empty());
}

TEST_F(Takeover, MountsAnewWhereTheConnectionIsDead) {
  first->stop();
  EXPECT_FALSE(start_second());
  EXPECT_FALSE(File(gitconfig()).content().empty());
}

TEST_F(Takeover, MountsAnewWhereTheStateIsOfAnotherVersion) {
  const std::uint64_t other = ~std::uint64_t{0};
  ASSERT_EQ(pwrite(state, &other, sizeof other, kMaxInit), 8);
  first->leave();  // the connection lives on, and nobody will ever answer in it
  EXPECT_FALSE(start_second());
  EXPECT_FALSE(File(gitconfig()).content().empty());
}

TEST_F(Takeover, GoesOnThoughAWorkingDirectoryIsInTheView) {
  const int directory = ::open((mountpoint / lease->id).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(directory, 0);
  first->leave();
  start_second();
  const int file = openat(directory, ".gitconfig", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(file, 0);
  ::close(file);
  ::close(directory);
}

TEST(Handshake, IsDoneOnceByWhoeverOutlivesTheDaemon) {
  if (const std::string reason = why_not_mountable(); !reason.empty()) GTEST_SKIP() << reason;
  test::TestBroker broker;
  bool told = false;
  Mount mount(broker.broker, broker.directory.path() / "fs",
              {.keep =
                   [&](int fuse, int state) {
                     std::array<char, kMaxInit> request{};
                     ASSERT_EQ(exchange_init(fuse, request), 0);
                     ASSERT_EQ(pwrite(state, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
                     told = true;
                   },
               .keeper_exchanges = true});
  mount.start();
  EXPECT_TRUE(told);
  const auto lease = broker.open(0);
  EXPECT_FALSE(File(broker.directory.path() / "fs" / lease->id / ".gitconfig").content().empty());
}

TEST(Handshake, ThatNobodyDoesIsAnErrorAndLeavesNoMount) {
  if (const std::string reason = why_not_mountable(); !reason.empty()) GTEST_SKIP() << reason;
  test::TestBroker broker;
  const auto mountpoint = broker.directory.path() / "fs";
  Mount mount(broker.broker, mountpoint, {.keep = [](int, int) {}, .keeper_exchanges = true});
  EXPECT_THROW(mount.start(), std::runtime_error);
  std::ifstream table("/proc/self/mountinfo");
  const std::string all((std::istreambuf_iterator<char>(table)), {});
  EXPECT_EQ(all.find(mountpoint.string()), std::string::npos);
}

}  // namespace
}  // namespace mintfs::fs
