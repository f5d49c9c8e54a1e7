#include "broker/job_credentials.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <cstring>

#include <sys/resource.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr uid_t kAlice = 4001;

CredentialPattern at(std::string host, std::string user = "alice", std::string protocol = "https") {
  return {.protocol = std::move(protocol), .host = std::move(host), .path = {}, .username = std::move(user)};
}

JobCredential with(CredentialPattern where, std::string_view password) {
  JobCredential credential;
  credential.where = std::move(where);
  credential.password = Secret(password);
  return credential;
}

std::string password_of(const std::optional<JobCredential>& found) {
  return found && found->password ? std::string(found->password->reveal()) : "(none)";
}

class JobCredentialsTest : public testing::Test {
 protected:
  std::string find(const LeasePtr& of, const CredentialPattern& want) {
    return password_of(credentials.find(*of, want, false));
  }

  test::TestBroker broker;
  JobCredentials credentials{broker.clock};
  LeasePtr lease = broker.open(kAlice);
  LeasePtr other = broker.open(kAlice);
};

TEST_F(JobCredentialsTest, BelongToOneLease) {
  ASSERT_TRUE(credentials.store(*lease, with(at("a.example"), "one")));
  EXPECT_EQ(find(lease, at("a.example")), "one");
  EXPECT_EQ(find(other, at("a.example")), "(none)");
  EXPECT_EQ(credentials.erase(*other, {}), 0U);
  EXPECT_EQ(find(lease, {}), "one");
}

TEST_F(JobCredentialsTest, KeepTheirSecretsApartThroughEveryChange) {
  for (const auto* host : {"a.example", "b.example", "c.example"}) {
    JobCredential credential = with(at(host), std::string(host) + "-password");
    credential.authtype = "Bearer";
    credential.credential = Secret(std::string(host) + "-credential");
    credential.refresh_token = Secret(std::string(host) + "-refresh");
    ASSERT_TRUE(credentials.store(*lease, std::move(credential)));
  }
  ASSERT_TRUE(credentials.store(*lease, with(at("b.example"), "")));
  EXPECT_EQ(credentials.erase(*lease, at("a.example")), 1U);
  EXPECT_EQ(find(lease, at("b.example")), "");
  const auto last = credentials.find(*lease, at("c.example"), true);
  ASSERT_TRUE(last && last->credential && last->refresh_token);
  EXPECT_EQ(password_of(last), "c.example-password");
  EXPECT_EQ(last->credential->reveal(), "c.example-credential");
  EXPECT_EQ(last->refresh_token->reveal(), "c.example-refresh");
}

TEST_F(JobCredentialsTest, AreGivenTheLastOfThoseThatMatch) {
  ASSERT_TRUE(credentials.store(*lease, with(at("a.example", "alice"), "one")));
  ASSERT_TRUE(credentials.store(*lease, with(at("a.example", "bob"), "two")));
  const CredentialPattern anybody{.protocol = "https", .host = "a.example", .path = {}, .username = {}};
  EXPECT_EQ(find(lease, anybody), "two");
}

TEST_F(JobCredentialsTest, AreNotGivenFromTheSecondOnInWhichTheyExpire) {
  JobCredential credential = with(at("a.example"), "one");
  credential.expires = std::chrono::floor<std::chrono::seconds>(broker.clock.now()).time_since_epoch().count() + 60;
  ASSERT_TRUE(credentials.store(*lease, std::move(credential)));
  broker.clock.advance(std::chrono::seconds(59));
  EXPECT_EQ(find(lease, at("a.example")), "one");
  broker.clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(find(lease, at("a.example")), "(none)");
}

TEST_F(JobCredentialsTest, EndWithTheirLease) {
  broker.broker.observe(credentials);
  ASSERT_TRUE(credentials.store(*lease, with(at("a.example"), "one")));
  ASSERT_TRUE(credentials.store(*other, with(at("a.example"), "two")));
  broker.close(lease);
  EXPECT_EQ(credentials.count(), 1U);
  broker.clock.advance(std::chrono::hours(13));
  broker.broker.close_expired();
  EXPECT_EQ(credentials.count(), 0U);
}

