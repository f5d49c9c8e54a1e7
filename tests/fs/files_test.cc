// The files of other tools: exactly as they should be, and closed to what is written into names and addresses.
#include "fs/render.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace mintfs::fs {
namespace {

using broker::ConnectorClass;
using broker::ConnectorConfig;
using test::connector_of;

constexpr std::string_view kId = "k5xg2z3fnzxw4ijammzc4mjagq";
constexpr std::string_view kHttp = "http://127.0.0.1:8418", kHttps = "https://proxy.example:8443";
constexpr std::string_view kAuthorities = "/run/mintfs/fs/k5xg2z3fnzxw4ijammzc4mjagq/ca.crt";

std::string token_for(const broker::ConnectorName& name) { return "token-for-" + name.space + "-" + name.name; }

struct File {
  Content content;
  std::vector<ConnectorConfig> connectors;
  std::string_view proxy = kHttp;
};

broker::Lease lease_of(const File& file) {
  broker::Lease lease;
  lease.id = kId;
  for (const auto& each : file.connectors) lease.connectors.push_back(each.name);
  return lease;
}

broker::Result<Template> render(const File& file) {
  const broker::Lease lease = lease_of(file);
  return fs::render(file.content, {.lease = lease,
                                   .connectors = *test::table_of(file.connectors),
                                   .proxy_url = file.proxy,
                                   .token_size = [](const auto& name) { return token_for(name).size(); },
                                   .authorities = file.proxy == kHttps ? kAuthorities : std::string_view()});
}

std::string filled(const File& file) {
  const Template view = render(file).value();
  const broker::Lease lease = lease_of(file);
  std::string out(view.size(), '?');
  EXPECT_FALSE(fill(view, out.data(), [&](const Template::Hole& hole, char* at) -> broker::Result<char*> {
    const std::string token = token_for(lease.connectors[hole.connector]);
    EXPECT_EQ(token.size(), hole.token_size);
    return std::copy(token.begin(), token.end(), at);
  }));
  return out;
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Golden {
  const char* file;
  File given;
};

class Files : public testing::TestWithParam<Golden> {};

TEST_P(Files, AreExactlyTheGoldenOnes) {
  const auto file = std::filesystem::path(GOLDEN_DIR) / GetParam().file;
  EXPECT_EQ(filled(GetParam().given), content_of(file)) << file;
}

const std::vector<ConnectorConfig> kNpm = {
    connector_of(ConnectorClass::npm, "npm", "https://registry.npmjs.org"),
    connector_of(ConnectorClass::npm, "team/npm", "https://npm.example.com", {"@acme/*", "@acme/app", "@other/*"})};
const std::vector<ConnectorConfig> kPypi = {
    connector_of(ConnectorClass::pypi, "index", "https://pypi.example.com/root/prod"),
    connector_of(ConnectorClass::pypi, "team/upload", "https://upload.pypi.org")};
const std::vector<ConnectorConfig> kMaven = {
    connector_of(ConnectorClass::maven, "central", "https://maven.example.com/central"),
    connector_of(ConnectorClass::nexus, "team/releases", "https://nexus.example.com/repository/releases")};
const std::vector<ConnectorConfig> kOci = {
    connector_of(ConnectorClass::oci, "hub", "https://registry-1.docker.io"),
    connector_of(ConnectorClass::harbor, "team/harbor", "https://harbor.example.com")};
const std::vector<ConnectorConfig> kClusters = {
    connector_of(ConnectorClass::k8s, "prod", "https://k8s.example.com:6443"),
    connector_of(ConnectorClass::k8s, "team/test", "https://test.example.com:6443")};
const std::vector<ConnectorConfig> kForges = {
    connector_of(ConnectorClass::github, "github", "https://github.com"),
    connector_of(ConnectorClass::gitlab, "team/gitlab", "https://gitlab.example.com")};

INSTANTIATE_TEST_SUITE_P(
    Golden, Files,
    testing::Values(
        Golden{"git-credentials", {Content::git_credentials, kForges}}, Golden{"netrc", {Content::netrc, kForges}},
        Golden{"npmrc", {Content::npmrc, kNpm}}, Golden{"yarnrc.yml", {Content::yarnrc, kNpm}},
        Golden{"https.yarnrc.yml", {Content::yarnrc, kNpm, kHttps}}, Golden{"pip.conf", {Content::pip, kPypi}},
        Golden{"https.pip.conf", {Content::pip, kPypi, kHttps}}, Golden{"pypirc", {Content::pypirc, kPypi}},
        Golden{"settings.xml", {Content::maven, kMaven}}, Golden{"config.json", {Content::docker, kOci}},
        Golden{"buildkitd.toml", {Content::buildkitd, kOci}},
        Golden{"https.buildkitd.toml", {Content::buildkitd, kOci, kHttps}},
        Golden{"cargo-credentials.toml", {Content::cargo_credentials, kMaven}},
        Golden{"cargo-config.toml", {Content::cargo_config, kMaven}},
        Golden{"gh-config.yml", {Content::gh_config, kForges}}, Golden{"gh-hosts.yml", {Content::gh_hosts, kForges}},
        Golden{"glab-config.yml", {Content::glab, kForges}},
        Golden{"sonar-project.properties",
               {Content::sonar, {connector_of(ConnectorClass::sonarqube, "sonar", "https://sonar.example.com")}}},
        Golden{"kubeconfig", {Content::kubeconfig, kClusters}},
        Golden{"https.kubeconfig", {Content::kubeconfig, kClusters, kHttps}}),
    [](const auto& golden) {
      std::string name = golden.param.file;
      std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
      return name;
    });

constexpr Content kEvery[] = {
    Content::gitconfig,
    Content::git_credentials,
    Content::netrc,
    Content::npmrc,
    Content::yarnrc,
    Content::pip,
    Content::pypirc,
    Content::maven,
    Content::docker,
    Content::buildkitd,
    Content::cargo_credentials,
    Content::cargo_config,
    Content::gh_config,
    Content::gh_hosts,
    Content::glab,
    Content::sonar,
    Content::kubeconfig,
};

TEST(EveryFile, IsAsLongAsItSaysAndHoldsNothingWhereNoConnectorIsForIt) {
  const std::vector<ConnectorConfig> none;
  for (const Content content : kEvery) {
    for (const auto& connectors : {none, kNpm, kPypi, kMaven, kOci, kClusters, kForges}) {
      const File file{content, connectors};
      const auto text = render(file);
      ASSERT_TRUE(text) << static_cast<int>(content);
      EXPECT_EQ(filled(file).size(), text->size());
      bool any = false;
      for (const auto& each : connectors) any = any || is_for(content, each.connector_class);
      const bool has_tokens = content != Content::buildkitd && content != Content::cargo_config;
      EXPECT_EQ(text->holes.empty(), !(any && has_tokens)) << static_cast<int>(content);
    }
  }
}

TEST(EveryFile, SendsNoTokenToAConnectorsOwnServer) {
  for (const Content content : kEvery) {
    if (content == Content::gitconfig || content == Content::buildkitd) continue;  // they say what is rewritten
    for (const auto& connectors : {kNpm, kPypi, kMaven, kOci, kClusters}) {
      const std::string text = filled({content, connectors});
      for (const auto& each : connectors)
        EXPECT_EQ(text.find(each.address.host), std::string::npos) << static_cast<int>(content) << "\n" << text;
    }
  }
}

}  // namespace
}  // namespace mintfs::fs
