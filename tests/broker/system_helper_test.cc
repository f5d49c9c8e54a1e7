#include "broker/system_helper.h"

#include <gtest/gtest.h>

namespace mintfs::broker {
namespace {

using Words = std::vector<std::string>;

TEST(SystemHelper, IsOneThatIsKnownOrAnAbsolutePath) {
  for (const char* name : {"cache", "store", "libsecret", "manager", "osxkeychain", "/opt/a helper"})
    EXPECT_TRUE(is_system_helper(name)) << name;
  for (const std::string& name : {std::string(""), std::string("mintfs"), std::string("../x"), std::string("/"),
                                  std::string("/x/"), std::string("/x\ny"), std::string("/") + std::string(1024, 'x')})
    EXPECT_FALSE(is_system_helper(name)) << name;
  EXPECT_TRUE(is_credential_store("memory") && is_credential_store("cache"));
  EXPECT_FALSE(is_system_helper("memory") || is_credential_store(""));
}

TEST(SystemHelper, IsRunWithoutAShell) {
  EXPECT_EQ(helper_command("store", "get"), (Words{"git", "credential-store", "get"}));
  EXPECT_EQ(helper_command("/opt/a helper", "erase"), (Words{"/opt/a helper", "erase"}));
}

TEST(SystemHelper, ACacheForgetsByItself) {
  using std::chrono::seconds;
  EXPECT_EQ(helper_command("cache", "store", seconds(90)), (Words{"git", "credential-cache", "--timeout=90", "store"}));
  EXPECT_EQ(helper_command("cache", "store", seconds(-1)), (Words{"git", "credential-cache", "--timeout=1", "store"}));
  EXPECT_EQ(helper_command("cache", "erase"), (Words{"git", "credential-cache", "erase"}));
}

TEST(SystemHelper, IsAskedInLines) {
  EXPECT_EQ(to_lines({.protocol = "https", .host = "h", .path = "", .username = {}}),
            "protocol=https\nhost=h\npath=\n");
}

}  // namespace
}  // namespace mintfs::broker
