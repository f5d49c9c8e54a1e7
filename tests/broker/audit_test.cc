#include "broker/audit.h"

#include "parts.h"

#include <gmock/gmock.h>

#include <thread>

#include <fcntl.h>
#include <sys/stat.h>

namespace mintfs::broker {
namespace {

using testing::HasSubstr;

class Audit : public testing::Test {
 protected:
  test::TempDir directory;
  test::FakeClock clock;
  const std::filesystem::path file = directory.path() / "audit.log";
};

TEST_F(Audit, WritesOneJsonLineForEachAct) {
  {
    AuditLog log(file, clock);
    log.write({.event = "redeem",
               .lease = "abc",
               .connector = "default/github",
               .subject = "uid:1000",
               .jti = "xyz",
               .operation = "fetch",
               .repository = "acme/app"});
    clock.advance(std::chrono::milliseconds(61'007));
    log.write({.event = "refuse", .reason = "token-expired"});
  }
  EXPECT_EQ(test::read_file(file),
            R"({"time":"2026-01-01T00:00:00.000Z","event":"redeem","lease":"abc","connector":"default/github",)"
            R"("subject":"uid:1000","jti":"xyz","operation":"fetch","repository":"acme/app"})"
            "\n"
            R"({"time":"2026-01-01T00:01:01.007Z","event":"refuse","reason":"token-expired"})"
            "\n");
}

TEST_F(Audit, IsValidJsonWhateverTheRepositoryIs) {
  std::vector<std::string> repositories = {"\"",
                                           "\\",
                                           "a\",\"event\":\"open",
                                           "\n{\"event\":\"open\"}\n",
                                           "\r\n",
                                           "\x1b[2J",
                                           "\xff\xfe",
                                           "\xc3\xa4",
                                           std::string(254, '"') + "\\\\",
                                           std::string("a\0b", 3),
                                           std::string(100'000, '\n')};
  for (int byte = 0; byte < 256; ++byte) repositories.push_back(std::string("x") + static_cast<char>(byte));
  {
    AuditLog log(file, clock);
    for (const auto& repository : repositories) log.write({.event = "refuse", .repository = repository});
  }
  const auto lines = test::json_lines(test::read_file(file));
  ASSERT_EQ(lines.size(), repositories.size());
  for (const auto& line : lines) {
    EXPECT_EQ(test::text_of(line, "event"), "refuse");
    EXPECT_EQ(line.size(), 3u);
  }
  EXPECT_EQ(test::text_of(lines[0], "repository"), "\"");
  EXPECT_EQ(test::text_of(lines[2], "repository"), repositories[2]);
}

TEST_F(Audit, CutsALongRepository) {
  {
    AuditLog log(file, clock);
    log.write({.event = "refuse", .repository = std::string(256, 'r')});
  }
  EXPECT_EQ(test::text_of(test::json_lines(test::read_file(file)).at(0), "repository"), std::string(255, 'r'));
}

TEST_F(Audit, CountsWhatStrangersDoBeyondABound) {
  {
    AuditLog log(file, clock);
    const auto flood = [&](int lines) {
      for (int i = 0; i < lines; ++i) log.write({.event = "refuse", .reason = "token-missing", .stranger = true});
    };
    flood(1000);
    log.write({.event = "refuse", .lease = "known", .reason = "repository-denied"});
    clock.advance(std::chrono::seconds(1));
    flood(21);
  }
  std::uint32_t whole = 0, known = 0;
  std::int64_t more = 0;
  for (const auto& line : test::json_lines(test::read_file(file))) {
    if (const auto* count = line.if_contains("more")) {
      more += count->as_int64();
      EXPECT_EQ(test::text_of(line, "event"), "refuse");
    } else {
      ++(test::text_of(line, "lease").empty() ? whole : known);
    }
  }
  EXPECT_EQ(whole, 2 * AuditLog::kStrangersPerSecond);
  EXPECT_EQ(known, 1u);
  EXPECT_EQ(more, 980 + 1);
}

TEST_F(Audit, IsForItsOwnerAndAppendsOverARestart) {
  for (int run = 0; run < 2; ++run) AuditLog(file, clock).write({.event = "open"});
  EXPECT_EQ(test::json_lines(test::read_file(file)).size(), 2u);
  struct stat status {};
  stat(file.c_str(), &status);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(Audit, SaysWhichFileCannotBeOpened) {
  try {
    AuditLog(directory.path() / "missing" / "audit.log", clock);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("missing/audit.log: No such file or directory; correct audit.file"));
  }
}

TEST_F(Audit, KeepsTheLinesOfManyThreadsWhole) {
  constexpr int kThreads = 4, kLines = 2000;
  {
    AuditLog log(file, clock);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&log, t] {
        const std::string subject = "uid:" + std::to_string(t);
        for (int i = 0; i < kLines; ++i) log.write({.event = i % 100 == 0 ? "refuse" : "redeem", .subject = subject});
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(log.lost(), 0u);
  }
  EXPECT_EQ(test::json_lines(test::read_file(file)).size(), std::size_t{kThreads * kLines});
}

TEST_F(Audit, GoesOnInANewFileAfterRotation) {
  {
    AuditLog log(file, clock);
    log.write({.event = "open"});
    std::filesystem::rename(file, directory.path() / "audit.log.1");
    log.reopen();
    // Whichever file a line is in, none is lost.
    for (int i = 0; i < 10; ++i) log.write({.event = "close"});
  }
  const auto rotated = test::json_lines(test::read_file(directory.path() / "audit.log.1"));
  ASSERT_TRUE(std::filesystem::exists(file));
  EXPECT_EQ(test::text_of(rotated.at(0), "event"), "open");
  EXPECT_EQ(rotated.size() + test::json_lines(test::read_file(file)).size(), 11u);
}

TEST_F(Audit, KeepsTheOldFileWhenTheNewOneCannotBeOpened) {
  const auto sub = directory.make("sub", 0700);
  {
    AuditLog log(sub / "audit.log", clock);
    std::filesystem::rename(sub, directory.path() / "moved");
    log.reopen();
    log.write({.event = "close"});
  }
  EXPECT_EQ(test::json_lines(test::read_file(directory.path() / "moved" / "audit.log")).size(), 1u);
}

// A pipe that nobody reads is a disk that has stopped: the writer is stuck in write(2).
TEST_F(Audit, CountsWhatDoesNotFitAndDelaysNobodyWhileTheDiskIsStuck) {
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  const int reader = open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const std::string repository(255, 'r');
  constexpr std::size_t kLines = 60'000;  // of 300 bytes: 18 MB
  std::size_t lost = 0;
  std::string seen;
  std::thread drain;
  {
    AuditLog log(file, clock);
    for (std::size_t i = 0; i < kLines; ++i) log.write({.event = "refuse", .repository = repository});
    lost = log.lost();
    EXPECT_GT(lost, 0u);
    drain = std::thread([&] {
      fcntl(reader, F_SETFL, 0);
      std::array<char, 65536> buffer;
      ssize_t size;
      while ((size = read(reader, buffer.data(), buffer.size())) > 0)
        seen.append(buffer.data(), static_cast<std::size_t>(size));
    });
  }
  drain.join();
  close(reader);
  EXPECT_EQ(static_cast<std::size_t>(std::count(seen.begin(), seen.end(), '\n')) + lost, kLines);
}

TEST_F(Audit, CountsTheLinesThatAFullDiskDoesNotTakeAndServesOn) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  AuditLog log("/dev/full", clock);
  for (std::uint64_t n = 1; n <= 3; ++n) {
    log.write({.event = "refuse"});
    while (log.lost() < n && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(log.lost(), n);
  }
}

TEST_F(Audit, LeavesWholeLinesOnlyOnAFullDisk) {
  const auto disk_directory = directory.make("disk", 0700);
  const test::SmallDisk disk(disk_directory);
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  const auto log_file = disk_directory / "audit.log";
  {
    AuditLog log(log_file, clock);
    for (int i = 0; i < 1000; ++i) log.write({.event = "redeem", .repository = "acme/app"});
  }
  const std::size_t taken = test::json_lines(test::read_file(log_file)).size();
  EXPECT_GT(taken, 100u);
  EXPECT_LT(taken, 1000u);
  // Room again: what comes next starts a line of its own.
  std::filesystem::resize_file(log_file, 0);
  AuditLog(log_file, clock).write({.event = "close"});
  EXPECT_EQ(test::json_lines(test::read_file(log_file)).size(), 1u);
}

}  // namespace
}  // namespace mintfs::broker
