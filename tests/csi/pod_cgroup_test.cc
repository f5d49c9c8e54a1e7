#include "csi/pod_cgroup.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <fstream>

namespace mintfs::csi {
namespace {

struct PodCgroup : testing::Test {
  void make(const std::string& group) { std::filesystem::create_directories(root / group); }
  void unify() { std::ofstream(root / "cgroup.controllers") << "pids\n"; }

  test::TempDir directory;
  std::filesystem::path root = directory.make("pids", 0755);
};

TEST_F(PodCgroup, IsFoundAsKubeletNamesIt) {
  unify();
  for (const std::string group : {"kubepods/burstable/pod0b2c-11", "kubepods/pod0b2c-11",
                                  "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0b2c_11.slice",
                                  "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod0b2c_11.slice"}) {
    make(group + "/container");
    EXPECT_EQ(find_pod_cgroup(root, "0b2c-11"), "/" + group);
    std::filesystem::remove_all(root / group);
    EXPECT_EQ(find_pod_cgroup(root, "0b2c-11"), "");
  }
}

TEST_F(PodCgroup, OfAHierarchyOfVersionOneIsNamedWithIt) {
  make("kubepods/pod1234");
  EXPECT_EQ(find_pod_cgroup(root, "1234"), "pids:/kubepods/pod1234");
}

TEST_F(PodCgroup, IsNotThatOfAnotherPod) {
  unify();
  for (const auto* other : {"kubepods/pod12345", "kubepods/xpod1234", "kubepods/pod1234x", "kubepods/xpod1234.slice"})
    make(other);
  EXPECT_EQ(find_pod_cgroup(root, "1234"), "");
  make("a/b/c/d/e/f/g/pod1234");
  EXPECT_EQ(find_pod_cgroup(root, "1234"), "") << "deeper than kubelet makes them, where a pod may make its own";
  EXPECT_EQ(find_pod_cgroup(root / "nothing", "1234"), "");
}

}  // namespace
}  // namespace mintfs::csi
