#include "broker/lease.h"

#include "broker/lease_file.h"
#include "parts.h"

#include <gmock/gmock.h>

#include <set>
#include <thread>

namespace mintfs::broker {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uid_t kAlice = 4001, kBob = 4002;
constexpr std::uint32_t kPlenty = 1000;

class Leases : public testing::Test {
 protected:
  // A lease whose id ends in `n`.
  Lease describe(std::uint32_t n, uid_t opener = kAlice) {
    Lease lease;
    lease.id = std::string(kLeaseIdSize, 'a');
    for (std::size_t i = kLeaseIdSize; n > 0; n /= 26) lease.id[--i] = static_cast<char>('a' + n % 26);
    lease.uid = lease.opener = opener;
    lease.subject = "uid:" + std::to_string(opener);
    lease.connectors = {*ConnectorName::parse("github")};
    lease.opened = clock.now();
    lease.expires = clock.now() + 1h;
    lease.kid = keys.current();
    lease.key = keys.derive(lease.kid, lease.id).value();
    return lease;
  }
  std::vector<std::string> load(LeaseTable& fresh) {
    std::vector<std::string> reports;
    fresh.load(keys, clock.now(), [&](std::string sentence) { reports.push_back(std::move(sentence)); });
    return reports;
  }
  static Errc error_of(const Result<LeasePtr>& result) { return result ? Errc{} : to_errc(result.error()); }

  test::TempDir directory;
  test::FakeClock clock;
  MasterKeys keys{directory.path() / "state", clock};
  const std::filesystem::path files = directory.make("leases", 0700);
  LeaseTable table{files};
};

TEST_F(Leases, AreCountedForTheirPodAndEndInTheirOrder) {
  LeaseTable cluster;
  const auto put = [&](std::uint32_t n, const std::string& pod, std::chrono::hours life) {
    Lease lease = describe(n);
    lease.labels = {{kPodUid, pod}};
    lease.expires = clock.now() + life;
    return cluster.put(std::move(lease), keys);
  };
  const auto first = put(1, "p1", 3h), second = put(2, "p1", 1h), other = put(3, "p2", 2h);
  put(1, "p1", 4h);  // renewed: not another one
  EXPECT_EQ(cluster.count_of_pod("p1"), 2u);
  EXPECT_EQ(cluster.count_of_pod("p2"), 1u);
  EXPECT_EQ(cluster.count_of_pod("p3"), 0u);
  EXPECT_THAT(cluster.remove_expired(clock.now() + 59min), IsEmpty());
  EXPECT_THAT(cluster.remove_expired(clock.now() + 2h), ElementsAre(second, other));
  EXPECT_EQ(cluster.count_of_pod("p1"), 1u);
  EXPECT_EQ(cluster.count_of_pod("p2"), 0u);
  EXPECT_THAT(cluster.remove_expired(clock.now() + 3h), IsEmpty());
  EXPECT_NE(cluster.remove(first->id), nullptr);
  EXPECT_EQ(cluster.count_of_pod("p1"), 0u);
  EXPECT_EQ(cluster.size(), 0u);
}

TEST_F(Leases, ExistOnDiskAndInMemoryOrNotAtAll) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  EXPECT_EQ(table.find(lease->id), lease);
  EXPECT_EQ(table.find_serial(lease->serial), lease);
  EXPECT_THAT(table.all(), ElementsAre(lease));
  EXPECT_THAT(test::names_in(files), ElementsAre(lease->id + ".json"));

  EXPECT_EQ(table.remove(lease->id), lease);
  EXPECT_EQ(table.find(lease->id), nullptr);
  EXPECT_EQ(table.find_serial(lease->serial), nullptr);
  EXPECT_THAT(test::names_in(files), IsEmpty());
  EXPECT_EQ(table.remove(lease->id), nullptr);
}

TEST_F(Leases, HaveSerialsThatGrowAlsoOverARestart) {
  std::uint64_t last = 0;
  for (std::uint32_t n = 1; n <= 20; ++n) {
    const std::uint64_t serial = table.add(describe(n), kPlenty).value()->serial;
    EXPECT_GT(serial, last);
    last = serial;
  }
  for (const auto& lease : table.all()) table.remove(lease->id);
  clock.advance(1ms);
  LeaseTable next(files);
  load(next);
  EXPECT_GT(next.add(describe(1), kPlenty).value()->serial, last);
}

TEST_F(Leases, AreBoundedPerOpener) {
  for (std::uint32_t n = 1; n <= 3; ++n) EXPECT_EQ(error_of(table.add(describe(n, kAlice), 3)), Errc{});
  EXPECT_EQ(error_of(table.add(describe(4, kAlice), 3)), Errc::too_many);
  EXPECT_EQ(error_of(table.add(describe(5, kBob), 3)), Errc{}) << "another user's bound is another";
  EXPECT_EQ(error_of(table.add(describe(6, geteuid()), 0)), Errc{}) << "an administrator has none";
  EXPECT_EQ(test::names_in(files).size(), 5u) << "nothing of the refused one";
  table.remove(describe(2).id);
  EXPECT_EQ(error_of(table.add(describe(7, kAlice), 3)), Errc{}) << "closing one makes room";
}

