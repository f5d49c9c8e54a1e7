#include "mintfs/container.h"

#include "mintfs/lease_request.h"

#include <gtest/gtest.h>

namespace mintfs::cli {
namespace {

using Words = std::vector<std::string>;

const ContainerLease kLease{.view = {.path = "/run/mintfs/fs/abc", .id = "abc"}, .uid = 1000, .gid = 100};

TEST(ContainerOptions, AreTheViewTheVariablesAndTheUser) {
  EXPECT_EQ(container_options(kLease, Via::env, false),
            (Words{"--volume=/run/mintfs/fs/abc:/run/mintfs/fs/abc:ro", "--env=GIT_CONFIG_COUNT=1",
                   "--env=GIT_CONFIG_KEY_0=include.path", "--env=GIT_CONFIG_VALUE_0=/run/mintfs/fs/abc/.gitconfig",
                   "--env=MINTFS_LEASE=abc", "--user=1000:100"}));
}

TEST(ContainerOptions, NameNoUserWhereRootInsideIsTheUserOutside) {
  EXPECT_EQ(container_options(kLease, Via::system, true),
            (Words{"--volume=/run/mintfs/fs/abc:/run/mintfs/fs/abc:ro",
                   "--env=GIT_CONFIG_SYSTEM=/run/mintfs/fs/abc/.gitconfig", "--env=MINTFS_LEASE=abc"}));
}

TEST(ContainerOptions, PutTheViewWhereTheLeaseSaysThatItIsSeen) {
  ContainerLease lease = kLease;
  lease.view.here = std::exchange(lease.view.path, "/run/git");
  EXPECT_EQ(container_options(lease, Via::global, true),
            (Words{"--volume=/run/mintfs/fs/abc:/run/git:ro", "--env=GIT_CONFIG_GLOBAL=/run/git/.gitconfig",
                   "--env=MINTFS_LEASE=abc"}));
}

TEST(ContainerOptions, RefuseAPathThatWouldBeTakenApart) {
  ContainerLease lease = kLease;
  lease.view.path = "/run/a:b/abc";
  EXPECT_THROW(container_options(lease, Via::env, false), std::runtime_error);
}

TEST(InContainer, PutsTheOptionsBeforeThoseOfTheCommand) {
  EXPECT_EQ(in_container(Engine::podman, {"podman", "--root", "x", "run", "--rm", "image", "run"}, {"-a", "-b"}),
            (Words{"podman", "--root", "x", "run", "-a", "-b", "--rm", "image", "run"}));
  EXPECT_EQ(in_container(Engine::docker, {"/usr/bin/docker", "container", "create", "image"}, {"-a"}),
            (Words{"/usr/bin/docker", "container", "create", "-a", "image"}));
}

TEST(InContainer, RefusesWhatStartsNoContainerOfTheEngine) {
  for (const Words& command : {Words{}, Words{"podman"}, Words{"podman", "ps"}, Words{"run", "x"}, Words{"sh", "run"},
                               Words{"docker", "run", "image"}})
    EXPECT_THROW(in_container(Engine::podman, command, {"-a"}), UsageError);
}

TEST(Container, WithANetworkOfItsOwnReachesNoLoopback) {
  const auto said = [](const char* url, const Words& network) {
    Words command = {"podman", "run"};
    command.insert(command.end(), network.begin(), network.end());
    command.emplace_back("image");
    return why_out_of_reach(url, command);
  };
  for (const char* url : {"http://127.0.0.1:8418", "https://localhost:8418", "http://[::1]:8418", "http://127.1.2.3"}) {
    for (const Words& network : {Words{}, Words{"--network=bridge"}, Words{"--net", "pasta"}, Words{"--network"}})
      EXPECT_NE(said(url, network).find("--network=host"), std::string::npos) << url;
    for (const Words& network : {Words{"--network=host"}, Words{"--network", "host"}, Words{"--net=host"},
                                 Words{"--network=container:db"}, Words{"--network", "ns:/run/netns/ci"}})
      EXPECT_EQ(said(url, network), "") << url;
  }
  EXPECT_EQ(said("http://10.88.0.1:8418", {}), "");
  EXPECT_EQ(said("https://git.example.com", {}), "");
}

}  // namespace
}  // namespace mintfs::cli