TEST_F(JobCredentialsTest, AreBoundedInNumberAndAFullLeaseKeepsWhatItHas) {
  for (std::size_t i = 0; i < JobCredentials::kMaxEntries; ++i)
    ASSERT_TRUE(credentials.store(*lease, with(at(std::to_string(i) + ".example"), "x")));
  EXPECT_EQ(credentials.store(*lease, with(at("more.example"), "x")).error(), Errc::too_many);
  EXPECT_TRUE(credentials.store(*lease, with(at("0.example"), "newer")));
  EXPECT_EQ(find(lease, at("0.example")), "newer");
  EXPECT_EQ(credentials.count(), JobCredentials::kMaxEntries);
  EXPECT_TRUE(credentials.store(*other, with(at("more.example"), "x")));
}

TEST_F(JobCredentialsTest, AreBoundedInBytesAndOneThatDoesNotFitReplacesNothing) {
  ASSERT_TRUE(credentials.store(*lease, with(at("a.example"), std::string(JobCredentials::kMaxBytes, 'x'))));
  EXPECT_EQ(credentials.store(*lease, with(at("b.example"), "x")).error(), Errc::too_many);
  const std::string larger(JobCredentials::kMaxBytes + 1, 'y');
  EXPECT_EQ(credentials.store(*lease, with(at("a.example"), larger)).error(), Errc::too_many);
  EXPECT_EQ(find(lease, at("a.example")).front(), 'x');
}

TEST_F(JobCredentialsTest, AreBoundedInTheBytesOfWhatSaysWhoseTheyAre) {
  const auto with_path = [](std::size_t number) {
    CredentialPattern where = at(std::to_string(number) + ".example");
    where.path = std::string(kMaxCredentialText, 'p');
    return with(std::move(where), "x");
  };
  constexpr std::size_t kFit = JobCredentials::kMaxBytes / kMaxCredentialText - 1;
  for (std::size_t i = 0; i < kFit; ++i) ASSERT_TRUE(credentials.store(*lease, with_path(i)));
  EXPECT_EQ(credentials.store(*lease, with_path(kFit)).error(), Errc::too_many);
  EXPECT_TRUE(credentials.store(*lease, with_path(0))) << "in place of another";
  EXPECT_TRUE(credentials.store(*lease, with(at("short.example"), "x")));
  EXPECT_EQ(credentials.count(), kFit + 1);
}

TEST_F(JobCredentialsTest, OfOneUserLeaveRoomForOthers) {
  const std::string large(JobCredentials::kMaxBytes, 'x');
  Errc error{};
  for (std::size_t i = 0; error == Errc{}; ++i) {
    ASSERT_LE(i * JobCredentials::kMaxBytes, JobCredentials::kMaxPerUser);
    const auto stored = credentials.store(*broker.open(kAlice), with(at("a.example"), large));
    if (!stored) error = to_errc(stored.error());
  }
  EXPECT_EQ(error, Errc::too_many);
  EXPECT_TRUE(credentials.store(*broker.open(kAlice + 1), with(at("a.example"), large)));
}

TEST_F(JobCredentialsTest, AreHandedOverWholeOrNotAtAll) {
  ASSERT_TRUE(credentials.store(*lease, with(at("a.example"), "one")));
  ASSERT_TRUE(credentials.store(*lease, with(at("b.example"), "two")));
  ASSERT_TRUE(credentials.store(*other, with(at("b.example"), "old")));
  ASSERT_TRUE(credentials.hand_over(*lease, *other));
  EXPECT_EQ(find(other, at("a.example")), "one");
  EXPECT_EQ(find(other, at("b.example")), "two");
  EXPECT_EQ(find(lease, {}), "(none)");

  ASSERT_TRUE(credentials.store(*lease, with(at("c.example"), std::string(JobCredentials::kMaxBytes, 'x'))));
  EXPECT_EQ(credentials.hand_over(*lease, *other).error(), Errc::too_many);
  EXPECT_EQ(find(other, at("c.example")), "(none)");
  EXPECT_EQ(find(lease, at("c.example")).size(), JobCredentials::kMaxBytes);
}

TEST(LockedMemory, IsWholePagesOfZerosAndRefusedWhereNoMoreIsLocked) {
  auto memory = LockedMemory::make(1);
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->size(), static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(memory->bytes().front(), 0);
  EXPECT_EQ(LockedMemory::make(std::size_t{1} << 60).error(), Errc::too_many);
}

}  // namespace
}  // namespace mintfs::broker
