#include "proxy/credentials/credential.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <fstream>

#include <sys/resource.h>
#include <sys/stat.h>

namespace mintfs::proxy {
namespace {

class CredentialStoreTest : public testing::Test {
 protected:
  CredentialStoreTest() {
    connector_.auth = {.type = broker::AuthConfig::Type::bearer, .username = {}, .secret_file = file_};
    write("first");
    store_.load(*test::table_of({connector_}));
  }
  // Replaces the file, as administrators' tools do: the version always differs.
  void write(const std::string& secret) const {
    const auto other = directory_.path() / "new";
    std::ofstream(other) << secret;
    ::chmod(other.c_str(), 0600);
    std::filesystem::rename(other, file_);
  }
  std::string line() { return std::string(store_.find(connector_)->header_line.reveal()); }
  std::size_t refresh() {
    std::size_t told = 0;
    store_.refresh([&](const std::string&) { ++told; });
    return told;
  }

  test::TempDir directory_;
  std::filesystem::path file_ = directory_.path() / "secret";
  broker::ConnectorConfig connector_ = test::connector("git", "http://git.example");
  CredentialStore store_;
};

TEST_F(CredentialStoreTest, ReadsWhatChanged) {
  EXPECT_EQ(refresh(), 0u);
  write("second");
  EXPECT_EQ(refresh(), 1u);
  EXPECT_EQ(line(), "Authorization: Bearer second\r\n");
  EXPECT_EQ(refresh(), 0u);
}

TEST_F(CredentialStoreTest, KeepsWhatIsKnownAndTellsAFailureOnce) {
  write("two\nlines");
  EXPECT_EQ(refresh(), 1u);
  EXPECT_EQ(refresh(), 0u);
  EXPECT_EQ(line(), "Authorization: Bearer first\r\n");
  std::filesystem::remove(file_);
  EXPECT_EQ(refresh(), 1u);
  write("third");
  EXPECT_EQ(refresh(), 1u);
  EXPECT_EQ(line(), "Authorization: Bearer third\r\n");
}

// There may be no descriptor left at the moment, and the file does not change again.
TEST_F(CredentialStoreTest, AFailureThatPassesIsTriedAgain) {
  write("second");
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(refresh(), 1u);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(line(), "Authorization: Bearer first\r\n");
  EXPECT_EQ(refresh(), 1u);
  EXPECT_EQ(line(), "Authorization: Bearer second\r\n");
}

}  // namespace
}  // namespace mintfs::proxy
