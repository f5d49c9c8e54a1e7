#include "mintfs/gitconfig.h"

#include <gtest/gtest.h>

namespace mintfs::cli {
namespace {

TEST(FindProxyAccess, ReadsTheGeneratedForm) {
  const auto access = find_proxy_access(
      "# mintfs lease abc: generated at each open, do not copy.\n"
      "[http \"http://127.0.0.1:8418/namespaces/default/connectors/github/\"]\n"
      "\textraHeader =\n"
      "\textraHeader = Authorization: Basic OnRva2Vu\n"
      "\tfollowRedirects = false\n"
      "[http \"http://127.0.0.1:8418/namespaces/default/connectors/other/\"]\n"
      "\textraHeader = Authorization: Basic b3RoZXI=\n");
  ASSERT_TRUE(access);
  EXPECT_EQ(access->url, "http://127.0.0.1:8418/namespaces/default/connectors/github/");
  EXPECT_EQ(access->authorization, "Basic OnRva2Vu");
}

TEST(FindProxyAccess, ReadsAQuotedValue) {
  const auto access = find_proxy_access("[http \"http://h/\"]\n\textraHeader = \"Authorization: Basic x\"\n");
  ASSERT_TRUE(access);
  EXPECT_EQ(access->authorization, "Basic x");
}

TEST(FindProxyAccess, TakesNoHeaderOfAnotherSection) {
  for (const auto* text : {"", "[http \"http://h/\"]", "extraHeader = Authorization: Basic x\n",
                           "[http]\nextraHeader = Authorization: Basic x\n",
                           "[http \"http://h/\"]\n[user]\nextraHeader = Authorization: Basic x\n",
                           "[http \"\"]\nextraHeader = Authorization: Basic x\n"})
    EXPECT_FALSE(find_proxy_access(text)) << text;
}

}  // namespace
}  // namespace mintfs::cli
