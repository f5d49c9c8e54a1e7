#include "fs/tree.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

constexpr uid_t kOwner = 1000, kOther = 1001;
constexpr Node kAnyNode = 0;  // a read is told by its handle

class TreeTest : public testing::Test {
 protected:
  struct Nodes {
    Node directory, gitconfig, git, git_config;
  };

  Nodes nodes_of(const broker::Lease& of) {
    const Node directory = tree.lookup(kRoot, of.id, of.uid)->st_ino;
    const Node git = tree.lookup(directory, "git", of.uid)->st_ino;
    return {directory, tree.lookup(directory, ".gitconfig", of.uid)->st_ino, git,
            tree.lookup(git, "config", of.uid)->st_ino};
  }

  broker::LeasePtr with_every_file() {
    broker::LeaseRequest request{.connectors = {"github"}, .uid = kOwner};
    for (const auto each : broker::kConfigurations) request.configurations.emplace_back(to_string(each));
    return broker.broker.open_lease({}, request).value();
  }

  Node node_at(const broker::Lease& of, const std::string& path) {
    Node node = directory_of(of);
    std::istringstream names(path);
    for (std::string name; std::getline(names, name, '/');) node = tree.lookup(node, name, of.uid)->st_ino;
    return node;
  }

  std::string content_of(std::uint64_t handle, std::size_t step = 1 << 20) {
    std::string all;
    for (;;) {
      const auto bytes = tree.read(kAnyNode, handle, all.size(), step, {kOwner, getpid()}, true).value();
      if (bytes.empty()) return all;
      all.append(bytes.data(), bytes.size());
    }
  }

  static std::string token_in(const std::string& content) {
    const std::string marker = "Authorization: Basic ";
    const auto begin = content.find(marker) + marker.size();
    return broker::base64_decode(content.substr(begin, content.find('\n', begin) - begin)).value().substr(1);
  }

  test::TestBroker broker;
  std::unique_ptr<SharedState> state = SharedState::make();
  Tree tree{broker.broker, *state};
  broker::LeasePtr lease = broker.open(kOwner);
  Nodes nodes = nodes_of(*lease);
};

TEST_F(TreeTest, HasTheShapeOfDesign) {
  struct Expected {
    Node node;
    mode_t mode;
    uid_t uid;
    nlink_t links;
  };
  for (const auto& expected :
       {Expected{kRoot, S_IFDIR | 0711, geteuid(), 2}, Expected{nodes.directory, S_IFDIR | 0500, kOwner, 3},
        Expected{nodes.gitconfig, S_IFREG | 0400, kOwner, 1}, Expected{nodes.git, S_IFDIR | 0500, kOwner, 2},
        Expected{nodes.git_config, S_IFREG | 0400, kOwner, 1}}) {
    const auto found = tree.attributes(expected.node).value();
    EXPECT_EQ(found.st_ino, expected.node);
    EXPECT_EQ(found.st_mode, expected.mode) << expected.node;
    EXPECT_EQ(found.st_uid, expected.uid) << expected.node;
    EXPECT_EQ(found.st_nlink, expected.links) << expected.node;
    EXPECT_EQ(found.st_mtim.tv_sec, 1'767'225'600) << expected.node;
  }
}

TEST_F(TreeTest, GivesNodesThatDoNotChangeOverARestart) {
  const auto another = SharedState::make();
  Tree successor(broker.broker, *another);
  const std::set<Node> distinct{kRoot, nodes.directory, nodes.gitconfig, nodes.git, nodes.git_config};
  EXPECT_EQ(distinct.size(), 5u);
  EXPECT_EQ(successor.lookup(kRoot, lease->id, kOwner)->st_ino, nodes.directory);
  EXPECT_TRUE(successor.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()})) << "the kernel need not look up again";
  const auto second = broker.open(kOwner);
  EXPECT_FALSE(distinct.contains(nodes_of(*second).gitconfig));
}

