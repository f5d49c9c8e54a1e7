#include "mintfs/probe_answer.h"

#include "broker/policy.h"
#include "mintfs/git_version.h"

#include <gtest/gtest.h>

namespace mintfs::cli {
namespace {

using State = Finding::State;

TEST(RepositoryToProbe, PrefersOneThatIsNamed) {
  EXPECT_EQ(repository_to_probe({"acme/*", "other/app"}), "other/app");
  EXPECT_EQ(repository_to_probe({"acme/*"}), "acme/mintfs-probe");
  EXPECT_EQ(repository_to_probe({"acme/**"}), "acme/mintfs-probe");
  EXPECT_EQ(repository_to_probe({}), "mintfs-probe/mintfs-probe");
}

TEST(RepositoryToProbe, IsOneThatThePatternGives) {
  for (const char* pattern :
       {"acme/*", "acme/**", "*", "**", "*/app", "**/app", "*-public/*", "acme/team-*/x*y", "a/*/b"}) {
    const std::string repository = repository_to_probe({pattern});
    EXPECT_EQ(repository.find('*'), std::string::npos) << repository;
    EXPECT_TRUE(broker::RepositoryPattern(pattern).matches(repository)) << pattern << ": " << repository;
  }
}

TEST(InterpretProbe, TellsGoodFromBad) {
  struct Case {
    unsigned status;
    std::string body;
    State state;
    std::string sentence;  // a part of it
    std::string remedy;
  };
  const Case cases[] = {
      {200, "001e# service=git-upload-pack\n", State::ok, "works", ""},
      {404, "Not Found", State::ok, "does not refuse its credential", "--repository"},
      {502, "mintfs: upstream-refused: The server refuses the stored credential.\n", State::fail,
       "upstream-refused: The server refuses the stored credential.", "secret file of 'default/github'"},
      {502, "mintfs: upstream-unreachable: No.", State::fail, "upstream-unreachable", "'address'"},
      {504, "mintfs: upstream-timeout: No.", State::fail, "upstream-timeout", "'address'"},
      {502, "mintfs: upstream-untrusted: No.", State::fail, "upstream-untrusted", "'ca_file'"},
      {502, "mintfs: upstream-redirect: No.", State::fail, "upstream-redirect", "'address'"},
      {403, "mintfs: address-denied: No.", State::fail, "address-denied", "'allow_addresses'"},
      {404, "mintfs: connector-unknown: No.", State::fail, "connector-unknown", "mintfsd"},
      {500, "<html>", State::fail, "status 500", "Git server"},
      {200, "mintfs: upstream-refused: an answer of a server, not ours", State::ok, "works", ""},
  };
  for (const auto& each : cases) {
    const Finding finding = interpret_probe("default/github", "acme/app", each.status, each.body);
    EXPECT_EQ(finding.state, each.state) << each.body;
    EXPECT_EQ(finding.subject, "connector default/github");
    EXPECT_NE(finding.sentence.find(each.sentence), std::string::npos) << finding.sentence;
    EXPECT_NE(finding.remedy.find(each.remedy), std::string::npos) << finding.remedy;
  }
}

}  // namespace
}  // namespace mintfs::cli