TEST_F(Leases, CountAgainstTheBoundAfterARestart) {
  for (std::uint32_t n = 1; n <= 3; ++n) table.add(describe(n), 3).value();
  LeaseTable next(files);
  load(next);
  EXPECT_EQ(error_of(next.add(describe(4), 3)), Errc::too_many);
}

TEST_F(Leases, AreBoundedUnderManyThreads) {
  std::vector<Lease> asked;
  for (std::uint32_t n = 1; n <= 40; ++n) asked.push_back(describe(n));
  std::atomic<int> opened{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < asked.size(); i += 4)
        if (table.add(asked[i], 10)) ++opened;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(opened, 10);
  EXPECT_EQ(table.size(), 10u);
  EXPECT_EQ(test::names_in(files).size(), 10u);
}

TEST_F(Leases, LeaveWhenTheyExpire) {
  Lease brief = describe(1);
  brief.expires = clock.now() + 10s;
  const LeasePtr early = table.add(std::move(brief), kPlenty).value();
  const LeasePtr late = table.add(describe(2), kPlenty).value();
  clock.advance(10s - 1ms);
  EXPECT_THAT(table.remove_expired(clock.now()), IsEmpty());
  clock.advance(1ms);
  EXPECT_THAT(table.remove_expired(clock.now()), ElementsAre(early));
  EXPECT_THAT(table.all(), ElementsAre(late));
  EXPECT_THAT(test::names_in(files), ElementsAre(late->id + ".json"));
}

TEST_F(Leases, LiveLongerOnceTheyAreRenewed) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  const LeasePtr renewed = table.renew(lease->id, clock.now() + 3h).value();
  EXPECT_EQ(renewed->expires, clock.now() + 3h);
  EXPECT_EQ(renewed->serial, lease->serial);
  EXPECT_EQ(table.find(lease->id), renewed);
  EXPECT_EQ(table.find_serial(lease->serial), renewed);
  EXPECT_EQ(table.renew(lease->id, clock.now() + 2h).value(), renewed) << "never shorter";
  clock.advance(2h);
  EXPECT_THAT(table.remove_expired(clock.now()), IsEmpty());
  LeaseTable next(files);
  load(next);
  EXPECT_EQ(next.find(lease->id)->expires, renewed->expires);
  EXPECT_EQ(table.remove(lease->id), renewed);
  EXPECT_THAT(test::names_in(files), IsEmpty());
  EXPECT_EQ(error_of(table.renew(lease->id, clock.now() + 9h)), Errc::lease_closed);
  EXPECT_THAT(test::names_in(files), IsEmpty()) << "what is closed does not come back";
}

TEST_F(Leases, SurviveARestart) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  LeaseTable next(files);
  EXPECT_THAT(load(next), IsEmpty());
  const LeasePtr found = next.find(lease->id);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->key.reveal(), lease->key.reveal());
  EXPECT_EQ(found->serial, lease->serial);
}

TEST_F(Leases, SurviveARotationOfTheMasterKey) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  ASSERT_TRUE(keys.rotate(clock.now() + 240h, 240h, 24h));
  LeaseTable next(files);
  EXPECT_THAT(load(next), IsEmpty());
  ASSERT_NE(next.find(lease->id), nullptr);
  EXPECT_EQ(next.find(lease->id)->key.reveal(), lease->key.reveal());
}

TEST_F(Leases, ThatExpiredWhileTheDaemonWasAwayAreRemoved) {
  table.add(describe(1), kPlenty).value();
  clock.advance(1h);
  LeaseTable next(files);
  EXPECT_THAT(load(next), IsEmpty());
  EXPECT_EQ(next.size(), 0u);
  EXPECT_THAT(test::names_in(files), IsEmpty());
}

