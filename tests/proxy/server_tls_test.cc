#include "proxy/server_tls.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <openssl/ssl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace mintfs::proxy {
namespace {

class ServerTlsTest : public testing::Test {
 protected:
  // One that signs itself.
  void issue(const std::string& stem) const {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + stem + " -keyout " +
        (folder.path() / (stem + ".key")).string() + " -out " + (folder.path() / (stem + ".pem")).string() +
        " 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
    std::filesystem::permissions(folder.path() / (stem + ".key"), std::filesystem::perms::owner_read);
  }
  void replace(const std::string& stem, const std::string& suffix) const {
    std::filesystem::rename(folder.path() / (stem + suffix), folder.path() / ("proxy" + suffix));
  }
  ServerTls::Files files() const { return {folder.path() / "proxy.pem", folder.path() / "proxy.key", {}}; }

  test::TempDir folder;
  std::vector<std::string> said;
  std::function<void(std::string)> report = [this](std::string sentence) { said.push_back(std::move(sentence)); };
};

TEST_F(ServerTlsTest, IsNothingWithoutACertificate) {
  ServerTls tls({});
  EXPECT_EQ(tls.current(), nullptr);
  EXPECT_EQ(tls.authorities(), nullptr);
  EXPECT_FALSE(tls.refresh(report));
}

TEST_F(ServerTlsTest, TakesUpAPairOnceBothAreThere) {
  issue("proxy");
  ServerTls tls(files());
  const auto first = tls.current();
  const auto trusted = tls.authorities();
  ASSERT_TRUE(first && trusted);
  EXPECT_EQ(SSL_CTX_get_min_proto_version(first.get()), TLS1_2_VERSION);
  EXPECT_TRUE(trusted->starts_with("-----BEGIN CERTIFICATE-----"));
  EXPECT_FALSE(tls.refresh(report));

  issue("next");
  replace("next", ".pem");
  EXPECT_FALSE(tls.refresh(report));
  EXPECT_EQ(tls.current(), first) << "certificate and key do not fit";
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("is not the key"), std::string::npos) << said[0];
  EXPECT_FALSE(tls.refresh(report));
  EXPECT_EQ(said.size(), 1u) << "told once";

  replace("next", ".key");
  EXPECT_TRUE(tls.refresh(report));
  EXPECT_NE(tls.current(), first);
  EXPECT_NE(*tls.authorities(), *trusted);
}

TEST_F(ServerTlsTest, RefusesAFileThatIsOfNoUse) {
  issue("proxy");
  auto with_authorities = files();
  with_authorities.authorities = folder.path() / "proxy.key";  // handed to every job
  EXPECT_THROW(ServerTls{with_authorities}, std::runtime_error);
  std::filesystem::permissions(folder.path() / "proxy.key", std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_THROW(ServerTls{files()}, std::runtime_error);
  EXPECT_THROW(ServerTls({folder.path() / "missing", folder.path() / "proxy.key", {}}), std::runtime_error);
}

TEST_F(ServerTlsTest, HandsOutTheCertificatesOfAFileAndNothingElse) {
  issue("proxy");
  issue("other");
  std::ofstream both(folder.path() / "both.pem");
  for (const auto* name : {"other.key", "proxy.pem", "other.pem"})
    both << std::ifstream(folder.path() / name).rdbuf() << "# a note\n";
  both.close();
  auto with_authorities = files();
  with_authorities.authorities = folder.path() / "both.pem";
  ServerTls tls(with_authorities);
  const std::string text = *tls.authorities();
  EXPECT_EQ(text.find("PRIVATE"), std::string::npos);
  EXPECT_EQ(text.find("note"), std::string::npos);
  EXPECT_NE(text.find("BEGIN", 10), std::string::npos) << "both certificates";
}

}  // namespace
}  // namespace mintfs::proxy
