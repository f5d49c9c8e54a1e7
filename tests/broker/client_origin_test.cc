#include "broker/client_origin.h"

#include <gtest/gtest.h>

#include <string>

#include <sys/socket.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

ClientOrigin from(const std::string& address) {
  return {.kind = ClientOrigin::Kind::address, .address = boost::asio::ip::make_address(address)};
}

TEST(OriginPattern, AdmitsWhatItsPrefixHolds) {
  const struct {
    std::string pattern, address;
    bool admitted;
  } cases[] = {
      {"10.88.0.5", "10.88.0.5", true},        {"10.88.0.5", "10.88.0.4", false},
      {"10.88.0.5", "::ffff:10.88.0.5", true}, {"10.88.0.0/16", "10.88.255.1", true},
      {"10.88.0.0/16", "10.89.0.1", false},    {"10.88.0.4/31", "10.88.0.5", true},
      {"10.88.0.4/31", "10.88.0.6", false},    {"0.0.0.0/0", "192.0.2.1", true},
      {"0.0.0.0/0", "2001:db8::1", false},     {"::/0", "2001:db8::1", true},
      {"fd00:1::/64", "fd00:1::7", true},      {"fd00:1::/64", "fd00:1:0:1::7", false},
      {"::ffff:10.88.0.5", "10.88.0.5", true}, {"::1", "127.0.0.1", false},
  };
  for (const auto& one : cases) {
    const auto pattern = OriginPattern::parse(one.pattern);
    ASSERT_TRUE(pattern) << one.pattern;
    EXPECT_EQ(pattern->text(), one.pattern);
    EXPECT_EQ(pattern->admits(from(one.address)), one.admitted) << one.pattern << " " << one.address;
    EXPECT_FALSE(pattern->admits({})) << one.pattern;
    EXPECT_FALSE(pattern->admits({.kind = ClientOrigin::Kind::unix_socket})) << one.pattern;
  }
}

TEST(OriginPattern, RefusesWhatIsNoNetwork) {
  for (const std::string text :
       {"", "/", "localhost", "10.88.0", "10.88.0.5/33", "10.88.0.5/", "10.88.0.5/-1", "10.88.0.5/16", "fe80::1%eth0",
        "fd00::1/64", "::1/129", "10.88.0.5/32 ", " 10.88.0.5", "unix/1", "UNIX", "10.88.0.0/16/2", "010.1.1.1"})
    EXPECT_FALSE(OriginPattern::parse(text)) << text;
}

TEST(OriginPattern, OfUnixSocketsAdmitsThemAlone) {
  const auto pattern = OriginPattern::parse("unix");
  ASSERT_TRUE(pattern);
  EXPECT_TRUE(pattern->admits({.kind = ClientOrigin::Kind::unix_socket}));
  EXPECT_FALSE(pattern->admits(from("127.0.0.1")));
  EXPECT_FALSE(pattern->admits({}));
}

TEST(ClientOrigin, IsTheOtherEndOfASocket) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(ClientOrigin::of(pair[0]).kind, ClientOrigin::Kind::unix_socket);
  ::close(pair[0]);
  ::close(pair[1]);
  EXPECT_EQ(ClientOrigin::of(-1).kind, ClientOrigin::Kind::unknown);
}

}  // namespace
}  // namespace mintfs::broker
