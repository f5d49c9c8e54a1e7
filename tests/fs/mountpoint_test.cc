#include "fs/mountpoint.h"

#include <gtest/gtest.h>

#include <sstream>

namespace mintfs::fs {
namespace {

bool is_set(const char* conf) {
  std::istringstream stream(conf);
  return sets_user_allow_other(stream);
}

TEST(UserAllowOther, IsSetByTheWordsAloneOnALine) {
  for (const char* conf : {"user_allow_other", "user_allow_other\n", "mount_max = 5\nuser_allow_other\n",
                           "  user_allow_other\t\n", "user_allow_other\r\n", "user_allow_other # for CI\n"})
    EXPECT_TRUE(is_set(conf)) << conf;
}

TEST(UserAllowOther, IsNotSetByWhatFusermountDoesNotTakeForIt) {
  for (const char* conf :
       {"", "\n", "#user_allow_other\n", "# user_allow_other\n", "user_allow_other = yes\n", "user_allow_others\n",
        "user_allow_other_not\n", "user_allow\n_other\n", "no user_allow_other\n", "USER_ALLOW_OTHER\n"})
    EXPECT_FALSE(is_set(conf)) << conf;
}

}  // namespace
}  // namespace mintfs::fs
