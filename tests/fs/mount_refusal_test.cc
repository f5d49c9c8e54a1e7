// The view through a real kernel: who gets nothing, and what cannot be done.
#include "mounted.h"

#include <memory>
#include <vector>

#include <dirent.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

namespace mintfs::fs {
namespace {

class MountRefusalTest : public Mounted {
 protected:
  void SetUp() override {
    Mounted::SetUp();
    if (lease) theirs = broker.open(kOwner);
  }
  std::filesystem::path their_file() const { return view_of(theirs) / ".gitconfig"; }
  broker::LeasePtr theirs;
};

TEST_F(MountRefusalTest, OpensForTheOwnerOnly) {
  EXPECT_EQ(open_error_as(kOwner, their_file()), 0);
  EXPECT_EQ(open_error_as(kOwner, view_of(theirs) / "git" / "config"), 0);
  for (const uid_t other : {kOther, uid_t{0}, uid_t{65534}}) {
    EXPECT_EQ(open_error_as(other, their_file()), EACCES) << other;
    EXPECT_EQ(open_error_as(other, view_of(theirs) / "git" / "config"), EACCES) << other;
  }
}

TEST_F(MountRefusalTest, ListsNobodysLeases) {
  const std::filesystem::path places[] = {mountpoint, view_of(theirs), view_of(theirs) / "git"};
  // What `uid` can list of `place`, without "." and ".."; 200 + errno when it cannot be opened.
  const auto listed = [](uid_t uid, const std::filesystem::path& place) {
    return result_as(uid, [&] {
      DIR* const directory = opendir(place.c_str());
      if (directory == nullptr) return 200 + errno;
      int entries = -2;
      while (readdir(directory) != nullptr) ++entries;
      closedir(directory);
      return entries;
    });
  };
  EXPECT_EQ(listed(0, places[0]), 0) << "empty to root, who may open it";
  for (const uid_t uid : {kOwner, kOther}) EXPECT_EQ(listed(uid, places[0]), 200 + EACCES) << uid;
  EXPECT_EQ(listed(kOwner, places[1]), 2);
  EXPECT_EQ(listed(kOwner, places[2]), 1);
  for (const uid_t uid : {uid_t{0}, kOther}) {
    EXPECT_EQ(listed(uid, places[1]), 200 + EACCES) << uid;
    EXPECT_EQ(listed(uid, places[2]), 200 + EACCES) << uid;
  }
}

TEST_F(MountRefusalTest, ReadsForTheOpenersUidOnly) {
  const File mine(gitconfig());
  const int error = result_as(kOther, [&] {
    char byte;
    return pread(mine.descriptor(), &byte, 1, 0) < 0 ? errno : 0;
  });
  EXPECT_EQ(error, EACCES) << "a handle that another user was given or inherited";
  const int own = result_as(0, [&] {
    char byte;
    return pread(mine.descriptor(), &byte, 1, 0) < 0 ? errno : 0;
  });
  EXPECT_EQ(own, 0) << "the same user's other process may";
}

TEST_F(MountRefusalTest, GivesNothingThroughThePageCache) {
  const File file(gitconfig());
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), 0);
  off_t offset = 0;
  EXPECT_EQ(sendfile(pipe_ends[1], file.descriptor(), &offset, 4096), -1);
  EXPECT_EQ(errno, EIO);
  off64_t from = 0;
  EXPECT_EQ(splice(file.descriptor(), &from, pipe_ends[1], nullptr, 4096, 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(-result_as(0,
                       [&] {
                         signal(SIGBUS, SIG_DFL);
                         const void* mapped = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
                         return mapped == MAP_FAILED ? 1 : *static_cast<const volatile char*>(mapped);
                       }),
            SIGBUS);
  void* const shared = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  EXPECT_EQ(shared, MAP_FAILED);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);

  const std::string after = file.content();
  EXPECT_TRUE(after.starts_with("# mintfs lease ")) << "a plain read still works";
  const File next(gitconfig());
  EXPECT_NE(next.content(), after) << "and nothing of it was kept for the next";
  EXPECT_EQ(sendfile(STDOUT_FILENO, next.descriptor(), &offset, 1), -1);
}

// What a process could do to change something. Each gives 0 or -1 with errno.
struct Change {
  const char* name;
  int (*attempt)(const std::filesystem::path& view);
};

const Change kChanges[] = {
    {"open for writing", [](const auto& view) { return ::open((view / ".gitconfig").c_str(), O_WRONLY); }},
    {"open for both", [](const auto& view) { return ::open((view / ".gitconfig").c_str(), O_RDWR); }},
    {"open and truncate", [](const auto& view) { return ::open((view / ".gitconfig").c_str(), O_RDONLY | O_TRUNC); }},
    {"create", [](const auto& view) { return ::open((view / "new").c_str(), O_WRONLY | O_CREAT, 0600); }},
    {"lock file of git",
     [](const auto& view) { return ::open((view / ".gitconfig.lock").c_str(), O_RDWR | O_CREAT | O_EXCL, 0666); }},
    {"create a lease", [](const auto& view) { return mkdir((view.parent_path() / "new").c_str(), 0700); }},
    {"truncate", [](const auto& view) { return truncate((view / ".gitconfig").c_str(), 0); }},
    {"unlink", [](const auto& view) { return unlink((view / ".gitconfig").c_str()); }},
    {"rename", [](const auto& view) { return rename((view / ".gitconfig").c_str(), (view / "other").c_str()); }},
    {"link", [](const auto& view) { return link((view / ".gitconfig").c_str(), (view / "other").c_str()); }},
    {"symlink", [](const auto& view) { return symlink("/etc/passwd", (view / "other").c_str()); }},
    {"mkdir", [](const auto& view) { return mkdir((view / "other").c_str(), 0700); }},
    {"rmdir", [](const auto& view) { return rmdir((view / "git").c_str()); }},
    {"rmdir the lease", [](const auto& view) { return rmdir(view.c_str()); }},
    {"mknod", [](const auto& view) { return mknod((view / "other").c_str(), S_IFIFO | 0600, 0); }},
    {"chmod", [](const auto& view) { return chmod((view / ".gitconfig").c_str(), 0444); }},
    {"chmod the lease", [](const auto& view) { return chmod(view.c_str(), 0777); }},
    {"chown", [](const auto& view) { return chown((view / ".gitconfig").c_str(), 1, 1); }},
    {"utimes", [](const auto& view) { return utimensat(AT_FDCWD, (view / ".gitconfig").c_str(), nullptr, 0); }},
    {"setxattr", [](const auto& view) { return setxattr((view / ".gitconfig").c_str(), "user.x", "y", 1, 0); }},
    {"removexattr", [](const auto& view) { return removexattr((view / ".gitconfig").c_str(), "user.x"); }},
};

TEST_F(MountRefusalTest, ChangesNothing) {
  for (const auto& change : kChanges) {
    EXPECT_EQ(change.attempt(view_of(lease)), -1) << change.name;
    EXPECT_TRUE(errno == EROFS || errno == EACCES) << change.name << ": " << errno;
  }
}

TEST_F(MountRefusalTest, ChangesNothingEvenWhenRootRemountsItWritable) {
  ASSERT_EQ(::mount(nullptr, mountpoint.c_str(), nullptr, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr), 0);
  for (const auto& change : kChanges) {
    EXPECT_EQ(change.attempt(view_of(lease)), -1) << change.name;
    EXPECT_TRUE(errno == EROFS || errno == EACCES) << change.name << ": " << errno;
  }
}

TEST_F(MountRefusalTest, HasNoExtendedAttributes) {
  char value[16];
  EXPECT_EQ(getxattr(gitconfig().c_str(), "security.capability", value, sizeof value), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(MountRefusalTest, BoundsOpenHandlesAndRecovers) {
  std::vector<std::unique_ptr<File>> held;
  for (std::uint32_t i = 0; i < kMaxHandlesPerLease; ++i) {
    held.push_back(std::make_unique<File>(gitconfig()));
    ASSERT_EQ(held.back()->error(), 0) << i;
  }
  EXPECT_EQ(File(gitconfig()).error(), EMFILE);
  EXPECT_EQ(open_error_as(kOwner, their_file()), 0);
  held.clear();
  // The kernel sends RELEASE after close(2) has returned, but before what is asked later.
  int error = EMFILE;
  for (int attempt = 0; attempt < 1000 && error != 0; ++attempt) error = File(gitconfig()).error();
  EXPECT_EQ(error, 0);
}

}  // namespace
}  // namespace mintfs::fs
