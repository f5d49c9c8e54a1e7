#include "csi/mount_table.h"

#include "csi/mounter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace mintfs::csi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kId = "abcdefghijklmnopqrstuvwxyz";
const std::string kOther = "zyxwvutsrqponmlkjihgfedcba";

MountTable table(const std::string& text) {
  std::istringstream lines(text);
  return MountTable(lines);
}

std::string line(const std::string& device, const std::string& root, const std::string& point,
                 const std::string& type = "fuse.mintfs") {
  return "36 35 " + device + " " + root + " " + point + " ro,nosuid shared:7 master:1 - " + type + " mintfs ro\n";
}

TEST(MountTable, FindsViewsByWhereTheyAre) {
  const auto mounts = table(line("0:45", "/", "/run/mintfs/fs") + line("0:45", "/" + kId, "/k/pods/1/mount") +
                            line("0:46", "/" + kOther, "/k/pods/1/mount") + "37 35 0:1 / /x rw - tmpfs t rw\n");
  const auto found = mounts.at("/k/pods/1/mount");
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].lease(), kId);
  EXPECT_EQ(found[1].lease(), kOther) << "the last is what is seen";
  EXPECT_THAT(mounts.at("/k/pods/1"), IsEmpty());
  EXPECT_THAT(mounts.leases_below("/k"), ElementsAre(kId, kOther));
  EXPECT_THAT(mounts.leases_below("/k/pods/2"), IsEmpty());
  EXPECT_EQ(mounts.at("/x").at(0).type, "tmpfs") << "also without optional fields";
}

TEST(MountTable, KnowsAViewWhoseNameTheKernelHasForgotten) {
  EXPECT_EQ(table(line("0:45", "/" + kId + "//deleted", "/k/a")).at("/k/a").at(0).lease(), kId);
}

TEST(MountTable, TakesNothingElseForAView) {
  for (const auto& [root, type] :
       std::vector<std::pair<std::string, std::string>>{{"/" + kId, "tmpfs"},
                                                        {"/" + kId, "fuse.other"},
                                                        {"/", "fuse.mintfs"},
                                                        {kId, "fuse.mintfs"},
                                                        {"/" + kId + "x", "fuse.mintfs"},
                                                        {"/" + kId + "/git", "fuse.mintfs"},
                                                        {"/ABCDEFGHIJKLMNOPQRSTUVWXYZ", "fuse.mintfs"},
                                                        {"/abcdefghijklmnopqrstuvwxy0", "fuse.mintfs"}})
    EXPECT_EQ(table(line("0:45", root, "/k/a", type)).at("/k/a").at(0).lease(), "") << root << " " << type;
}

TEST(MountTable, UnescapesWhatIsEscaped) {
  EXPECT_THAT(table(line("0:45", "/", R"(/k/a\040b\134c\011)")).at("/k/a b\\c\t"), SizeIs(1));
  EXPECT_THAT(table(line("0:45", "/", R"(/k/a\04)")).at("/k/a\\04"), SizeIs(1)) << "cut off";
}

TEST(MountTable, PassesOverWhatIsNoLineOfIt) {
  EXPECT_THAT(table("\n36\n36 35 0:45 / /k/a ro\nnonsense - \n").at("/k/a"), IsEmpty());
}

TEST(Mounter, TellsALiveMountFromOneOfADeadDaemon) {
  const std::string view = "/" + kId, serving = line("0:45", "/", "/run/mintfs/fs");
  const std::string mount = line("0:45", view, "/k/a");
  const auto mounted = table(mount).at("/k/a").at(0);
  const std::filesystem::path path = "/run/mintfs/fs" + view;
  EXPECT_TRUE(Mounter::is_alive(table(serving + mount), mounted, path));
  EXPECT_FALSE(Mounter::is_alive(table(serving + mount + line("0:46", "/", "/run/mintfs/fs")), mounted, path));
  EXPECT_FALSE(Mounter::is_alive(table(mount), mounted, path)) << "not mounted at all";
}

}  // namespace
}  // namespace mintfs::csi
