#include "broker/cgroup.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

TEST(Cgroup, IsReadAsTheKernelWritesIt) {
  const auto second = Cgroup::parse("/ci.slice/job-42.scope");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->hierarchy, "");
  EXPECT_EQ(second->path, "/ci.slice/job-42.scope");
  EXPECT_EQ(second->text(), "/ci.slice/job-42.scope");
  const auto first = Cgroup::parse("name=systemd:/job");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->hierarchy, "name=systemd");
  EXPECT_EQ(first->text(), "name=systemd:/job");
}

TEST(Cgroup, ThatAdmitsEverybodyOrNobodyKnowsWhomIsRefused) {
  for (const char* text : {"", "/", "pids:/", "job", "pids:job", "pids/job", "/job/", "/a//b", "/../outside", "/a/./b",
                           "/a b", "/a\nb", "a:b:/job"})
    EXPECT_FALSE(Cgroup::parse(text)) << text;
  EXPECT_FALSE(Cgroup::parse("/" + std::string(2000, 'a')));
}

// In a /proc of the test's own, whose "cgroup" is a pipe: between its opening and its end is_in() has looked at the
// start time once, and looks at it again behind that.
TEST(IsInACgroup, NoticesANumberThatIsAnotherThreadsMeanwhile) {
  const test::TempDir proc;
  const auto thread = proc.make("77", 0700);
  ASSERT_EQ(mkfifo((thread / "cgroup").c_str(), 0600), 0);
  const auto set_start = [&](int time) {
    std::ofstream stat(thread / "stat");
    stat << "77 (git) S";
    for (int field = 4; field < 22; ++field) stat << " 0";
    stat << ' ' << time << " 0\n";
  };
  const auto is_in_while = [&](const std::function<void()>& act) {
    set_start(100);
    std::thread kernel([&] {
      std::ofstream cgroup(thread / "cgroup");
      act();
      cgroup << "0::/job\n";
    });
    const bool inside = is_in(77, Cgroup{.hierarchy = "", .path = "/job", .id = 0}, proc.path().c_str());
    kernel.join();
    return inside;
  };
  EXPECT_TRUE(is_in_while([] {}));
  EXPECT_FALSE(is_in_while([&] { set_start(200); }));
  EXPECT_FALSE(is_in_while([&] { std::filesystem::remove(thread / "stat"); }));
}

// A group of version 2 that the test makes, and a process in it.
class InACgroup : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* root : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}) {
      directory = std::filesystem::path(root) / ("mintfs-test-" + std::to_string(getpid()));
      if (std::filesystem::exists(std::filesystem::path(root) / "cgroup.procs") &&
          mkdir(directory.c_str(), 0755) == 0 && mkdir((directory / "below").c_str(), 0755) == 0)
        return;
    }
    directory.clear();
    GTEST_SKIP() << "needs root and a writable hierarchy of version 2";
  }
  void TearDown() override {
    for (const pid_t pid : children) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    if (directory.empty()) return;
    rmdir((directory / "below").c_str());
    rmdir(directory.c_str());
  }
  pid_t child_in(const std::filesystem::path& group) {
    const pid_t pid = fork();
    if (pid == 0) {
      pause();
      _exit(0);
    }
    children.push_back(pid);
    if (!group.empty()) std::ofstream(group / "cgroup.procs") << pid;
    return pid;
  }

  std::filesystem::path directory;
  std::vector<pid_t> children;
};

TEST_F(InACgroup, AProcessIsFoundThereAndBelow) {
  const pid_t inside = child_in(directory), below = child_in(directory / "below"), outside = child_in({});
  const auto group = cgroup_of(inside);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->path.ends_with(directory.filename().string())) << group->path;
  EXPECT_TRUE(is_in(inside, *group));
  EXPECT_TRUE(is_in(below, *group));
  EXPECT_FALSE(is_in(outside, *group));
  EXPECT_FALSE(is_in(inside, *cgroup_of(below))) << "above is outside";
}

TEST_F(InACgroup, WhoCannotBeSeenIsOutside) {
  const pid_t inside = child_in(directory);
  const auto group = cgroup_of(inside);
  ASSERT_TRUE(group);
  EXPECT_FALSE(is_in(0, *group));
  kill(inside, SIGKILL);
  waitpid(inside, nullptr, 0);
  children.clear();
  EXPECT_FALSE(is_in(inside, *group));
}

TEST_F(InACgroup, ANameThatOnlyBeginsAlikeIsAnother) {
  const pid_t inside = child_in(directory);
  auto group = cgroup_of(inside);
  ASSERT_TRUE(group);
  group->id = 0;
  EXPECT_TRUE(is_in(inside, *group)) << "by its path, where the kernel cannot tell a number";
  group->path.pop_back();
  EXPECT_FALSE(is_in(inside, *group));
}

}  // namespace
}  // namespace mintfs::broker
