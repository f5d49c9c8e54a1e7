#include "broker/credential_handover.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

TEST(CredentialHandover, BringsAllOfThemToTheLeasesThatAreOpen) {
  test::TestBroker broker;
  JobCredentials old(broker.clock), next(broker.clock);
  const LeasePtr open = broker.open(4001), closed = broker.open(4001);
  JobCredential credential;
  credential.where = {.protocol = "https", .host = "a.example", .path = "x\"y", .username = ""};
  credential.authtype = "Bearer";
  credential.expires = 4'000'000'000;
  credential.credential = Secret("one\xff");
  credential.refresh_token = Secret("two");
  for (const LeasePtr& lease : {open, closed}) {
    JobCredential copy;
    copy.where = credential.where;
    copy.authtype = credential.authtype;
    copy.expires = credential.expires;
    copy.credential = credential.credential->clone();
    copy.refresh_token = credential.refresh_token->clone();
    ASSERT_TRUE(old.store(*lease, std::move(copy)));
  }
  CredentialHandover way;
  ASSERT_TRUE(way.write(save(old)));
  broker.close(closed);
  restore(CredentialHandover::read(::dup(way.descriptor())), next, broker.broker);
  EXPECT_EQ(next.count(), 1U);
  const auto found = next.find(*open, {}, true);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->where.path, "x\"y");
  EXPECT_EQ(found->where.username, "");
  EXPECT_EQ(found->authtype, "Bearer");
  EXPECT_EQ(found->expires, 4'000'000'000);
  EXPECT_FALSE(found->password);
  EXPECT_EQ(found->credential->reveal(), "one\xff");
  EXPECT_EQ(found->refresh_token->reveal(), "two");
}

TEST(CredentialHandover, CannotBeChangedAndIsWipedAtItsEnd) {
  int descriptor = -1;
  char byte = 'x';
  {
    CredentialHandover way;
    ASSERT_TRUE(way.write(Secret("secret")));
    descriptor = ::dup(way.descriptor());
    EXPECT_EQ(::pwrite(descriptor, &byte, 1, 0), -1);
    EXPECT_EQ(::mmap(nullptr, 6, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), MAP_FAILED);
    EXPECT_EQ(::ftruncate(descriptor, 0), -1);
    ASSERT_EQ(::pread(descriptor, &byte, 1, 0), 1);
    EXPECT_EQ(byte, 's');
  }
  ASSERT_EQ(::pread(descriptor, &byte, 1, 0), 1);
  EXPECT_EQ(byte, '\0');
  ::close(descriptor);
}

TEST(CredentialHandover, IsNothingWhereItWasNotWrittenOrNotSealed) {
  CredentialHandover way;
  EXPECT_TRUE(CredentialHandover::read(::dup(way.descriptor())).empty());
  EXPECT_TRUE(CredentialHandover::read(-1).empty());
  ASSERT_EQ(::write(way.descriptor(), "secret", 6), 6);
  EXPECT_TRUE(CredentialHandover::read(::dup(way.descriptor())).empty());
}

}  // namespace
}  // namespace mintfs::broker
