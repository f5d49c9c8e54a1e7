#include "broker/job_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mintfs::broker {
namespace {

TEST(SeenPath, HasOneSpellingThatEveryFormatTakes) {
  for (const std::string path : {"/a", "/run/git", "/home/job-1/.x_y~z@+", "/..a/b.."})
    EXPECT_TRUE(is_seen_path(path)) << path;
  EXPECT_TRUE(is_seen_path("/" + std::string(254, 'a')));
  for (const std::string path :
       {"",     "/",       "a",    "a/b",   "//",    "//a",  "/a/",       "/a//b", "/.",   "/..",
        "/a/.", "/a/../b", "/a b", "/a\tb", "/a\nb", "/a:b", "/a,b",      "/a\"b", "/a'b", "/a\\b",
        "/a#b", "/a;b",    "/a$b", "/a%b",  "/a=b",  "/a!b", "/\xc3\xa9", "/\x7f"})
    EXPECT_FALSE(is_seen_path(path)) << path;
  EXPECT_FALSE(is_seen_path("/" + std::string(255, 'a')));
  EXPECT_FALSE(is_seen_path(std::string("/a\0b", 4)));
}

TEST(OtherUrls, AreTheConfiguredOnesAndWhereTheProxyListens) {
  std::vector<ListenAddress> listen;
  for (const char* text : {"127.0.0.1:8418", "https://10.88.0.1:443", "[::1]:8418", "0.0.0.0:8418", "[::]:8418",
                           "unix:/run/proxy.sock", "127.0.0.1:0"})
    listen.push_back(ListenAddress::parse(text, false).value());
  EXPECT_THAT(
      other_urls({"http://mint.example"}, listen),
      testing::ElementsAre("http://mint.example", "http://127.0.0.1:8418", "https://10.88.0.1", "http://[::1]:8418"));
}

}  // namespace
}  // namespace mintfs::broker
