#include "kube/cluster.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

namespace mintfs::kube {
namespace {

struct ClusterTest : testing::Test {
  void write(const std::string& name, std::string_view text) { std::ofstream(folder.path() / name) << text; }
  std::function<const char*(const char*)> variables() {
    return [this](const char* name) { return environment.contains(name) ? environment[name].c_str() : nullptr; };
  }
  // The sentence of the exception; empty for none.
  std::string refusal() {
    try {
      in_cluster(variables(), folder.path());
      return {};
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }
  std::map<std::string, std::string> environment{{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                                 {"KUBERNETES_SERVICE_PORT", "443"}};
  test::TempDir folder;
};

TEST_F(ClusterTest, IsFoundAsAPodFindsIt) {
  write("namespace", "connectors-system");
  const Cluster cluster = in_cluster(variables(), folder.path());
  EXPECT_EQ(cluster.server.text(), "https://10.96.0.1");
  EXPECT_EQ(cluster.space, "connectors-system");
  EXPECT_EQ(cluster.token_file, folder.path() / "token");
  EXPECT_EQ(cluster.ca_file, folder.path() / "ca.crt");
}

TEST_F(ClusterTest, TakesAnIpv6Host) {
  write("namespace", "x");
  environment["KUBERNETES_SERVICE_HOST"] = "fd00::1";
  environment["KUBERNETES_SERVICE_PORT"] = "6443";
  EXPECT_EQ(in_cluster(variables(), folder.path()).server.text(), "https://[fd00::1]:6443");
}

TEST_F(ClusterTest, SaysWhatIsMissing) {
  EXPECT_NE(refusal().find("namespace"), std::string::npos);
  write("namespace", "x");
  EXPECT_EQ(refusal(), "");
  environment.erase("KUBERNETES_SERVICE_PORT");
  EXPECT_NE(refusal().find("KUBERNETES_SERVICE_PORT"), std::string::npos);
}

TEST_F(ClusterTest, IsNeverSpokenToWithoutTls) {
  for (const char* const url : {"http://10.0.0.1:443", "10.0.0.1", "https://api/prefix", ""})
    EXPECT_THROW(at(url, "t", "c", "s"), std::runtime_error) << url;
}

TEST_F(ClusterTest, ReadsTheTokenAgainWhenItHasChanged) {
  write("token", "first.token_1\n");
  TokenFile token(folder.path() / "token");
  EXPECT_EQ(token.get()->reveal(), "first.token_1");
  // As kubelet does it: another file takes the name.
  write("new", "second");
  std::filesystem::rename(folder.path() / "new", folder.path() / "token");
  EXPECT_EQ(token.get()->reveal(), "second");
}

TEST_F(ClusterTest, RefusesATokenThatCouldEndItsHeaderLine) {
  for (const std::string& text : {std::string(), std::string("\n"), std::string("a b"), std::string("a\r\nX: y"),
                                  std::string("a\0b", 3), std::string(16 * 1024 + 1, 'a')}) {
    write("token", text);
    const auto token = TokenFile(folder.path() / "token").get();
    ASSERT_FALSE(token) << text;
    EXPECT_EQ(token.error().reason, Reason::token_missing);
  }
  std::filesystem::remove(folder.path() / "token");
  EXPECT_FALSE(TokenFile(folder.path() / "token").get());
}

}  // namespace
}  // namespace mintfs::kube
