// The files of other tools: exactly as they should be, and closed to what is written into names and addresses.
#include "fs/render.h"
#include "fs/text.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

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

std::string token_for(const broker::ConnectorName& name) {
  std::string token = "token-for-" + name.space + "-" + name.name;
  std::replace_if(
      token.begin(), token.end(), [](unsigned char c) { return !std::isalnum(c); }, '-');  // as tokens are
  return token;
}

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

using Formats = std::map<broker::PackageFormat, std::string>;

ConnectorConfig with_formats(ConnectorConfig connector, Formats formats) {
  connector.formats = std::move(formats);
  return connector;
}

const Formats kFormats = {{broker::PackageFormat::npm, "npm-group"},
                          {broker::PackageFormat::pypi, "pypi-all"},
                          {broker::PackageFormat::maven, "maven-public"},
                          {broker::PackageFormat::cargo, "crates"}};

const std::vector<ConnectorConfig> kNpm = {
    connector_of(ConnectorClass::npm, "npm", "https://packages.example.org"),
    connector_of(ConnectorClass::npm, "team/npm", "https://npm.example.com", {"@acme/*", "@acme/app", "@other/*"})};
const std::vector<ConnectorConfig> kPypi = {
    connector_of(ConnectorClass::pypi, "index", "https://pypi.example.com/root/prod"),
    connector_of(ConnectorClass::pypi, "team/upload", "https://upload.example.org/legacy")};
const std::vector<ConnectorConfig> kMaven = {
    connector_of(ConnectorClass::maven, "central", "https://maven.example.com/central"),
    with_formats(connector_of(ConnectorClass::nexus, "team/releases", "https://nexus.example.com"), kFormats)};
const std::vector<ConnectorConfig> kServers = {
    with_formats(connector_of(ConnectorClass::nexus, "nexus", "https://nexus.example.com"), kFormats),
    with_formats(connector_of(ConnectorClass::jfrog, "team/jfrog", "https://jfrog.example.com"), kFormats),
    with_formats(connector_of(ConnectorClass::jfrog, "team/own", "https://own.example.org/artifactory"), kFormats)};
