#include "broker/state_file.h"

#include "parts.h"

#include <gmock/gmock.h>

#include <sys/stat.h>

namespace mintfs::broker {
namespace {

using test::read_file;
using test::write_file;
using testing::HasSubstr;

std::string refusal(const std::filesystem::path& file) {
  try {
    read_secret_file(file);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return {};
}

TEST(SecretFile, LosesOneLineEnding) {
  const test::TempDir directory;
  struct Case {
    std::string_view content, secret;
  };
  for (const auto& each : {Case{"hunter2", "hunter2"}, Case{"hunter2\n", "hunter2"}, Case{"hunter2\r\n", "hunter2"},
                           Case{"hunter2\n\n", "hunter2\n"}, Case{" a b ", " a b "}}) {
    write_file(directory.path() / "secret", each.content);
    EXPECT_EQ(read_secret_file(directory.path() / "secret").reveal(), each.secret);
  }
}

TEST(SecretFile, MayBeReadByItsGroupAndByNobodyElse) {
  const test::TempDir directory;
  const auto file = directory.path() / "secret";
  write_file(file, "hunter2");
  for (const mode_t mode : {0400u, 0600u, 0440u, 0640u}) {
    chmod(file.c_str(), mode);
    EXPECT_EQ(refusal(file), "") << std::oct << mode;
  }
  for (const mode_t mode : {0604u, 0602u, 0601u, 0620u, 0660u, 0666u, 0777u}) {
    chmod(file.c_str(), mode);
    EXPECT_THAT(refusal(file), HasSubstr("type: chmod 600 " + file.string())) << std::oct << mode;
  }
}

TEST(SecretFile, IsRefusedWithOneSentenceThatNamesIt) {
  const test::TempDir directory;
  const auto file = directory.path() / "secret";
  EXPECT_THAT(refusal(file), HasSubstr("cannot read the secret file " + file.string() + ": No such file"));
  EXPECT_THAT(refusal(directory.path()), HasSubstr("not a regular file"));
  for (const std::string_view empty : {"", "\n", "\r\n"}) {
    write_file(file, empty);
    EXPECT_THAT(refusal(file), HasSubstr("is empty"));
  }
  write_file(file, std::string(64 * 1024, 'x'));
  EXPECT_EQ(refusal(file), "");
  write_file(file, std::string(64 * 1024 + 1, 'x'));
  EXPECT_THAT(refusal(file), HasSubstr("over 64 KiB"));
}

TEST(SecretFile, OfAPipeDoesNotHang) {
  const test::TempDir directory;
  const auto pipe = directory.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(refusal(pipe), HasSubstr("not a regular file"));
}

TEST(SecretFile, OfOneLineHoldsNothingThatWouldEndIt) {
  using namespace std::string_view_literals;
  const test::TempDir directory;
  const auto file = directory.path() / "secret";
  for (const auto content : {"hunter2\n"sv, "a b"sv, "\xc3\xa9"sv}) {
    write_file(file, content);
    EXPECT_NO_THROW(read_secret_line(file)) << content;
  }
  for (const auto content : {"a\nb"sv, "a\rb"sv, "a\0b"sv, "a\tb"sv, "a\x1b"sv, "a\x7f"sv, "a\n\n"sv}) {
    write_file(file, content);
    EXPECT_THROW(read_secret_line(file), std::runtime_error) << testing::PrintToString(content);
  }
}

TEST(SecretFile, OfAnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  const test::TempDir directory;
  const auto file = directory.path() / "secret";
  write_file(file, "hunter2");
  ASSERT_EQ(chown(file.c_str(), 4001, 4001), 0);
  EXPECT_THAT(refusal(file), HasSubstr("belongs to another user"));
}

TEST(StateFile, ReplacesTheWholeFileAndNothingElse) {
  const test::TempDir directory;
  const auto file = directory.path() / "state";
  for (const bool durable : {false, true}) {
    write_file(file, "a much longer content than the next one", 0644);
    write_file_atomically(file, "new", 0600, durable);
    EXPECT_EQ(read_file(file), "new");
    EXPECT_EQ(test::mode_of(file), 0600u);
    EXPECT_THAT(test::names_in(directory.path()), testing::ElementsAre("state"));
  }
}

// A reader that has the old file open keeps reading the old one: it is replaced, not rewritten.
TEST(StateFile, IsNeverSeenHalfWritten) {
  const test::TempDir directory;
  const auto file = directory.path() / "state";
  write_file_atomically(file, "old", 0600, false);
  std::ifstream reader(file);
  write_file_atomically(file, "new", 0600, false);
  std::string seen;
  reader >> seen;
  EXPECT_EQ(seen, "old");
}

TEST(StateFile, LeavesTheOldOneWhenTheDiskIsFull) {
  const test::TempDir directory;
  const test::SmallDisk disk(directory.path());
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  const auto file = directory.path() / "state";
  write_file_atomically(file, "old", 0600, false);
  disk.fill();
  EXPECT_THROW(write_file_atomically(file, std::string(8192, 'n'), 0600, false), std::system_error);
  EXPECT_EQ(read_file(file), "old");
  EXPECT_THAT(test::names_in(directory.path()), testing::ElementsAre("ballast", "state"));
}

TEST(StateFile, LeavesNothingBehindWhenItCannotTakeItsPlace) {
  const test::TempDir directory;
  std::filesystem::create_directories(directory.path() / "state" / "in the way");
  EXPECT_THROW(write_file_atomically(directory.path() / "state", "new", 0600, false), std::system_error);
  EXPECT_THAT(test::names_in(directory.path()), testing::ElementsAre("state"));
}

}  // namespace
}  // namespace mintfs::broker