// The kernel holds node ids while one mintfsd follows another, so they are part of the interface.
TEST_F(TreeTest, NumbersItsNodesAsEveryVersionDoes) {
  const Node directory = lease->serial << 3;
  EXPECT_EQ(nodes.directory, directory);
  EXPECT_EQ(nodes.gitconfig, directory + 1);
  EXPECT_EQ(nodes.git, directory + 2);
  EXPECT_EQ(nodes.git_config, directory + 3);
  const auto all = with_every_file();
  const Node base = all->serial << 3;
  const auto at = [&](const std::string& path) { return node_at(*all, path) - base; };
  const auto number = [](Node each) { return each >> 3 << 56 | (each & 7); };
  EXPECT_EQ(at(".netrc"), number(65));
  EXPECT_EQ(at("pip/pip.conf"), number(68));
  EXPECT_EQ(at(".config/pip"), number(18));
  EXPECT_EQ(at(".kube/config"), number(84));
}

TEST_F(TreeTest, ServesEveryFileAtEveryPlaceAsLongAsItSays) {
  const auto all = with_every_file();
  std::set<Node> seen;
  std::size_t files = 0;
  const std::function<void(Node)> walk = [&](Node folder) {
    const auto attributes = tree.attributes(folder).value();
    std::size_t folders = 0;
    for (const auto& entry : tree.list(folder, kOwner).value()) {
      if (entry.name == "." || entry.name == "..") continue;
      const auto found = tree.lookup(folder, entry.name, kOwner).value();
      EXPECT_EQ(found.st_ino, entry.node) << entry.name;
      EXPECT_EQ(found.st_mode & S_IFMT, entry.type) << entry.name;
      EXPECT_TRUE(seen.insert(entry.node).second) << entry.name << ": a node is one file";
      if (entry.type == S_IFDIR) {
        ++folders;
        walk(entry.node);
        continue;
      }
      ++files;
      const auto handle = tree.open(entry.node, O_RDONLY, {kOwner, getpid()}).value();
      const std::string content = content_of(handle);
      EXPECT_EQ(content.size(), static_cast<std::size_t>(found.st_size)) << entry.name;
      EXPECT_EQ(tree.open(entry.node, O_RDONLY, {kOther, getpid()}).error(), std::errc::permission_denied);
      EXPECT_EQ(tree.open(entry.node, O_RDWR, {kOwner, getpid()}).error(), std::errc::read_only_file_system);
    }
    EXPECT_EQ(attributes.st_nlink, folders + 2) << "find(1) trusts it";
  };
  walk(directory_of(*all));
  EXPECT_EQ(files, 23u);

  const auto another = SharedState::make();
  Tree successor(broker.broker, *another);
  for (const Node node : seen) EXPECT_EQ(successor.attributes(node)->st_ino, node) << "the same after a restart";
  EXPECT_EQ(tree.attributes(directory_of(*lease) + (node_at(*all, ".netrc") - directory_of(*all))).error(),
            std::errc::permission_denied)
      << "another lease has not asked for it";
}

TEST_F(TreeTest, HasTheAdministratorsFilesBesideItsOwn) {
  const auto file = [](const std::string& name, const std::string& path) {
    auto made = std::make_shared<broker::FileConfig>();
    made->name = name;
    made->path = path;
    made->text = "{{#connectors}}{{token}}{{/connectors}}\n";
    return std::pair(name, broker::FileConfigPtr(made));
  };
  broker.broker.replace_files(std::make_shared<const broker::FileConfigs>(
      broker::FileConfigs{file("one", ".config/own/one"), file("two", ".config/own/two"), file("three", "pip/three")}));
  broker::LeaseRequest request{.connectors = {"github"}, .uid = kOwner};
  request.configurations = {"one", "pip", "two", "three"};
  const auto own = broker.broker.open_lease({}, request).value();
  const Node first = node_at(*own, ".config/own/one"), folder = node_at(*own, ".config/own");
  EXPECT_EQ(tree.list(folder, kOwner)->size(), 4u) << "one directory for both";
  EXPECT_EQ(node_at(*own, "pip"), directory_of(*own) + (Node{17} >> 3 << 56 | 1))
      << "the number of pip's own directory";
  EXPECT_EQ(tree.list(node_at(*own, "pip"), kOwner)->size(), 4u);
  EXPECT_EQ(tree.list(node_at(*own, ".config"), kOwner)->size(), 4u);
  const std::string content = content_of(tree.open(first, O_RDONLY, {kOwner, getpid()}).value());
  EXPECT_EQ(content.size(), static_cast<std::size_t>(tree.attributes(first)->st_size));
  broker::Scratch scratch;
  EXPECT_TRUE(broker.broker.redeem(content.substr(0, content.size() - 1),
                                   {.space = "default", .connector = "github", .repository = "a/b"}, scratch));
  const auto another = SharedState::make();
  Tree successor(broker.broker, *another);
  EXPECT_EQ(successor.attributes(first)->st_ino, first);
  broker.broker.replace_files(std::make_shared<const broker::FileConfigs>());
  EXPECT_TRUE(tree.attributes(first)) << "what a lease was shown once does not change";
  Tree later(broker.broker, *another);
  EXPECT_EQ(later.attributes(first).error(), std::errc::permission_denied);
}

