#include "broker/instance.h"

#include "parts.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>

namespace mintfs::broker {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kKey = "daemon.state_dir";

std::string refusal(const std::filesystem::path& directory) {
  try {
    const InstanceLock lock(directory, 0700, kKey);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return {};
}

TEST(InstanceLock, MakesItsDirectoryWithTheModeAndKeepsAnOldOne) {
  const test::TempDir directory;
  const auto made = directory.path() / "above" / "made", old = directory.make("old", 0750);
  const InstanceLock first(made, 0711, kKey), second(old, 0711, kKey);
  EXPECT_EQ(test::mode_of(made), 0711u);
  EXPECT_EQ(test::mode_of(old), 0750u);
  EXPECT_EQ(test::mode_of(made / "lock"), 0600u);
  EXPECT_EQ(test::read_file(made / "lock"), std::to_string(getpid()));
}

TEST(InstanceLock, IsHeldByOneAtATimeAndNamesWho) {
  const test::TempDir directory;
  {
    const InstanceLock lock(directory.path(), 0700, kKey);
    EXPECT_THAT(refusal(directory.path()), AllOf(HasSubstr("another mintfsd (process " + std::to_string(getpid()) +
                                                           ") serves " + directory.path().string()),
                                                 HasSubstr("stop it or choose another daemon.state_dir")));
  }
  EXPECT_EQ(refusal(directory.path()), "");
}

TEST(InstanceLock, NamesTheVariableThatWouldGiveADefault) {
  EXPECT_THAT(refusal({}), AllOf(HasSubstr("daemon.state_dir has no default, since HOME "), HasSubstr("mintfs.toml")));
  EXPECT_THAT([] { const InstanceLock lock({}, 0711, "daemon.runtime_dir"); },
              testing::ThrowsMessage<std::runtime_error>(HasSubstr("since XDG_RUNTIME_DIR ")));
}

TEST(InstanceLock, RefusesADirectoryThatIsNotItsOwn) {
  const test::TempDir directory;
  const auto file = directory.path() / "file", link = directory.path() / "link", real = directory.make("real", 0700);
  test::write_file(file, "");
  std::filesystem::create_directory_symlink(real, link);
  for (const auto& path : {file, link})
    EXPECT_THAT(refusal(path), HasSubstr(path.string() + " is not a directory of the daemon's own user"));
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(real.c_str(), 4001, 4001), 0);
  EXPECT_THAT(refusal(real), HasSubstr("is not a directory of the daemon's own user; correct daemon.state_dir"));
}

TEST(InstanceLock, DoesNotFollowALinkInItsPlace) {
  const test::TempDir directory;
  const auto victim = directory.path() / "victim", own = directory.make("own", 0700);
  test::write_file(victim, "precious");
  std::filesystem::create_symlink(victim, own / "lock");
  EXPECT_THAT(refusal(own), HasSubstr("cannot use the directory " + own.string()));
  EXPECT_EQ(test::read_file(victim), "precious");
}

TEST(InstanceLock, SaysWhatToDoAboutAFullOrReadOnlyDisk) {
  const test::TempDir directory;
  const test::SmallDisk disk(directory.path());
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  disk.fill();
  EXPECT_THAT(refusal(directory.path()),
              AllOf(HasSubstr("No space left"), HasSubstr("make room there or choose another daemon.state_dir")));
  disk.make_room();
  EXPECT_EQ(refusal(directory.path()), "") << "the failed one holds no lock";
  ASSERT_TRUE(disk.make_read_only());
  for (const auto& path : {directory.path(), directory.path() / "below"})
    EXPECT_THAT(refusal(path), AllOf(HasSubstr("Read-only"), HasSubstr("correct daemon.state_dir"))) << path;
}

TEST(InstanceLock, GoesOverToASuccessor) {
  const test::TempDir directory;
  auto first = std::make_unique<InstanceLock>(directory.path(), 0700, kKey);
  const int given = fcntl(first->descriptor(), F_DUPFD_CLOEXEC, 0);
  {
    const InstanceLock second(directory.path(), 0700, kKey, given);
    first.reset();
    EXPECT_THAT(refusal(directory.path()), HasSubstr("another mintfsd")) << "held without a moment between";
  }
  EXPECT_EQ(refusal(directory.path()), "");
}

TEST(InstanceLock, OfAnotherDirectoryIsNotTakenForThisOnes) {
  const test::TempDir directory, elsewhere;
  const InstanceLock held(directory.path(), 0700, kKey);
  const InstanceLock other(elsewhere.path(), 0700, kKey);
  EXPECT_THROW(InstanceLock(directory.path(), 0700, kKey, fcntl(other.descriptor(), F_DUPFD_CLOEXEC, 0)),
               std::runtime_error);
}

}  // namespace
}  // namespace mintfs::broker
