// The view through a real kernel: what works, what is fresh, and that nobody delays anybody.
#include "mounted.h"

#include <atomic>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <set>
#include <thread>

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

namespace mintfs::fs {
namespace {

class MountTest : public Mounted {};

std::string read_whole(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool is_mounted(const std::filesystem::path& path) {
  return read_whole("/proc/self/mountinfo").find(" " + path.string() + " ") != std::string::npos;
}

TEST_F(MountTest, GivesOverlappingOpensDifferentTokens) {
  const File first(gitconfig()), second(gitconfig()), third(view_of(lease) / "git" / "config");
  const std::set<std::string> contents{first.content(), second.content(), third.content()};
  EXPECT_EQ(contents.size(), 3u);
  for (const auto& content : contents) EXPECT_TRUE(content.starts_with("# mintfs lease " + lease->id)) << content;
}

TEST_F(MountTest, IsOneSnapshotOfTheSizeItSays) {
  const File file(gitconfig());
  const std::string content = file.content();
  struct stat by_path {
  }, by_handle{};
  ASSERT_EQ(stat(gitconfig().c_str(), &by_path), 0);
  ASSERT_EQ(fstat(file.descriptor(), &by_handle), 0);
  EXPECT_EQ(by_path.st_size, static_cast<off_t>(content.size()));
  EXPECT_EQ(by_handle.st_size, by_path.st_size);
  for (const std::size_t step : {1, 3, 7, 64, 511, 512, 4095, 4096, 100000})
    EXPECT_EQ(file.content(step), content) << step;
  for (off_t offset = 0; offset < static_cast<off_t>(content.size()) + 20; offset += 17) {
    char part[40];
    const ssize_t size = pread(file.descriptor(), part, sizeof part, offset);
    ASSERT_GE(size, 0);
    const auto at = std::min(static_cast<std::size_t>(offset), content.size());
    EXPECT_EQ(std::string(part, static_cast<std::size_t>(size)), content.substr(at, sizeof part)) << offset;
  }
}

TEST_F(MountTest, IsLongerThanOneTransferAndStillWhole) {
  std::vector<std::string> repositories;
  for (int i = 0; i < 60; ++i) repositories.push_back("owner-with-a-long-name-" + std::to_string(i) + "/*");
  const auto large = broker.open(0, {"github"}, repositories);
  const File file(view_of(large) / ".gitconfig");
  const std::string content = file.content(1 << 20);
  EXPECT_GT(content.size(), 16u * 1024);
  EXPECT_EQ(content, file.content(1000));
  EXPECT_EQ(std::filesystem::file_size(view_of(large) / ".gitconfig"), content.size());
}

TEST_F(MountTest, ShowsTheModesOfDesign) {
  const auto theirs = broker.open(kOwner);
  struct stat root {
  }, directory{}, file{};
  ASSERT_EQ(stat(mountpoint.c_str(), &root), 0);
  ASSERT_EQ(stat(view_of(theirs).c_str(), &directory), 0);
  ASSERT_EQ(stat((view_of(theirs) / ".gitconfig").c_str(), &file), 0);
  EXPECT_EQ(root.st_mode, S_IFDIR | 0711u);
  EXPECT_EQ(directory.st_mode, S_IFDIR | 0500u);
  EXPECT_EQ(directory.st_uid, kOwner);
  EXPECT_EQ(file.st_mode, S_IFREG | 0400u);
  EXPECT_EQ(file.st_uid, kOwner);
}

TEST_F(MountTest, IsReadOnlyAndNosuidAndNodevAndNoexec) {
  const std::string mounts = read_whole("/proc/self/mountinfo");
  const auto at = mounts.find(" " + mountpoint.string() + " ");
  ASSERT_NE(at, std::string::npos);
  const std::string line = mounts.substr(at, mounts.find('\n', at) - at);
  for (const char* option : {" ro,", ",nosuid,", ",nodev,", ",noexec,", "fuse.mintfs mintfs", "allow_other"})
    EXPECT_NE(line.find(option), std::string::npos) << option << " in " << line;
  EXPECT_EQ(line.find("default_permissions"), std::string::npos);
}

// Each copies `$view` to `$copy` in its own way: read(2), copy_file_range, sendfile, mmap, io of its own.
TEST_F(MountTest, WorksWithTheToolsThatPeopleUse) {
  const auto copy = broker.directory.path() / "copy";
  const std::string prefix = "view=" + gitconfig().string() + " copy=" + copy.string() + "; exec 2>&1; ";
  const struct {
    const char* program;
    const char* command;
  } tools[] = {
      {"cat", "cat \"$view\" >\"$copy\""},
      {"cp", "cp \"$view\" \"$copy\""},
      {"install", "install -m 0600 \"$view\" \"$copy\""},
      {"dd", "dd if=\"$view\" of=\"$copy\" bs=11 status=none"},
      {"rsync", "rsync -c \"$view\" \"$copy\""},
      {"tar", "tar -C \"${view%/*}\" -c .gitconfig | tar -x -O >\"$copy\""},
      {"git", "git config -f \"$view\" --list >/dev/null && cat \"$view\" >\"$copy\""},
      {"curl", "curl -sS \"file://$view\" -o \"$copy\""},
      {"python3", "python3 -c 'import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])' \"$view\" \"$copy\""},
      {"node", "node -e 'require(\"fs\").copyFileSync(process.argv[1], process.argv[2])' \"$view\" \"$copy\""},
  };
  for (const auto& tool : tools) {
    if (std::system((std::string("command -v ") + tool.program + " >/dev/null 2>&1").c_str()) != 0) {
      ADD_FAILURE() << tool.program << " is missing; type: tools/setup --test";
      continue;
    }
    std::filesystem::remove(copy);
    EXPECT_EQ(std::system((prefix + tool.command).c_str()), 0) << tool.command;
    const std::string copied = read_whole(copy), fresh = File(gitconfig()).content();
    EXPECT_EQ(copied.size(), fresh.size()) << tool.command;
    EXPECT_NE(copied, fresh) << tool.command;
    EXPECT_TRUE(copied.starts_with("# mintfs lease ")) << tool.command;
  }
}

TEST_F(MountTest, WorksThroughBindMountsInAnotherNamespace) {
  const auto file = broker.directory.path() / "bound-file", directory = broker.directory.make("bound", 0711);
  std::ofstream(file).put('x');
  const auto inside = directory / ".gitconfig";
  EXPECT_EQ(
      result_as(0,
                [&] {
                  if (unshare(CLONE_NEWNS) != 0) return 1;
                  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 2;
                  if (::mount(gitconfig().c_str(), file.c_str(), nullptr, MS_BIND, nullptr) != 0) return 3;
                  if (::mount(view_of(lease).c_str(), directory.c_str(), nullptr, MS_BIND, nullptr) != 0) return 4;
                  if (::mount(nullptr, directory.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0)
                    return 5;
                  const File by_file(file), by_directory(inside);
                  const std::string one = by_file.content(), two = by_directory.content();
                  return one.size() == two.size() && one != two && one.starts_with("# mintfs") ? 0 : 6;
                }),
      0);
}

TEST_F(MountTest, MakesANewLeaseVisibleThoughItsNameWasLookedUpBefore) {
  const auto saved = broker.directory.path() / "saved";
  const auto stored = broker.directory.path() / "leases" / (lease->id + ".json");
  std::filesystem::copy_file(stored, saved);
  broker.close(lease);
  ASSERT_FALSE(std::filesystem::exists(gitconfig()));
  std::filesystem::copy_file(saved, stored);
  broker.leases.load(broker.keys, broker.clock.now(), [](const std::string& report) { ADD_FAILURE() << report; });
  ASSERT_FALSE(std::filesystem::exists(view_of(lease))) << "the kernel remembers that there was none";
  mount.lease_opened(lease);
  EXPECT_TRUE(std::filesystem::exists(gitconfig()));
}

TEST_F(MountTest, VanishesAtOnceWhenTheLeaseCloses) {
  const File open(gitconfig());
  const int directory = ::open(view_of(lease).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  ASSERT_TRUE(std::filesystem::exists(gitconfig()));
  broker.close(lease);
  struct stat ignored;
  EXPECT_EQ(stat(view_of(lease).c_str(), &ignored), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(openat(directory, ".gitconfig", O_RDONLY | O_CLOEXEC), -1);
  EXPECT_TRUE(errno == EACCES || errno == ENOENT) << errno;
  EXPECT_FALSE(open.content().empty()) << "an open handle stays the snapshot it was";
  ::close(directory);
}

TEST_F(MountTest, OfAClosedLeaseAnswersAccessDeniedWhereANodeIsStillCached) {
  const int file = ::open(gitconfig().c_str(), O_PATH | O_CLOEXEC);
  ASSERT_GE(file, 0);
  broker.close(lease);
  const std::string again = "/proc/self/fd/" + std::to_string(file);
  EXPECT_EQ(File(again).error(), EACCES);
  ::close(file);
}

TEST_F(MountTest, AnswersFiftyThreadsAtOnceEachWithItsOwnTokens) {
  constexpr int kThreads = 50, kOpens = 60;
  std::mutex mutex;
  std::multiset<std::string> contents;
  std::vector<std::thread> readers;
  for (int i = 0; i < kThreads; ++i)
    readers.emplace_back([&] {
      for (int n = 0; n < kOpens; ++n) {
        const File file(gitconfig());
        EXPECT_EQ(file.error(), 0) << "also the bound of handles must not be met by those closed already";
        const std::string content = file.content();
        const std::lock_guard lock(mutex);
        contents.insert(content);
      }
    });
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(contents.size(), std::size_t{kThreads * kOpens});
  EXPECT_EQ(std::set<std::string>(contents.begin(), contents.end()).size(), contents.size());
  EXPECT_FALSE(contents.contains(""));
}

TEST_F(MountTest, SurvivesLeasesThatComeAndGoWhileOthersLookThemUp) {
  std::atomic<bool> done{false};
  std::mutex mutex;
  std::filesystem::path newest = gitconfig();
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i)
    readers.emplace_back([&] {
      while (!done) {
        std::filesystem::path path;
        {
          const std::lock_guard lock(mutex);
          path = newest;
        }
        const File file(path);
        EXPECT_TRUE(file.error() == 0 || file.error() == ENOENT || file.error() == EACCES) << file.error();
        std::error_code ignored;
        for (const auto& entry : std::filesystem::directory_iterator(mountpoint, ignored)) ADD_FAILURE() << entry;
      }
    });
  for (int i = 0; i < 300; ++i) {
    const auto next = broker.open(0);
    {
      const std::lock_guard lock(mutex);
      newest = view_of(next) / ".gitconfig";
    }
    EXPECT_EQ(File(view_of(next) / ".gitconfig").error(), 0);
    broker.close(next);
    EXPECT_EQ(File(view_of(next) / ".gitconfig").error(), ENOENT);
  }
  done = true;
  for (auto& reader : readers) reader.join();
}

TEST_F(MountTest, IsNotDelayedByAReaderThatIsStopped) {
  const std::string path = gitconfig().string();
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    const int file = ::open(path.c_str(), O_RDONLY);
    if (pread(file, &byte, 1, 0) != 1) _exit(1);
    raise(SIGSTOP);
    _exit(pread(file, &byte, 1, 5) == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  for (int i = 0; i < 500; ++i) ASSERT_FALSE(File(gitconfig()).content().empty());
  kill(child, SIGCONT);
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "and it goes on where it was";
}

TEST_F(MountTest, IsNotDelayedByAProcessThatHoldsHandles) {
  std::vector<std::unique_ptr<File>> held;
  for (int i = 0; i < 200; ++i) held.push_back(std::make_unique<File>(gitconfig()));
  const auto other = broker.open(0);
  for (int i = 0; i < 500; ++i) ASSERT_FALSE(File(view_of(other) / ".gitconfig").content().empty());
  for (const auto& file : held) EXPECT_FALSE(file->content().empty());
}

TEST_F(MountTest, StopsWhileFilesAreOpenAndStartsAgain) {
  const File held(gitconfig());
  mount.stop();
  EXPECT_FALSE(mount.alive());
  EXPECT_FALSE(is_mounted(mountpoint));
  char byte;
  EXPECT_EQ(pread(held.descriptor(), &byte, 1, 0), -1);
  mount.stop();
  mount.start();
  EXPECT_TRUE(mount.alive());
  EXPECT_FALSE(File(gitconfig()).content().empty());
}

TEST_F(MountTest, ReplacesWhatAKilledDaemonLeft) {
  mount.stop();
  const auto mount_by_hand = [&] {
    const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
    const std::string options = "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0";
    EXPECT_EQ(::mount("mintfs", mountpoint.c_str(), "fuse.mintfs", MS_NOSUID | MS_NODEV, options.c_str()), 0);
    return device;
  };
  const int first = mount_by_hand(), second = mount_by_hand();  // one on top of the other
  ::close(first);
  ::close(second);
  struct stat ignored;
  ASSERT_EQ(stat((mountpoint / "x").c_str(), &ignored), -1);
  ASSERT_EQ(errno, ENOTCONN);
  mount.start();
  EXPECT_FALSE(File(gitconfig()).content().empty());
}

TEST_F(MountTest, TellsWhenSomebodyElseUnmountsIt) {
  std::promise<void> ended;
  const auto elsewhere = broker.directory.path() / "elsewhere";
  Mount other(broker.broker, elsewhere, {.on_exit = [&] { ended.set_value(); }});
  other.start();
  EXPECT_TRUE(other.alive());
  ASSERT_EQ(umount2(elsewhere.c_str(), MNT_DETACH), 0);
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_FALSE(other.alive());
  other.lease_closed(lease);  // nothing to tell any more, and no harm
  other.stop();
}

TEST_F(MountTest, WorksInAProcessThatCannotBeDumped) {
  mount.stop();
  const int before = prctl(PR_GET_DUMPABLE);
  ASSERT_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
  mount.start();
  EXPECT_FALSE(File(gitconfig()).content().empty());
  prctl(PR_SET_DUMPABLE, before);
}

TEST(MountStart, SaysWhatIsWrongWithTheMountpoint) {
  if (const std::string reason = why_not_mountable(); !reason.empty()) GTEST_SKIP() << reason;
  test::TestBroker broker;
  const auto root = broker.directory.path();
  std::ofstream(root / "file").put('x');
  std::ofstream(broker.directory.make("full", 0755) / "something").put('x');
  Mount first(broker.broker, root / "taken");
  first.start();
  const struct {
    const char* place;
    const char* sentence;
  } cases[] = {{"file", "is not a directory"},
               {"full", "is not empty; move its files away"},
               {"taken", "another FUSE file system is mounted"},
               {"file/below", "cannot use"}};
  for (const auto& each : cases) {
    Mount mount(broker.broker, root / each.place);
    try {
      mount.start();
      ADD_FAILURE() << each.place;
    } catch (const std::runtime_error& error) {
      EXPECT_NE(std::string(error.what()).find(each.sentence), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find((root / each.place).string()), std::string::npos) << error.what();
    }
    EXPECT_FALSE(mount.alive());
  }
}

}  // namespace
}  // namespace mintfs::fs