TEST_F(TreeTest, KnowsTheSameOwnPathsAsTheConfigurationDoes) {
  std::vector<std::string> all;
  for (const auto each : broker::kConfigurations) all.emplace_back(to_string(each));
  const Layout layout(all);
  std::set<std::string> paths;
  for (const auto& entry : layout.entries()) {
    if (!entry.content) continue;
    std::string path(entry.name);
    for (std::uint16_t above = entry.parent; above != Layout::kView; above = layout.find(above)->parent)
      path = std::string(layout.find(above)->name) + "/" + path;
    paths.insert(path);
  }
  EXPECT_EQ(paths, std::set<std::string>(broker::kOwnPaths.begin(), broker::kOwnPaths.end()));
}

TEST_F(TreeTest, FindsOnlyWhatIsThere) {
  EXPECT_EQ(tree.lookup(kRoot, "", 0).error(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(tree.lookup(kRoot, std::string(26, 'a'), 0).error(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(tree.lookup(kRoot, ".gitconfig", 0).error(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(tree.lookup(nodes.directory, "config", kOwner).error(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(tree.lookup(nodes.git, ".gitconfig", kOwner).error(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(tree.lookup(nodes.gitconfig, "x", kOwner).error(), std::errc::not_a_directory);
}

TEST_F(TreeTest, LetsOnlyTheOwnerAndRootLookIntoALease) {
  EXPECT_EQ(tree.lookup(nodes.directory, ".gitconfig", kOther).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.lookup(nodes.directory, "nothing", kOther).error(), std::errc::permission_denied);
  EXPECT_TRUE(tree.lookup(nodes.directory, ".gitconfig", 0)) << "a container's files are bind-mounted by root";
}

TEST_F(TreeTest, LetsWhoeverGetsThereOpenThePodsView) {
  const auto pod = broker.broker.open_lease({}, {.connectors = {"github"}, .pod = "team/build-7"}).value();
  const auto directory = tree.lookup(kRoot, pod->id, 0).value();
  EXPECT_EQ(directory.st_mode, S_IFDIR | 0555);
  for (const uid_t caller : {uid_t{0}, kOwner, kOther, uid_t{65534}}) {
    const auto file = tree.lookup(directory.st_ino, ".gitconfig", caller).value();
    EXPECT_EQ(file.st_mode, S_IFREG | 0444);
    EXPECT_TRUE(tree.list(directory.st_ino, caller));
    const auto handle = tree.open(file.st_ino, O_RDONLY, {caller, getpid()});
    ASSERT_TRUE(handle);
    EXPECT_TRUE(tree.read(kAnyNode, *handle, 0, 10, {caller, getpid()}, true));
    EXPECT_EQ(tree.read(kAnyNode, *handle, 0, 10, {caller + 1, getpid()}, true).error(), std::errc::permission_denied);
    EXPECT_EQ(tree.open(file.st_ino, O_RDWR, {caller, getpid()}).error(), std::errc::read_only_file_system);
  }
}

// Whoever knows the id could else walk in from the mount itself.
TEST_F(TreeTest, LetsOnlyRootLookAPodsViewUpAndTheKernelKeepsNothingOfIt) {
  const auto pod = broker.broker.open_lease({}, {.connectors = {"github"}, .pod = "team/build-7"}).value();
  for (const uid_t caller : {kOwner, kOther})
    EXPECT_EQ(tree.lookup(kRoot, pod->id, caller).error(), std::errc::permission_denied);
  const auto directory = tree.lookup(kRoot, pod->id, 0).value();
  EXPECT_FALSE(Tree::may_be_kept(kRoot, directory));
  EXPECT_TRUE(Tree::may_be_kept(directory.st_ino, tree.lookup(directory.st_ino, ".gitconfig", kOther).value()));
  EXPECT_TRUE(Tree::may_be_kept(kRoot, tree.lookup(kRoot, lease->id, kOwner).value()));
}

TEST_F(TreeTest, ListsLeasesToNobody) {
  const auto entries = tree.list(kRoot, geteuid()).value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, ".");
  EXPECT_EQ(entries[1].name, "..");
  EXPECT_EQ(tree.list(kRoot, kOwner).error(), std::errc::permission_denied);
}

TEST_F(TreeTest, ListsALeaseToItsOwnerOnly) {
  const auto entries = tree.list(nodes.directory, kOwner).value();
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[2].name, ".gitconfig");
  EXPECT_EQ(entries[2].node, nodes.gitconfig);
  EXPECT_EQ(entries[3].name, "git");
  EXPECT_EQ(tree.list(nodes.git, kOwner)->back().node, nodes.git_config);
  for (const uid_t caller : {uid_t{0}, kOther}) {
    EXPECT_EQ(tree.list(nodes.directory, caller).error(), std::errc::permission_denied);
    EXPECT_EQ(tree.list(nodes.git, caller).error(), std::errc::permission_denied);
  }
}

TEST_F(TreeTest, MintsAtEachOpenWhatTheProxyRedeems) {
  const auto first = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  const auto second = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  const auto third = tree.open(nodes.git_config, O_RDONLY, {kOwner, getpid()}).value();
  std::set<std::string> tokens;
  broker::Scratch scratch;
  for (const auto handle : {first, second, third}) {
    const std::string token = token_in(content_of(handle));
    EXPECT_TRUE(broker.broker.redeem(token, {.space = "default", .connector = "github", .repository = "a/b"}, scratch));
    tokens.insert(token);
  }
  EXPECT_EQ(tokens.size(), 3u);
}

TEST_F(TreeTest, GivesEachConnectorItsOwnToken) {
  test::TestBroker two(
      {test::connector("github", "https://github.com"), test::connector("team/lab", "https://lab.example")});
  const auto memory = SharedState::make();
  Tree both(two.broker, *memory);
  const auto shared = two.open(kOwner, {"github", "team/lab"});
  const auto handle = both.open(directory_of(*shared) + 1, O_RDONLY, {kOwner, getpid()}).value();
  const auto bytes = both.read(kAnyNode, handle, 0, 1 << 20, {kOwner, getpid()}, true).value();
  const std::string content(bytes.begin(), bytes.end());
  const auto next_section = content.find("[http", content.find("[http") + 1);
  broker::Scratch scratch;
  const std::string first = token_in(content), second = token_in(content.substr(next_section));
  EXPECT_TRUE(two.broker.redeem(first, {.space = "default", .connector = "github", .repository = "a/b"}, scratch));
  EXPECT_TRUE(two.broker.redeem(second, {.space = "team", .connector = "lab", .repository = "a/b"}, scratch));
  EXPECT_FALSE(two.broker.redeem(first, {.space = "team", .connector = "lab", .repository = "a/b"}, scratch));
}

TEST_F(TreeTest, IsOneSnapshotPerHandleAtAnyReadSizeAndAsLongAsItSays) {
  const auto handle = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  const std::string content = content_of(handle);
  EXPECT_EQ(content.size(), static_cast<std::size_t>(tree.attributes(nodes.gitconfig)->st_size));
  for (const std::size_t step : {1, 2, 7, 100, 511, 4096}) EXPECT_EQ(content_of(handle, step), content) << step;
  for (std::size_t offset = 0; offset < content.size() + 3; offset += 13) {
    const auto bytes = tree.read(kAnyNode, handle, offset, 50, {kOwner, getpid()}, true).value();
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()), offset < content.size() ? content.substr(offset, 50) : "");
  }
  EXPECT_TRUE(tree.read(kAnyNode, handle, ~std::uint64_t{0}, 50, {kOwner, getpid()}, true)->empty());
}

TEST_F(TreeTest, KeepsItsSizeThroughEverything) {
  const auto size = tree.attributes(nodes.gitconfig)->st_size;
  broker.clock.advance(std::chrono::hours(11));
  EXPECT_EQ(content_of(tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value()).size(),
            static_cast<std::size_t>(size));
  broker.broker.replace_connectors(test::table_of({test::connector("github", "https://other-and-longer.example.com")}));
  EXPECT_EQ(tree.attributes(nodes.gitconfig)->st_size, size) << "what a lease was shown once does not change";
}

TEST_F(TreeTest, OpensForTheLeaseUidOnly) {
  for (const Node node : {nodes.gitconfig, nodes.git_config})
    for (const uid_t caller : {uid_t{0}, kOther, uid_t{65534}})
      EXPECT_EQ(tree.open(node, O_RDONLY, {caller, getpid()}).error(), std::errc::permission_denied) << caller;
  EXPECT_EQ(broker.broker.minted(), 0u) << "nobody else's open may cost a token";
}

TEST_F(TreeTest, CountsOpensByWhatWasAnswered) {
  ASSERT_TRUE(tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}));
  EXPECT_FALSE(tree.open(nodes.gitconfig, O_RDONLY, {kOther, getpid()}));
  EXPECT_FALSE(tree.open(nodes.gitconfig, O_RDWR, {kOwner, getpid()}));
  for (std::uint32_t i = 0; i < kMaxHandlesPerLease; ++i) tree.open(nodes.git_config, O_RDONLY, {kOwner, getpid()});
  const broker::OpenCounts& opens = tree.opens();
  EXPECT_EQ(opens.ok.value(), kMaxHandlesPerLease);
  EXPECT_EQ(opens.refused[broker::Errc::lease_denied].value(), 1u);
  EXPECT_EQ(opens.refused[broker::Errc::operation_denied].value(), 1u);
  EXPECT_EQ(opens.refused[broker::Errc::too_many].value(), 1u);
  EXPECT_EQ(opens.refused.total(), 3u);
  broker::Distribution durations = decltype(opens.durations)::none();
  opens.durations.add_to(durations);
  EXPECT_EQ(std::accumulate(durations.counts.begin(), durations.counts.end(), std::uint64_t{0}),
            kMaxHandlesPerLease + 3u);
}

TEST_F(TreeTest, RefusesAReadByAnotherUid) {
  const auto handle = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  for (const uid_t caller : {uid_t{0}, kOther})
    EXPECT_EQ(tree.read(kAnyNode, handle, 0, 10, {caller, getpid()}, true).error(), std::errc::permission_denied);
  EXPECT_TRUE(tree.read(kAnyNode, handle, 0, 10, {kOwner, getpid()}, true));
}

TEST_F(TreeTest, RefusesAPageCacheFillAndStillAnswersAPlainRead) {
  const auto handle = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  EXPECT_EQ(tree.read(kAnyNode, handle, 0, 4096, {kOwner, getpid()}, false).error(), std::errc::io_error);
  EXPECT_TRUE(tree.read(kAnyNode, handle, 0, 4096, {kOwner, getpid()}, true));
}

TEST_F(TreeTest, OpensForReadingOnly) {
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_APPEND})
    EXPECT_EQ(tree.open(nodes.gitconfig, flags, {kOwner, getpid()}).error(), std::errc::read_only_file_system) << flags;
  EXPECT_EQ(tree.open(nodes.directory, O_RDONLY, {kOwner, getpid()}).error(), std::errc::is_a_directory);
  EXPECT_EQ(tree.open(kRoot, O_RDONLY, {0, getpid()}).error(), std::errc::is_a_directory);
}

TEST_F(TreeTest, AnswersAccessDeniedOnceTheLeaseIsClosed) {
  const auto handle = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  const std::string content = content_of(handle);
  broker.close(lease);
  tree.forget(*lease);
  EXPECT_EQ(tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.attributes(nodes.gitconfig).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.list(nodes.directory, kOwner).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.lookup(nodes.directory, ".gitconfig", kOwner).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.lookup(kRoot, lease->id, kOwner).error(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(content_of(handle), content) << "an open handle is a snapshot; its token is dead at the proxy";
  tree.release(handle);
  EXPECT_EQ(tree.open_handles(), 0u);
}

TEST_F(TreeTest, AnswersAccessDeniedForAnExpiredLeaseThatIsStillThere) {
  broker.clock.advance(std::chrono::hours(13));
  EXPECT_EQ(tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.open_handles(), 0u) << "a failed open leaves nothing";
}

TEST_F(TreeTest, AnswersInputOutputErrorWhenTheViewCannotBeMade) {
  auto hostile = test::connector("github", "https://github.com");
  hostile.address.host = std::string("a\0b", 3);
  broker.broker.replace_connectors(test::table_of({hostile}));
  const auto late = broker.open(kOwner);
  EXPECT_EQ(tree.open(directory_of(*late) + 1, O_RDONLY, {kOwner, getpid()}).error(), std::errc::io_error);
}

TEST_F(TreeTest, KeepsNothingOfALeaseThatClosesWhileItsViewIsMade) {
  std::atomic<Node> newest{nodes.gitconfig};
  std::atomic<bool> done{false};
  std::thread opener([&] {
    for (int i = 0; i < 2000; ++i) {
      const auto next = broker.open(kOwner);
      newest = directory_of(*next) + 1;
      broker.close(next);
      tree.forget(*next);
    }
    done = true;
  });
  while (!done) {
    const auto found = tree.attributes(newest);
    EXPECT_TRUE(found || found.error() == std::errc::permission_denied);
  }
  opener.join();
  EXPECT_EQ(tree.kept_views(), 1u) << "of the lease that is still open";
  broker.close(lease);
  tree.forget(*lease);
  EXPECT_EQ(tree.kept_views(), 0u);
}

TEST_F(TreeTest, BoundsTheOpenHandlesOfALease) {
  std::vector<std::uint64_t> handles;
  for (std::uint32_t i = 0; i < kMaxHandlesPerLease; ++i)
    handles.push_back(tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value());
  EXPECT_EQ(tree.open(nodes.git_config, O_RDONLY, {kOwner, getpid()}).error(), std::errc::too_many_files_open);
  const auto other = broker.open(kOther);
  EXPECT_TRUE(tree.open(nodes_of(*other).gitconfig, O_RDONLY, {kOther, getpid()})) << "nobody else is hindered";
  tree.release(handles.back());
  EXPECT_TRUE(tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}));
}

TEST_F(TreeTest, IgnoresHandlesItDoesNotKnow) {
  EXPECT_EQ(tree.read(kAnyNode, 0x123456789abcdef0, 0, 10, {kOwner, getpid()}, true).error(), std::errc::io_error);
  tree.release(0x123456789abcdef0);
  const auto handle = tree.open(nodes.gitconfig, O_RDONLY, {kOwner, getpid()}).value();
  tree.release(handle);
  tree.release(handle);
  EXPECT_EQ(tree.read(kAnyNode, handle, 0, 10, {kOwner, getpid()}, true).error(), std::errc::io_error);
}

TEST_F(TreeTest, RefusesNodesThatNeverWere) {
  for (const Node node : {Node{0}, Node{2}, Node{8}, nodes.directory + 4, nodes.directory + 7, ~Node{0}}) {
    EXPECT_EQ(tree.attributes(node).error(), std::errc::permission_denied) << node;
    EXPECT_EQ(tree.open(node, O_RDONLY, {kOwner, getpid()}).error(), std::errc::permission_denied) << node;
  }
}

TEST_F(TreeTest, TellsWhomToTrustInAFileOfConstantSize) {
  broker.broker.set_authorities(std::make_shared<const std::string>("-----BEGIN"));
  const Node file = tree.lookup(nodes.directory, "ca.crt", kOwner)->st_ino;
  EXPECT_EQ(tree.list(nodes.directory, kOwner)->size(), 5u);
  const auto size = static_cast<std::size_t>(tree.attributes(file)->st_size);
  const auto handle = tree.open(file, O_RDONLY, {kOwner, getpid()}).value();
  const std::string before = content_of(handle);
  EXPECT_EQ(before, "-----BEGIN" + std::string(size - 10, '\n'));

  broker.broker.set_authorities(std::make_shared<const std::string>("-----BEGIN another"));
  EXPECT_EQ(static_cast<std::size_t>(tree.attributes(file)->st_size), size) << "the kernel keeps it";
  EXPECT_EQ(content_of(handle), before) << "one handle is one snapshot";
  const auto second = tree.open(file, O_RDONLY, {kOwner, getpid()}).value();
  EXPECT_TRUE(content_of(second).starts_with("-----BEGIN another\n"));
  EXPECT_EQ(tree.open(file, O_RDONLY, {kOwner + 1, getpid()}).error(), std::errc::permission_denied);
  EXPECT_EQ(tree.open(file, O_WRONLY, {kOwner, getpid()}).error(), std::errc::read_only_file_system);
}

TEST_F(TreeTest, SaysWhereTheAuthoritiesAreInTheTextThatViewsShare) {
  broker.broker.set_authorities(std::make_shared<const std::string>("-----BEGIN"));
  Tree mounted(broker.broker, *state, "/mnt/view");
  const auto other = broker.open(kOwner);
  for (const auto& each : {lease, other}) {
    const Node directory = mounted.lookup(kRoot, each->id, kOwner)->st_ino;
    const Node file = mounted.lookup(directory, ".gitconfig", kOwner)->st_ino;
    const auto handle = mounted.open(file, O_RDONLY, {kOwner, getpid()}).value();
    const auto bytes = mounted.read(file, handle, 0, 1 << 20, {kOwner, getpid()}, true).value();
    const std::string text(bytes.data(), bytes.size());
    EXPECT_NE(text.find("\tsslCAInfo = /mnt/view/" + each->id + "/ca.crt\n"), std::string::npos) << text;
    EXPECT_EQ(static_cast<off_t>(text.size()), mounted.attributes(file)->st_size);
  }
  EXPECT_EQ(mounted.kept_texts(), 1u);
}

TEST(ToErrno, AnswersEveryErrorAndNeverThatThereIsNothing) {
  for (int code = 1; code <= static_cast<int>(broker::Errc::internal); ++code) {
    const auto error = to_errno(static_cast<broker::Errc>(code));
    EXPECT_NE(error, std::errc::no_such_file_or_directory);
    EXPECT_NE(error, std::errc{});
  }
  EXPECT_EQ(to_errno(broker::Errc::lease_closed), std::errc::permission_denied);
  EXPECT_EQ(to_errno(broker::Errc::internal), std::errc::io_error);
}

TEST_F(TreeTest, HandlesOfALostStateAreMintedAgainFromTheBeginning) {
  const std::uint64_t lost = std::uint64_t{5} << 32;
  EXPECT_EQ(tree.read(nodes.gitconfig, lost, 0, 4096, {kOwner, getpid()}, true).error(), std::errc::io_error)
      << "not expected";
  tree.expect_unknown_handles();
  EXPECT_EQ(tree.read(nodes.gitconfig, lost, 10, 4096, {kOwner, getpid()}, true).error(), std::errc::io_error);
  EXPECT_EQ(tree.read(nodes.gitconfig, lost, 0, 4096, {kOther, getpid()}, true).error(), std::errc::permission_denied);
  const auto first = tree.read(nodes.gitconfig, lost, 0, 20, {kOwner, getpid()}, true);
  ASSERT_TRUE(first);
  std::string content(first->data(), first->size());
  const auto rest = tree.read(nodes.gitconfig, lost, 20, 65536, {kOwner, getpid()}, true);
  content.append(rest->data(), rest->size());
  EXPECT_EQ(content.size(), static_cast<std::size_t>(tree.attributes(nodes.gitconfig)->st_size)) << "one snapshot";
  EXPECT_FALSE(token_in(content).empty());
  tree.release(lost);
  EXPECT_EQ(tree.open_handles(), 0u);
}

TEST_F(TreeTest, ViewsThatDifferInTheLeaseAloneShareTheirText) {
  std::vector<broker::LeasePtr> leases;
  for (int i = 0; i < 50; ++i) leases.push_back(broker.open(kOwner));
  const auto narrow = broker.open(kOwner, {"github"}, {"acme/app"});
  leases.push_back(narrow);
  std::set<std::string> contents;
  for (const auto& each : leases) {
    const auto handle = tree.open(nodes_of(*each).gitconfig, O_RDONLY, {kOwner, getpid()}).value();
    const std::string content = content_of(handle);
    EXPECT_TRUE(content.starts_with("# mintfs lease " + each->id + ":")) << content;
    contents.insert(content);
    tree.release(handle);
  }
  EXPECT_EQ(contents.size(), leases.size());
  EXPECT_LE(tree.kept_texts(), 2u);
  for (const auto& each : leases) tree.forget(*each);
  EXPECT_LE(tree.kept_views(), 1u);
}

}  // namespace
}  // namespace mintfs::fs
