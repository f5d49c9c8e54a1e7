#include "broker/helper_record.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

namespace mintfs::broker {
namespace {

constexpr std::string_view kLease = "abcdefghijklmnopqrstuvwxyz";

HelperRecord record() {
  HelperRecord made{.lease = std::string(kLease), .helper = "cache", .prefix = "77.3.", .uid = 1000, .gid = 100};
  made.groups = {100, 4};
  made.add({.protocol = "https", .host = "a.example", .username = "alice"}, {{"HOME", "/home/alice"}});
  return made;
}

TEST(HelperRecord, ComesBackAsItWasWritten) {
  const test::TempDir directory;
  const HelperRecords records(directory.path() / "helpers");
  HelperRecord written = record();
  written.add({.protocol = "https", .host = "b.example:8443", .path = "caf\xe9", .username = ""}, {{"HOME", "/other"}});
  ASSERT_TRUE(records.write(written));
  EXPECT_EQ(test::mode_of(directory.path() / "helpers" / (std::string(kLease) + ".json")), 0600U);
  EXPECT_EQ(records.leases(), std::vector{std::string(kLease)});
  const auto read = records.read(kLease);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->entries, written.entries);
  EXPECT_EQ(read->sessions, written.sessions);
  EXPECT_EQ(read->groups, written.groups);
  EXPECT_EQ(std::tie(read->lease, read->helper, read->prefix, read->uid, read->gid),
            std::tie(written.lease, written.helper, written.prefix, written.uid, written.gid));
  records.remove(kLease);
  EXPECT_FALSE(records.read(kLease));
  EXPECT_TRUE(records.leases().empty());
}

TEST(HelperRecord, HasAPlaceOnceForEachSessionAndTheLastOneAtTheEnd) {
  HelperRecord made = record();
  const CredentialPattern first = made.entries.front().where;
  made.add({.protocol = "https", .host = "b.example", .username = "bob"}, {{"HOME", "/home/alice"}});
  made.add(first, {{"HOME", "/home/alice"}});
  ASSERT_EQ(made.entries.size(), 2U);
  EXPECT_EQ(made.entries.back().where, first);
  EXPECT_EQ(made.sessions.size(), 1U);
  made.add(first, {{"HOME", "/elsewhere"}});
  EXPECT_EQ(made.entries.size(), 3U) << "there it is kept once more";
}

TEST(HelperRecord, IsBounded) {
  const test::TempDir directory;
  const HelperRecords records(directory.path() / "helpers");
  HelperRecord many = record(), large = record();
  for (int i = 0; i < 64; ++i) many.add({.protocol = "https", .host = "h" + std::to_string(i)}, {});
  EXPECT_EQ(records.write(many).error(), Errc::too_many);
  for (int i = 0; i < 15; ++i)
    large.add({.protocol = "https", .host = std::to_string(i), .path = std::string(4096, 'x')}, {});
  EXPECT_EQ(records.write(large).error(), Errc::too_many);
  EXPECT_TRUE(records.leases().empty());
}

TEST(HelperRecord, ThatIsNotWholeIsAnError) {
  const test::TempDir directory;
  const HelperRecords records(directory.path() / "helpers");
  const auto file = directory.path() / "helpers" / (std::string(kLease) + ".json");
  for (const char* content : {"x", "[]", "{}", R"({"version":1,"lease":"a"})", R"({"version":2})",
                              R"({"version":1,"lease":"a","helper":"!sh","prefix":"a.","uid":1,"gid":1,"groups":[],)"
                              R"("sessions":[],"entries":[]})",
                              R"({"version":1,"lease":"a","helper":"cache","prefix":"a.","uid":1,"gid":1,"groups":[],)"
                              R"("sessions":[],"entries":[{"host":"h","session":0}]})"}) {
    std::ofstream(file) << content;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    EXPECT_THROW(records.read(kLease), std::runtime_error) << content;
  }
}

TEST(HelperRecord, IsClearedOfWritesThatWereCutOff) {
  const test::TempDir directory;
  const HelperRecords records(directory.path() / "helpers");
  ASSERT_TRUE(records.write(record()));
  std::ofstream(directory.path() / "helpers" / (std::string(kLease) + ".json.abc123")) << "{";
  records.clear();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path() / "helpers"), {}), 1);
  EXPECT_TRUE(records.read(kLease));
}

TEST(HelperPrefix, IsALabelOfAHostForEach) {
  const auto prefix = [](const char* build, const char* job) {
    return helper_prefix({{"build", build}, {"job", job}}).value_or("none");
  };
  EXPECT_EQ(prefix("77", "3"), "77.3.");
  EXPECT_EQ(prefix("b-1f0c", "j-2"), "b-1f0c.j-2.");
  EXPECT_EQ(prefix("A", "a"), "_41.a.") << "a helper may not tell them apart by their case";
  EXPECT_EQ(prefix("a.b", "c"), "a_2eb.c.") << "and not what a.b.c is made of";
  EXPECT_EQ(prefix("a", "b.c"), "a.b_2ec.");
  EXPECT_EQ(prefix("../x", "_41"), "_2e_2e_2fx._5f41.");
  EXPECT_EQ(prefix("-", "a-"), "_2d.a_2d.");
  EXPECT_EQ(prefix(std::string(63, 'x').c_str(), "y"), std::string(63, 'x') + ".y.");
  EXPECT_FALSE(helper_prefix({{"build", "1"}}));
  EXPECT_FALSE(helper_prefix({{"build", "1"}, {"job", ""}}));
  EXPECT_FALSE(helper_prefix({}));
}

TEST(HelperPrefix, OfLongLabelsIsAsLongAsItMayBeAndTheirOwn) {
  const auto prefix = [](const std::string& job) {
    return helper_prefix({{"build", "1"}, {"job", job}}).value_or("none");
  };
  std::set<std::string> seen;
  for (const auto& job : {std::string(64, 'x'), std::string(65, 'x'), std::string(22, 'X'), std::string(200, '/'),
                          std::string(200, 'x') + "y", std::string(200, 'x') + "z"}) {
    EXPECT_EQ(prefix(job).size(), 2u + 63 + 1) << job;
    EXPECT_TRUE(seen.insert(prefix(job)).second) << job;
  }
  const std::string text = prefix(std::string(64, 'x')).substr(2, 63);
  EXPECT_EQ(text.substr(0, 47), std::string(45, 'x') + "_-");
  EXPECT_NE(prefix(text), prefix(std::string(64, 'x'))) << "whoever is called so";
}

TEST(HelperPlace, KeepsThePort) {
  const auto host = [](const char* given) { return *helper_place("77.3.", {.host = given}).host; };
  EXPECT_EQ(host("git.example.com"), "77.3.git.example.com");
  EXPECT_EQ(host("git.example.com:8443"), "77.3.git.example.com:8443");
  EXPECT_EQ(host("[::1]:8443"), "77.3._3a_3a1:8443");
}

}  // namespace
}  // namespace mintfs::broker