TEST_F(Leases, WhoseFileIsNotToBeTrustedAreSetAside) {
  const LeasePtr good = table.add(describe(1), kPlenty).value();
  const std::string content = test::read_file(files / (good->id + ".json"));
  const auto put = [&](std::uint32_t n, std::string text) {
    const std::string id = describe(n).id;
    if (const std::size_t at = text.find(good->id); at != std::string::npos) text.replace(at, id.size(), id);
    test::write_file(files / (id + ".json"), text);
    return id + ".json";
  };
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string text = content;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const std::string serial = "\"serial\":" + std::to_string(good->serial), other_serial = "\"serial\":77";
  struct Case {
    std::string name, reason;
  };
  std::vector<Case> cases = {
      {put(10, content.substr(0, content.size() / 2)), "it is not a JSON object"},
      {put(11, "[]"), "it is not a JSON object"},
      {put(12, with("\"version\":1", "\"version\":8")), "another version of mintfsd"},
      {put(13, with("\"version\":1", "\"version\":\"1\"")), "another version of mintfsd"},
      {put(14, with("\"kid\":1", "\"kid\":9")), "its signing key is not known"},
      {put(16, ""), "is empty"},
  };
  test::write_file(files / "wrong.json", with(serial, other_serial));
  cases.push_back({"wrong.json", "its name is not its id"});
  const std::string readable = put(17, with(serial, other_serial));
  chmod((files / readable).c_str(), 0644);
  cases.push_back({readable, "open to other users"});

  LeaseTable next(files);
  const auto reports = load(next);
  EXPECT_EQ(reports.size(), cases.size());
  const auto names = test::names_in(files);
  for (const auto& each : cases) {
    EXPECT_THAT(reports, testing::Contains(testing::AllOf(HasSubstr(each.name), HasSubstr(each.reason)))) << each.name;
    EXPECT_THAT(names, testing::Contains(each.name + ".refused"));
    EXPECT_THAT(names, testing::Not(testing::Contains(each.name)));
  }
  LeaseTable after(files);
  EXPECT_THAT(load(after), IsEmpty()) << "what was set aside is not reported again";
}

TEST_F(Leases, NeverShareASerial) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  std::string content = test::read_file(files / (lease->id + ".json"));
  const std::string copy = describe(2).id;
  content.replace(content.find(lease->id), copy.size(), copy);
  test::write_file(files / (copy + ".json"), content);
  LeaseTable next(files);
  EXPECT_THAT(load(next), ElementsAre(HasSubstr("its serial is used twice")));
  EXPECT_EQ(next.size(), 1u);
}

TEST_F(Leases, LeaveNothingOfAWriteThatWasCutOff) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  test::write_file(files / (describe(2).id + ".json.x7Yz12"), "{\"version\":1,");
  LeaseTable next(files);
  EXPECT_THAT(load(next), IsEmpty());
  EXPECT_THAT(test::names_in(files), ElementsAre(lease->id + ".json"));
}

TEST_F(Leases, ThatCannotBeWrittenDoNotExist) {
  const test::SmallDisk disk(files);
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  disk.fill();
  EXPECT_EQ(error_of(table.add(describe(1), 1)), Errc::storage_failed);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_THAT(test::names_in(files), ElementsAre("ballast"));
  disk.make_room();
  EXPECT_EQ(error_of(table.add(describe(1), 1)), Errc{}) << "the failure has not used the bound up";
  ASSERT_TRUE(disk.make_read_only());
  EXPECT_EQ(error_of(table.add(describe(2, kBob), 1)), Errc::storage_failed);
  EXPECT_EQ(table.size(), 1u);
}

TEST_F(Leases, ThatCannotBeRemovedFromDiskAreClosedAllTheSame) {
  const test::SmallDisk disk(files);
  if (!disk.is_mounted()) GTEST_SKIP() << "needs root to mount a small disk";
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  ASSERT_TRUE(disk.make_read_only());
  EXPECT_EQ(table.remove(lease->id), lease);
  EXPECT_EQ(table.find(lease->id), nullptr);
  EXPECT_EQ(table.left_behind(), 1u);
}

// A file that is a mount point cannot be removed (EBUSY), even by root.
TEST_F(Leases, WhoseFileCannotBeRemovedDoNotComeBack) {
  const LeasePtr lease = table.add(describe(1), kPlenty).value();
  const std::filesystem::path file = files / (lease->id + ".json");
  if (::mount(file.c_str(), file.c_str(), nullptr, MS_BIND, nullptr) != 0) GTEST_SKIP() << "needs root to mount";
  EXPECT_EQ(table.remove(lease->id), lease);
  EXPECT_EQ(table.left_behind(), 1u);
  table.remove_expired(clock.now());
  EXPECT_EQ(table.left_behind(), 1u) << "as long as it is there";
  {
    LeaseTable next(files);
    load(next);
    EXPECT_EQ(next.size(), 0u);
  }
  ::umount2(file.c_str(), MNT_DETACH);
  EXPECT_THAT(table.remove_expired(clock.now()), IsEmpty());
  EXPECT_EQ(table.left_behind(), 0u);
  EXPECT_THAT(test::names_in(files), IsEmpty());
}

TEST_F(Leases, ServeTheirConnectorsOnly) {
  Lease lease = describe(1);
  EXPECT_TRUE(lease.serves(*ConnectorName::parse("default/github")));
  EXPECT_FALSE(lease.serves(*ConnectorName::parse("team/github")));
  EXPECT_FALSE(lease.serves(*ConnectorName::parse("gitlab")));
}

}  // namespace
}  // namespace mintfs::broker