const std::vector<ConnectorConfig> kOci = {
    connector_of(ConnectorClass::oci, "hub", "https://registry-1.hub.example"),
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
        Golden{"servers.npmrc", {Content::npmrc, kServers}}, Golden{"servers.yarnrc.yml", {Content::yarnrc, kServers}},
        Golden{"servers.pip.conf", {Content::pip, kServers}}, Golden{"servers.pypirc", {Content::pypirc, kServers}},
        Golden{"servers.settings.xml", {Content::maven, kServers}},
        Golden{"servers.cargo-config.toml", {Content::cargo_config, kServers}},
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
    for (const auto& connectors : {none, kNpm, kPypi, kMaven, kServers, kOci, kClusters, kForges}) {
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

class OfNoConnector : public testing::TestWithParam<Content> {};

TEST_P(OfNoConnector, SaysSo) {
  const Content content = GetParam();
  const bool git = is_for(content, ConnectorClass::git);
  const File file{content,
                  {connector_of(git ? ConnectorClass::npm : ConnectorClass::git, "other", "https://a.example")}};
  const std::string text = filled(file);
  const std::string_view begin =
      content == Content::maven ? "<!-- No connector of the lease " : "# No connector of the lease ";
  EXPECT_EQ(text.rfind(begin, 0), 0u) << text;
  EXPECT_EQ(text.find("token-for"), std::string::npos) << text;
}

INSTANTIATE_TEST_SUITE_P(Files, OfNoConnector,
                         testing::Values(Content::gitconfig, Content::npmrc, Content::yarnrc, Content::pip,
                                         Content::pypirc, Content::maven, Content::buildkitd,
                                         Content::cargo_credentials, Content::cargo_config, Content::gh_hosts,
                                         Content::glab, Content::sonar, Content::kubeconfig));

TEST(OfNoConnector, IsReadableAllTheSameWhereThereAreNoComments) {
  const auto npm = connector_of(ConnectorClass::npm, "npm", "https://npm.example");
  EXPECT_TRUE(boost::json::parse(filled({Content::docker, {npm}})).is_object());
  EXPECT_EQ(filled({Content::git_credentials, {npm}}), "");
}

// Which repository of a server the files of its package managers name.
struct Named {
  std::string what;
  Formats formats;
  std::vector<std::string> repositories;  // of the connector
  std::vector<std::string> narrowed;      // of the lease
  std::string npm;                        // the repository that .npmrc names; empty: the connector is left out
};

class OneRepository : public testing::TestWithParam<Named> {};

TEST_P(OneRepository, IsNamedOrNone) {
  const Named& given = GetParam();
  const auto connector = with_formats(
      connector_of(ConnectorClass::nexus, "nexus", "https://nexus.example.com", given.repositories), given.formats);
  broker::Lease lease = lease_of({Content::npmrc, {connector}});
  for (const auto& each : given.narrowed) lease.rights.repositories.emplace_back(each);
  const auto text = fs::render(Content::npmrc, {.lease = lease,
                                                .connectors = *test::table_of({connector}),
                                                .proxy_url = kHttp,
                                                .token_size = [](const auto&) { return 10; }})
                        .value();
  if (given.npm.empty()) {
    EXPECT_TRUE(text.holes.empty()) << "no token for a place that serves no package";
    EXPECT_EQ(text.text.find("registry="), std::string::npos) << text.text;
    EXPECT_EQ(text.text.rfind("# Left out: ", 0), 0u) << text.text;
  } else {
    const auto line =
        "registry=http://127.0.0.1:8418/namespaces/default/connectors/nexus/repository/" + given.npm + "/\n";
    EXPECT_EQ(text.text.rfind(line, 0), 0u) << text.text;
  }
}

using enum broker::PackageFormat;
INSTANTIATE_TEST_SUITE_P(
    Nexus, OneRepository,
    testing::Values(Named{"OfItsFormat", {{npm, "group"}, {pypi, "index"}}, {}, {}, "group"},
                    Named{"OfItsFormatAmongRights", {{npm, "group"}}, {"gr*", "index"}, {"group"}, "group"},
                    Named{"OfAnotherFormatOnly", {{pypi, "index"}}, {}, {}, ""},
                    Named{"OfAnotherFormatOnlyWithOneRight", {{pypi, "index"}}, {"group"}, {}, ""},
                    Named{"OutOfTheLeasesRights", {{npm, "group"}}, {}, {"other"}, ""},
                    Named{"OutOfTheConnectorsRights", {{npm, "group"}}, {"other"}, {"group"}, ""},
                    Named{"NobodySays", {}, {}, {}, ""}, Named{"TheOnlyOneOfTheConnector", {}, {"only"}, {}, "only"},
                    Named{"TheOnlyOneOfTheLease", {}, {}, {"only"}, "only"},
                    Named{"TheOnlyOneOfTheLeaseAmongRights", {}, {"on*", "two"}, {"only"}, "only"},
                    Named{"TheOnlyOneOfTheLeaseOutOfRights", {}, {"two"}, {"only"}, ""},
                    Named{"OneOfTwo", {}, {"one", "two"}, {}, ""}, Named{"APattern", {}, {"npm-*"}, {}, ""},
                    Named{"APath", {}, {"npm/group"}, {}, ""}),
    [](const auto& named) { return named.param.what; });

TEST(OwnFile, IsRenderedWithTheTokensOfItsClassesAndAsLongAsItSays) {
  broker::FileConfig file;
  file.classes = {ConnectorClass::gitlab};
  file.text =
      "{{lease}}\n{{#connectors}}{{label}} {{token}} {{basic}} {{url}} {{address}} {{host}} "
      "{{class}}\n{{/connectors}}end";
  const File forges{Content::gitconfig, kForges};
  const broker::Lease lease = lease_of(forges);
  const auto connectors = test::table_of(kForges);
  const Template text = fs::render(file, {.lease = lease,
                                          .connectors = *connectors,
                                          .proxy_url = kHttp,
                                          .token_size = [](const auto& name) { return token_for(name).size(); }})
                            .value();
  std::string out(text.size(), '?');
  ASSERT_FALSE(fill(text, out.data(), [&](const Template::Hole& hole, char* at) -> broker::Result<char*> {
    const std::string token = token_for(lease.connectors[hole.connector]);
    return std::copy(token.begin(), token.end(), at);
  }));
  EXPECT_EQ(out, std::string(kId) + "\nteam+gitlab token-for-team-gitlab " +
                     broker::base64_encode(":token-for-team-gitlab") +
                     " http://127.0.0.1:8418/namespaces/team/connectors/gitlab https://gitlab.example.com "
                     "gitlab.example.com gitlab\nend");
  ASSERT_EQ(text.ids.size(), 1u);
}

TEST(OwnFile, ThatWouldBeTooLargeIsNone) {
  broker::FileConfig file;
  for (int i = 0; i < 60; ++i) file.text += std::string(1000, 'x') + "\n";
  file.text = "{{#connectors}}" + file.text + "{{/connectors}}";
  std::vector<ConnectorConfig> many;
  for (int i = 0; i < 4; ++i)
    many.push_back(connector_of(ConnectorClass::npm, "n" + std::to_string(i), "https://n.example"));
  const File all{Content::npmrc, many};
  EXPECT_FALSE(fs::render(file, {.lease = lease_of(all),
                                 .connectors = *test::table_of(many),
                                 .proxy_url = kHttp,
                                 .token_size = [](const auto&) { return 10; }}));
}

TEST(TextQuoted, IsReadBackByAParser) {
  std::string all;
  for (char c = 1; c != 0x7f; ++c) all += c;
  all += '\x7f';
  Text out;
  EXPECT_EQ(boost::json::parse(out.quoted(all).take("")->text).as_string(), all);
  for (const std::string& bad : {std::string("\0", 1), std::string("\xc3\xa9")}) {
    Text none;
    EXPECT_FALSE(none.quoted(bad).take("")) << "not the same in JSON, YAML and TOML";
  }
}

TEST(TextXml, HoldsNoMarkup) {
  Text out;
  EXPECT_EQ(out.xml("<a b='c' d=\"e\">&amp;]]>").take("")->text,
            "&lt;a b=&apos;c&apos; d=&quot;e&quot;&gt;&amp;amp;]]&gt;");
  Text none;
  EXPECT_FALSE(none.xml("a\nb").take(""));
}

TEST(TextPlain, RefusesWhatAnyFormatOfLinesTakesApart) {
  for (const char c : std::string_view(" \t\n\r\"'#;=%$\\!&<>{}|`^*?()\x01\x7f\xc3")) {
    Text out;
    EXPECT_FALSE(out.plain(std::string("a") + c + "b").take("")) << c;
  }
  Text empty;
  EXPECT_FALSE(empty.plain("").take("")) << "the next word would take its place";
  Text out;
  EXPECT_TRUE(out.plain("http://[fd00::1]:8418/namespaces/a/connectors/b_c-d.e~f+g,h/@").take(""));
}

// What would add a key, a line or an element if it were written as it is.
class HostileFile : public testing::TestWithParam<std::string> {};

// There may be no line more than for a name that is a plain word.
TEST_P(HostileFile, HasNoLineMoreThanWithAPlainName) {
  const std::string& hostile = GetParam();
  for (const Content content : kEvery) {
    if (content == Content::gitconfig) continue;  // render_test.cc
    for (auto connectors : {kNpm, kPypi, kMaven, kServers, kOci, kClusters, kForges}) {
      const auto lines = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
      const auto before = lines(filled({content, connectors}));
      connectors[0].name.name = "x" + hostile;
      connectors[0].address.host = "x" + hostile;
      const File file{content, connectors};
      if (!render(file)) continue;  // refused
      const std::string text = filled(file);
      EXPECT_EQ(lines(text), before) << text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Text, HostileFile,
                         testing::Values("\"", "\\", "\n", "\r", "\t", " ", "#", ";", "=x", "%(x)s", "${HOME}", "$(id)",
                                         "]", "<", "&amp;", "\"\n[registries.\"x", "\nmachine evil password x",
                                         "</id></server>", "'", "\": {\"auth\": \"", "\x01", "\x7f", "\xc3\xa9", "!x",
                                         "\n  evil: yes"));

TEST(EveryFile, SendsNoTokenToAConnectorsOwnServer) {
  for (const Content content : kEvery) {
    if (content == Content::gitconfig || content == Content::buildkitd) continue;  // they say what is rewritten
    for (const auto& connectors : {kNpm, kPypi, kMaven, kServers, kOci, kClusters}) {
      const std::string text = filled({content, connectors});
      for (const auto& each : connectors)
        EXPECT_EQ(text.find(each.address.host), std::string::npos) << static_cast<int>(content) << "\n" << text;
    }
  }
}

}  // namespace
}  // namespace mintfs::fs
