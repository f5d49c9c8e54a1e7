#include "broker/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

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
