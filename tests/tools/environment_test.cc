#include "mintfs/environment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace mintfs::cli {
namespace {

const LeaseView kView = {.path = "/run/mintfs/fs/abc", .id = "abc"};

Inherited of(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(LeaseVariables, PointGitAtTheViewInFourWays) {
  EXPECT_EQ(lease_variables(kView, Via::env, of({})),
            (Variables{{"GIT_CONFIG_COUNT", "1"},
                       {"GIT_CONFIG_KEY_0", "include.path"},
                       {"GIT_CONFIG_VALUE_0", "/run/mintfs/fs/abc/.gitconfig"},
                       {"MINTFS_LEASE", "abc"}}));
  EXPECT_EQ(lease_variables(kView, Via::global, of({})),
            (Variables{{"GIT_CONFIG_GLOBAL", "/run/mintfs/fs/abc/.gitconfig"}, {"MINTFS_LEASE", "abc"}}));
  EXPECT_EQ(lease_variables(kView, Via::xdg, of({})),
            (Variables{{"XDG_CONFIG_HOME", "/run/mintfs/fs/abc"}, {"MINTFS_LEASE", "abc"}}));
  EXPECT_EQ(lease_variables(kView, Via::system, of({})),
            (Variables{{"GIT_CONFIG_SYSTEM", "/run/mintfs/fs/abc/.gitconfig"}, {"MINTFS_LEASE", "abc"}}));
}

TEST(LeaseVariables, MakeAHelperTheOnlyOne) {
  const auto value = [](const Variables& variables, const std::string& name) {
    const auto found =
        std::find_if(variables.begin(), variables.end(), [&](const auto& each) { return each.first == name; });
    return found == variables.end() ? "none" : found->second;
  };
  for (const auto& [via, count] : {std::pair(Via::env, 3), std::pair(Via::global, 2), std::pair(Via::system, 2)}) {
    const auto inherited = of({{"GIT_CONFIG_COUNT", "4"}});
    auto variables = lease_variables(kView, via, inherited);
    add_only_helper(variables, "/bin/ours", inherited);
    EXPECT_EQ(value(variables, "GIT_CONFIG_COUNT"), std::to_string(4 + count));
    EXPECT_EQ(value(variables, "GIT_CONFIG_KEY_" + std::to_string(2 + count)), "credential.helper");
    EXPECT_EQ(value(variables, "GIT_CONFIG_VALUE_" + std::to_string(2 + count)), "") << "forgets those before";
    EXPECT_EQ(value(variables, "GIT_CONFIG_KEY_" + std::to_string(3 + count)), "credential.helper");
    EXPECT_EQ(value(variables, "GIT_CONFIG_VALUE_" + std::to_string(3 + count)), "/bin/ours");
  }
}

TEST(LeaseVariables, ContinueBehindTheEntriesThatAreInherited) {
  const auto variables = lease_variables(kView, Via::env, of({{"GIT_CONFIG_COUNT", "2"}}));
  EXPECT_EQ(variables[0].second, "3");
  EXPECT_EQ(variables[1].first, "GIT_CONFIG_KEY_2");
  EXPECT_EQ(variables[2].first, "GIT_CONFIG_VALUE_2");
  EXPECT_EQ(lease_variables(kView, Via::env, of({{"GIT_CONFIG_COUNT", ""}}))[0].second, "1");
}

TEST(LeaseVariables, RefuseACountThatGitWouldRefuse) {
  for (const auto* count : {"x", "-1", "1x", "2147483647", "99999999999999999999", " 1"})
    EXPECT_THROW(lease_variables(kView, Via::env, of({{"GIT_CONFIG_COUNT", count}})), std::runtime_error) << count;
  EXPECT_NO_THROW(lease_variables(kView, Via::global, of({{"GIT_CONFIG_COUNT", "x"}})));
}

// With it git reads neither ~/.gitconfig nor XDG_CONFIG_HOME, also when it is empty.
TEST(LeaseVariables, RefuseAnInheritedFileThatHidesTheView) {
  for (const auto* file : {"/home/me/gitconfig", ""}) {
    const Inherited inherited = of({{"GIT_CONFIG_GLOBAL", file}});
    EXPECT_THROW(lease_variables(kView, Via::xdg, inherited), std::runtime_error);
    EXPECT_NO_THROW(lease_variables(kView, Via::env, inherited));
    EXPECT_NO_THROW(lease_variables(kView, Via::global, inherited));
  }
}

TEST(LeaseVariables, RefuseToBeTheSystemsFileWhereGitReadsNone) {
  for (const auto* set : {"1", "true", "Yes", "on", "nonsense"})
    EXPECT_THROW(lease_variables(kView, Via::system, of({{"GIT_CONFIG_NOSYSTEM", set}})), std::runtime_error) << set;
  for (const auto* unset : {"", "0", "false", "No", "OFF"})
    EXPECT_NO_THROW(lease_variables(kView, Via::system, of({{"GIT_CONFIG_NOSYSTEM", unset}}))) << unset;
}

TEST(LeaseVariables, PointEachToolAtItsFile) {
  LeaseView lease = kView;
  lease.configurations = {"netrc", "npmrc", "pip", "docker", "gh", "glab", "kubeconfig", "cargo", "maven", "buildkitd"};
  lease.authorities = true;
  const std::string view = "/run/mintfs/fs/abc/";
  EXPECT_EQ(lease_variables(lease, Via::env, of({{"MAVEN_ARGS", "-B -ntp"}})),
            (Variables{{"NETRC", view + ".netrc"},
                       {"NPM_CONFIG_USERCONFIG", view + ".npmrc"},
                       {"PIP_CONFIG_FILE", view + "pip/pip.conf"},
                       {"DOCKER_CONFIG", view + ".docker"},
                       {"REGISTRY_AUTH_FILE", view + ".docker/config.json"},
                       {"GH_CONFIG_DIR", view + "gh"},
                       {"GLAB_CONFIG_DIR", view + "glab-cli"},
                       {"KUBECONFIG", view + ".kube/config"},
                       {"MAVEN_ARGS", "--settings=" + view + ".m2/settings.xml -B -ntp"},
                       {"BUILDKITD_FLAGS", "--config=" + view + "buildkit/buildkitd.toml"},
                       {"CARGO_NET_GIT_FETCH_WITH_CLI", "true"},
                       {"NODE_EXTRA_CA_CERTS", view + "ca.crt"},
                       {"MINTFS_LEASE", "abc"}}));
}

TEST(LeaseVariables, GiveGitItsCredentialsBehindTheGitconfigThatResetsTheHelpers) {
  LeaseView lease = kView;
  lease.configurations = {"git-credentials", "gitconfig"};
  const auto variables = lease_variables(lease, Via::env, of({{"GIT_CONFIG_COUNT", "1"}}));
  ASSERT_EQ(variables.size(), 6u);
  EXPECT_EQ(variables[0].second, "3");
  EXPECT_EQ(variables[1], (std::pair<std::string, std::string>("GIT_CONFIG_KEY_1", "include.path")));
  EXPECT_EQ(variables[3], (std::pair<std::string, std::string>("GIT_CONFIG_KEY_2", "credential.helper")));
  EXPECT_NE(variables[4].second.find("--file='/run/mintfs/fs/abc/.git-credentials'"), std::string::npos);
}

TEST(LeaseVariables, LeaveOutArgumentsThatASpaceWouldTakeApart) {
  LeaseView lease = kView;
  lease.path = "/run/my view/abc";
  lease.configurations = {"maven"};
  EXPECT_EQ(lease_variables(lease, Via::env, of({})), (Variables{{"MINTFS_LEASE", "abc"}}));
}

TEST(Merged, ReplacesByNameAndKeepsTheRest) {
  const std::array<const char*, 5> environment = {"A=1", "AB=2", "B=x=y", "A=again", nullptr};
  EXPECT_EQ(merged(environment.data(), {{"A", "new"}, {"C", "3"}}),
            (std::vector<std::string>{"AB=2", "B=x=y", "A=new", "C=3"}));
}

// The shell is the judge: what it reads back is what was quoted.
TEST(ShellQuoted, IsReadBackByAShell) {
  for (const std::string text :
       {"", "plain", "two words", "it's", "'", "''", "$HOME `id` \"x\" \\ !", "a\nb", "*;&|>#~"}) {
    const std::string command = "printf %s " + shell_quoted(text);
    std::FILE* pipe = ::popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::array<char, 256> buffer;
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe);
    EXPECT_EQ(::pclose(pipe), 0) << command;
    EXPECT_EQ(std::string(buffer.data(), size), text) << command;
  }
}

TEST(ExportLines, AreOnePerVariable) {
  EXPECT_EQ(export_lines({{"A", "1"}, {"B", "it's"}}), "export A='1'\nexport B='it'\\''s'\n");
}

}  // namespace
}  // namespace mintfs::cli
