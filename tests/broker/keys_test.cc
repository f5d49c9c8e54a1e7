#include "broker/keys.h"

#include "broker/state_file.h"

#include "parts.h"

#include <gmock/gmock.h>

#include <set>

#include <sys/stat.h>

namespace mintfs::broker {
namespace {

using namespace std::chrono_literals;
using test::read_file;
using test::write_file;
using testing::HasSubstr;

constexpr std::string_view kLease = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
constexpr std::string_view kHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

class Keys : public testing::Test {
 protected:
  std::string refusal() {
    try {
      const MasterKeys keys(state, clock);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return {};
  }
  static std::string key(const MasterKeys& keys, std::uint32_t kid, std::string_view lease = kLease) {
    const auto derived = keys.derive(kid, lease);
    return derived ? std::string(derived->reveal()) : std::string();
  }

  test::TempDir directory;
  test::FakeClock clock;
  const std::filesystem::path state = directory.path() / "state";
  const std::filesystem::path file = state / "master-keys";
};

TEST_F(Keys, AreMadeAtFirstStartForTheDaemonAlone) {
  const MasterKeys keys(state, clock);
  EXPECT_EQ(keys.current(), 1u);
  struct stat status {};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  ASSERT_EQ(stat(state.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_THAT(test::names_in(state), testing::ElementsAre("master-keys"));
  EXPECT_THAT(read_file(file), testing::MatchesRegex("1 1767225600 [0-9a-f]+\n"));
}

TEST_F(Keys, DifferFromOneInstallationToTheNext) {
  std::set<std::string> made;
  for (const auto* name : {"a", "b", "c"}) made.insert(key(MasterKeys(directory.path() / name, clock), 1));
  EXPECT_EQ(made.size(), 3u);
}

TEST_F(Keys, AreKeptOverARestart) {
  const std::string before = key(MasterKeys(state, clock), 1);
  clock.advance(24h);
  EXPECT_EQ(key(MasterKeys(state, clock), 1), before);
}

TEST_F(Keys, LeaveTheModeOfADirectoryThatWasThere) {
  std::filesystem::create_directory(state);
  chmod(state.c_str(), 0755);
  const MasterKeys keys(state, clock);
  struct stat status {};
  ASSERT_EQ(stat(state.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);
}

// Computed with Python: hmac(hmac(32 zero bytes, key), "mintfs lease " + id + "\x01").
TEST_F(Keys, OfALeaseAreHkdfSha256) {
  std::filesystem::create_directory(state);
  write_file(file, "7 1767225600 " + std::string(kHex) + "\n");
  const MasterKeys keys(state, clock);
  EXPECT_EQ(hex_encode(key(keys, 7)), "3d530e4f8820bc6b28e17f3b10208eb8ab166e7c83f5856fcf159ca19eb90191");
}

TEST_F(Keys, OfTwoLeasesDiffer) {
  const MasterKeys keys(state, clock);
  EXPECT_NE(key(keys, 1, "aaaaaaaaaaaaaaaaaaaaaaaaaa"), key(keys, 1, "aaaaaaaaaaaaaaaaaaaaaaaaab"));
}

TEST_F(Keys, OfAnUnknownVersionAreNotDerived) {
  const MasterKeys keys(state, clock);
  EXPECT_FALSE(keys.derive(0, kLease));
  EXPECT_FALSE(keys.derive(2, kLease));
}

TEST_F(Keys, ThatOthersCouldReadAreRefused) {
  { const MasterKeys keys(state, clock); }
  const std::string before = read_file(file);
  chmod(file.c_str(), 0644);
  EXPECT_THAT(refusal(), HasSubstr("type: chmod 600 " + file.string()));
  EXPECT_EQ(read_file(file), before);
  chmod(file.c_str(), 0600);
  EXPECT_EQ(refusal(), "");
}

TEST_F(Keys, ThatAreDamagedAreRefusedAndNotReplaced) {
  std::filesystem::create_directory(state);
  const std::string hex(kHex), good = "1 1767225600 " + hex + "\n";
  for (const std::string& content :
       {std::string("x"), std::string("1"), std::string("1 2"), "1 1767225600 " + hex.substr(1),
        "1 1767225600 " + hex + "00", "1 1767225600 " + hex.substr(0, 62), "x 1767225600 " + hex, "1 x " + hex,
        "0 1767225600 " + hex, "-1 1767225600 " + hex, "4294967296 1767225600 " + hex, "1  1767225600 " + hex,
        " 1 1767225600 " + hex, "1 1767225600 " + hex + " ", "1 1767225600 " + std::string(64, 'g'), good + good,
        "2" + good.substr(1) + good, good + "\n" + "2" + good.substr(1), good.substr(0, 40) + '\0' + good.substr(41)}) {
    write_file(file, content);
    EXPECT_THAT(refusal(), HasSubstr(file.string() + " are damaged; restore the file")) << content;
    EXPECT_THAT(refusal(), testing::Not(HasSubstr(hex.substr(0, 16)))) << "a key in an error text";
    EXPECT_EQ(read_file(file), content);
  }
}

TEST_F(Keys, AreNotMadeAnewWhenTheFileCannotBeLookedFor) {
  std::filesystem::create_directory(state);
  std::filesystem::create_symlink("master-keys", file);  // ELOOP
  EXPECT_THAT(refusal(), HasSubstr("cannot look for the master keys in " + file.string()));
  EXPECT_TRUE(std::filesystem::is_symlink(file));
}

TEST_F(Keys, NameTheStateDirectoryThatCannotBeMade) {
  write_file(state, "a file in the way");
  EXPECT_THAT(refusal(), HasSubstr(state.string()));
}

TEST_F(Keys, LeaveNothingBehindOnAFullDisk) {
  std::filesystem::create_directory(state);
  const test::SmallDisk disk(state);
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  disk.fill();
  EXPECT_THAT(refusal(), HasSubstr("the master key needs a writable state_dir with room"));
  EXPECT_THAT(test::names_in(state), testing::ElementsAre("ballast"));
  disk.make_room();
  EXPECT_EQ(refusal(), "");
}

TEST_F(Keys, RotateWithOverlap) {
  constexpr auto period = 240h, overlap = 24h;
  MasterKeys keys(state, clock);
  const std::string first = key(keys, 1);
  clock.advance(period - 1s);
  EXPECT_FALSE(keys.rotate(clock.now(), period, overlap));
  EXPECT_EQ(keys.current(), 1u);
  clock.advance(1s);
  EXPECT_TRUE(keys.rotate(clock.now(), period, overlap));
  EXPECT_EQ(keys.current(), 2u);
  EXPECT_EQ(key(keys, 1), first);
  EXPECT_NE(key(keys, 2), first);
  EXPECT_FALSE(keys.rotate(clock.now(), period, overlap)) << "the new version is young";

  const MasterKeys restarted(state, clock);
  EXPECT_EQ(restarted.current(), 2u);
  EXPECT_EQ(key(restarted, 1), first);

  clock.advance(period);
  EXPECT_TRUE(keys.rotate(clock.now(), period, overlap));
  EXPECT_EQ(keys.current(), 3u);
  EXPECT_EQ(key(keys, 1), "") << "superseded ten days ago";
  EXPECT_NE(key(keys, 2), "") << "superseded only now";
}

TEST_F(Keys, ThatOthersReadTooSignOnlyWhenTheyAllHaveReadThem) {
  const auto write = [&](const std::string& lines) { write_file_atomically(state / "master-keys", lines, 0600, true); };
  const auto line = [&](int kid, Time created) {
    const auto time = std::chrono::duration_cast<std::chrono::seconds>(created.time_since_epoch()).count();
    return std::to_string(kid) + " " + std::to_string(time) + " " + std::string(64, static_cast<char>('0' + kid)) +
           "\n";
  };
  directory.make("state", 0700);
  const std::string first = line(1, clock.now());
  write(first);
  MasterKeys keys(state, clock, 150s);
  EXPECT_EQ(keys.current(), 1u) << "there is no other";
  clock.advance(1h);
  write(first + line(2, clock.now() - 24h));  // whatever its line says
  ASSERT_TRUE(keys.refresh());
  EXPECT_TRUE(keys.derive(2, "a")) << "it is taken at once";
  EXPECT_EQ(keys.current(), 1u);
  clock.advance(149s);
  write(first + line(2, clock.now()));  // touched once more: it does not begin anew
  ASSERT_TRUE(keys.refresh());
  EXPECT_EQ(keys.current(), 1u);
  clock.advance(1s);
  EXPECT_EQ(keys.current(), 2u);

  write(first + line(2, clock.now() - 149s));
  const MasterKeys restarted(state, clock, 150s);
  EXPECT_EQ(restarted.current(), 1u);
  clock.advance(1s);
  EXPECT_EQ(restarted.current(), 2u);
}

TEST_F(Keys, StayAsLongAsALeaseMayUseThem) {
  MasterKeys keys(state, clock);
  for (int day = 1; day <= 3; ++day) {
    clock.advance(24h);
    ASSERT_TRUE(keys.rotate(clock.now(), 24h, 48h));
  }
  EXPECT_NE(key(keys, 1), "") << "superseded 48 hours ago";
  clock.advance(24h);
  ASSERT_TRUE(keys.rotate(clock.now(), 24h, 48h));
  EXPECT_EQ(key(keys, 1), "");
  EXPECT_NE(key(keys, 2), "");
}

TEST_F(Keys, StayAsTheyWereWhenTheNextCannotBeStored) {
  std::filesystem::create_directory(state);
  const test::SmallDisk disk(state);
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  MasterKeys keys(state, clock);
  const std::string first = key(keys, 1), content = read_file(file);
  disk.fill();
  clock.advance(240h);
  EXPECT_THROW(keys.rotate(clock.now(), 240h, 24h), std::runtime_error);
  EXPECT_EQ(keys.current(), 1u);
  EXPECT_EQ(key(keys, 1), first);
  EXPECT_EQ(read_file(file), content);
  disk.make_room();
  EXPECT_TRUE(keys.rotate(clock.now(), 240h, 24h));
}

TEST(Signer, AgreesWithOpenSslWhetherTheKeyChangesOrNot) {
  std::array<LeaseKey, 3> keys;
  for (std::size_t i = 0; i < keys.size(); ++i)
    std::fill(keys[i].bytes().begin(), keys[i].bytes().end(), static_cast<char>('a' + i));
  Signer signer;
  for (const std::size_t i : {0, 0, 1, 0, 2, 2, 1, 1, 0}) {
    const std::string message(i * 100, 'm');
    std::array<char, 32> expected;
    HMAC(EVP_sha256(), keys[i].reveal().data(), 32, reinterpret_cast<const unsigned char*>(message.data()),
         message.size(), reinterpret_cast<unsigned char*>(expected.data()), nullptr);
    EXPECT_EQ(signer.sign(keys[i], message), expected);
  }
}

// A new signer has seen no key: one of zeros must not pass for "the same as last time".
TEST(Signer, TakesAKeyOfZerosForAKey) {
  LeaseKey zeros, other;
  other.bytes()[0] = 1;
  EXPECT_EQ(Signer().sign(zeros, "m"), Signer().sign(zeros, "m"));
  EXPECT_NE(Signer().sign(zeros, "m"), Signer().sign(other, "m"));
}

TEST(Random, GivesNothingTwice) {
  Random random;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    std::string bytes(12, '\0');
    random.fill(bytes);
    EXPECT_TRUE(seen.insert(bytes).second);
  }
}

TEST(Random, FillsMoreThanOneBlock) {
  Random random;
  std::string bytes(5000, '\0');
  random.fill(bytes);
  EXPECT_NE(bytes.substr(0, 1000), bytes.substr(4000));
  EXPECT_NE(bytes.substr(4900), std::string(100, '\0'));
}

}  // namespace
}  // namespace mintfs::broker
