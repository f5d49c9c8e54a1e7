#include "fs/render.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>

namespace mintfs::fs {
namespace {

using broker::ConnectorConfig;
using test::connector;

constexpr std::string_view kProxy = "http://127.0.0.1:8418";
constexpr std::string_view kId = "k5xg2z3fnzxw4ijammzc4mjagq";

std::string token_for(const broker::ConnectorName& name) { return "token-for-" + name.text(); }

struct Case {
  std::vector<ConnectorConfig> connectors;
  std::vector<std::string> repositories = {};  // of the lease
  std::string proxy = std::string(kProxy);
  std::string id = std::string(kId);
  std::string authorities = {};
  Content content = Content::gitconfig;
};

broker::Lease lease_of(const Case& given) {
  broker::Lease lease;
  lease.id = given.id;
  for (const auto& each : given.connectors) lease.connectors.push_back(each.name);
  for (const auto& pattern : given.repositories) lease.rights.repositories.emplace_back(pattern);
  return lease;
}

broker::Result<Template> render(const Case& given, const broker::Connectors& known) {
  return fs::render(given.content, {.lease = lease_of(given),
                                    .connectors = known,
                                    .proxy_url = given.proxy,
                                    .token_size = [](const auto& name) { return token_for(name).size(); },
                                    .authorities = given.authorities});
}

broker::Result<Template> render(const Case& given) { return render(given, *test::table_of(given.connectors)); }

std::string filled(const Case& given) {
  const Template view = render(given).value();
  const broker::Lease lease = lease_of(given);
  std::string out(view.size(), '?');
  const auto error = fill(view, out.data(), [&](const Template::Hole& hole, char* at) -> broker::Result<char*> {
    const std::string token = token_for(lease.connectors[hole.connector]);
    EXPECT_EQ(token.size(), hole.token_size);
    return std::copy(token.begin(), token.end(), at);
  });
  EXPECT_FALSE(error);
  return out;
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What git itself reads: keys and values, in order.
using Entries = std::vector<std::pair<std::string, std::string>>;

Entries as_git_reads(const std::string& text) {
  const test::TempDir directory;
  const auto file = directory.path() / "config";
  std::ofstream(file, std::ios::binary) << text;
  FILE* const git = popen(("git config -z --list -f " + file.string()).c_str(), "r");
  std::string output;
  for (int c; (c = std::fgetc(git)) != EOF;) output += static_cast<char>(c);
  EXPECT_EQ(pclose(git), 0) << text;
  Entries entries;
  for (std::size_t at = 0; at < output.size();) {
    const auto end = output.find('\0', at), line = output.find('\n', at);
    entries.emplace_back(output.substr(at, line - at), output.substr(line + 1, end - line - 1));
    at = end + 1;
  }
  return entries;
}

struct Golden {
  const char* file;
  Case given;
};

class Render : public testing::TestWithParam<Golden> {};

TEST_P(Render, IsExactlyTheGoldenFile) {
  const auto file = std::filesystem::path(GOLDEN_DIR) / GetParam().file;
  const std::string golden = content_of(file);
  ASSERT_FALSE(golden.empty()) << file;
  EXPECT_EQ(filled(GetParam().given), golden);
}

INSTANTIATE_TEST_SUITE_P(
    Golden, Render,
    testing::Values(Golden{"one-connector.gitconfig", {{connector("github", "https://github.com")}}},
                    Golden{"three-connectors.gitconfig",
                           {{connector("github", "https://github.com"),
                             connector("team-a/gitlab", "https://gitlab.example.com"),
                             connector("mirror", "http://mirror.example.com")}}},
                    Golden{"port-and-path.gitconfig", {{connector("forge", "https://forge.example.com:8443/git")}}},
                    Golden{"ipv6.gitconfig", {{connector("lab", "http://[fd00::1]:3000")}}},
                    Golden{"rights-of-the-connector.gitconfig",
                           {{connector("github", "https://github.com", {"acme/*", "other/app", "acme/*"})}}},
                    Golden{"rights-of-the-lease.gitconfig",
                           {{connector("github", "https://github.com", {"acme/*"})}, {"acme/app"}}},
                    Golden{"rights-without-a-prefix.gitconfig",
                           {{connector("github", "https://github.com", {"acme/*", "*/public"})}}},
                    Golden{"https-proxy.gitconfig",
                           {{connector("github", "https://github.com")},
                            {},
                            "https://127.0.0.1:8443",
                            std::string(kId),
                            "/run/mintfs/fs/" + std::string(kId) + "/ca.crt"}}),
    [](const auto& golden) {
      std::string name = golden.param.file;
      std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
      return name;
    });

TEST(RenderSize, IsThatOfTheFilledText) {
  const Case given{{connector("a", "https://a.example"), connector("longer-name", "https://b.example")}};
  EXPECT_EQ(filled(given).size(), render(given)->size());
}

TEST(RenderLeaseId, IsFoundWhereItStandsInTheFilledText) {
  const Case given{{connector("a", "https://a.example"), connector("b", "https://b.example")},
                   {},
                   std::string(kProxy),
                   std::string(kId),
                   "/run/fs/" + std::string(kId) + "/ca.crt"};
  const std::string text = filled(given);
  const auto ids = render(given)->ids;
  ASSERT_EQ(ids.size(), 2u);
  for (const auto at : ids) EXPECT_EQ(text.substr(at, kId.size()), kId);
}

TEST(RenderUnknownConnector, IsLeftOut) {
  const Case given{{connector("gone", "https://gone.example"), connector("here", "https://here.example")}};
  const auto view = render(given, *test::table_of({given.connectors[1]}));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->text.find("gone"), std::string::npos);
  ASSERT_EQ(view->holes.size(), 1u);
  EXPECT_EQ(view->holes[0].connector, 1u) << "the token must still be that of the second connector";
}

TEST(RenderClaims, GiveAnAddressToTheHigherPriorityAndAContestedOneToNobody) {
  Case given{{connector("low", "https://git.example"), connector("high", "https://git.example")}};
  given.connectors[1].priority = 5;
  std::vector<std::string> bases;
  for (const auto& [key, value] : as_git_reads(filled(given)))
    if (key.starts_with("url.")) bases.push_back(key);
  ASSERT_EQ(bases.size(), 4u);
  for (const auto& base : bases) EXPECT_NE(base.find("/connectors/high/"), std::string::npos);

  const std::string ports =
      filled({{connector("a", "https://git.example:1"), connector("b", "https://git.example:2")}});
  EXPECT_NE(ports.find("insteadOf = https://git.example:1/\n"), std::string::npos);
  EXPECT_NE(ports.find("insteadOf = https://git.example:2/\n"), std::string::npos);
  EXPECT_EQ(ports.find("git@git.example"), std::string::npos) << "it says neither port: git must not guess";
}

TEST(RenderManyPrefixes, FallsBackToTheWholeHost) {
  Case given{{connector("github", "https://github.com")}};
  for (int i = 0; i < 2000; ++i) given.repositories.push_back("owner-" + std::to_string(i) + "/*");
  const auto view = render(given);
  ASSERT_TRUE(view);
  EXPECT_LT(view->text.size(), 1000u);
  EXPECT_NE(view->text.find("insteadOf = https://github.com/\n"), std::string::npos);
}

TEST(RenderFill, StopsWithTheReasonOfTheMint) {
  const Template view = render({{connector("github", "https://github.com")}}).value();
  std::string out(view.size(), '?');
  EXPECT_EQ(
      fill(view, out.data(), [](const auto&, char*) -> broker::Result<char*> { return broker::Errc::lease_closed; }),
      broker::make_error_code(broker::Errc::lease_closed));
}

TEST(RenderOfDesign, IsReadByGitAsMeant) {
  const std::string url = std::string(kProxy) + "/namespaces/default/connectors/github/";
  EXPECT_EQ(as_git_reads(filled({{connector("github", "https://github.com")}})),
            (Entries{{"http." + url + ".extraheader", ""},
                     {"http." + url + ".extraheader",
                      "Authorization: Basic " + broker::base64_encode(":token-for-default/github")},
                     {"http." + url + ".followredirects", "false"},
                     {"http." + url + ".proxy", ""},
                     {"credential." + std::string(kProxy) + ".helper", ""},
                     {"url." + url + ".insteadof", "https://github.com/"},
                     {"url." + url + ".insteadof", "http://github.com/"},
                     {"url." + url + ".insteadof", "git@github.com:"},
                     {"url." + url + ".insteadof", "ssh://git@github.com/"}}));
}

// Each of these would add or change a key if it were written as it is.
class HostileText : public testing::TestWithParam<std::string> {};

TEST_P(HostileText, InAnAddressAddsNoKey) {
  Case given{{connector("github", "https://github.com")}};
  given.connectors[0].address.prefix = "/" + GetParam();
  const Entries entries = as_git_reads(filled(given));
  ASSERT_EQ(entries.size(), 9u);
  EXPECT_EQ(entries[5].second, "https://github.com/" + GetParam() + "/");
  EXPECT_EQ(entries[6].second, "http://github.com/" + GetParam() + "/");
}

TEST_P(HostileText, InAHostAddsNoKey) {
  Case given{{connector("github", "https://github.com")}};
  given.connectors[0].address.host = GetParam();
  const Entries entries = as_git_reads(filled(given));
  ASSERT_EQ(entries.size(), 9u);
  EXPECT_EQ(entries[8].second, "ssh://git@" + GetParam() + "/");
}

TEST_P(HostileText, InARepositoryAddsNoKey) {
  const Case given{{connector("github", "https://github.com")}, {"acme/" + GetParam()}};
  if (GetParam().find('\n') != std::string::npos) {
    EXPECT_FALSE(render(given)) << "a subsection cannot hold a newline";
    return;
  }
  const Entries entries = as_git_reads(filled(given));
  ASSERT_EQ(entries.size(), 9u);
  for (int i = 5; i < 9; ++i)
    EXPECT_EQ(entries[i].first,
              "url." + std::string(kProxy) + "/namespaces/default/connectors/github/acme/" + GetParam() + ".insteadof");
  EXPECT_EQ(entries[5].second, "https://github.com/acme/" + GetParam());
}

TEST_P(HostileText, InTheProxyAddressAddsNoKey) {
  Case given{{connector("github", "https://github.com")}};
  given.proxy = "http://proxy/" + GetParam();
  if (GetParam().find('\n') != std::string::npos) {
    EXPECT_FALSE(render(given));
    return;
  }
  const Entries entries = as_git_reads(filled(given));
  ASSERT_EQ(entries.size(), 9u);
  EXPECT_EQ(entries[4].first, "credential." + given.proxy + ".helper");
}

TEST_P(HostileText, InANameAddsNoKey) {
  Case given{{connector("github", "https://github.com")}};
  given.connectors[0].name.name = GetParam();
  if (GetParam().find('\n') != std::string::npos) {
    EXPECT_FALSE(render(given));
    return;
  }
  const Entries entries = as_git_reads(filled(given));
  ASSERT_EQ(entries.size(), 9u);
  EXPECT_EQ(entries[0].first,
            "http." + std::string(kProxy) + "/namespaces/default/connectors/" + GetParam() + "/.extraheader");
}

INSTANTIATE_TEST_SUITE_P(Text, HostileText,
                         testing::Values("a\"b", "a\\", "a\\\"", "a # b", "a;b", "a\r", "a\r\"", " a", "a ", "a\t",
                                         "\ta", "a\bb", "\"]", "x\"]\n[core]\n\tsshCommand = id\n", "a\nb", "\n",
                                         "a\\nb", "=", "]",
                                         "a\x01"
                                         "b",
                                         "\xc3\xa9", "${HOME}", "$(id)"));

TEST(RenderRefuses, WhatNoQuotingCanHold) {
  using std::string_literals::operator""s;
  Case nul{{connector("github", "https://github.com")}};
  nul.connectors[0].address.host = "a\0b"s;
  EXPECT_FALSE(render(nul));
  Case comment{{connector("github", "https://github.com")}};
  comment.id = "x\n[core]\n\tsshCommand = id";
  EXPECT_FALSE(render(comment));
}

}  // namespace
}  // namespace mintfs::fs
