#include "proxy/address_guard.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace mintfs::proxy {
namespace {

namespace ip = boost::asio::ip;

TEST(AddressGuard, DeniesLinkLocalAndMetadataInEveryForm) {
  for (const char* text : {"169.254.169.254",
                           "169.254.0.1",
                           "169.254.255.255",
                           "0.0.0.0",
                           "0.1.2.3",
                           "224.0.0.1",
                           "239.255.255.255",
                           "255.255.255.255",
                           "100.100.100.200",
                           "192.0.0.192",
                           "168.63.129.16",
                           "fe80::1",
                           "febf::1",
                           "fe80::1%1",
                           "fd00:ec2::254",
                           "fd00:ec2::23",
                           "fd20:ce::254",
                           "ff02::1",
                           "::",
                           "::ffff:169.254.169.254",
                           "::169.254.169.254",
                           "::ffff:0:169.254.169.254",
                           "64:ff9b::169.254.169.254",
                           "64:ff9b:1::169.254.169.254",
                           "2002:a9fe:a9fe::1",
                           "::ffff:0.0.0.0",
                           "::ffff:100.100.100.200"}) {
    EXPECT_TRUE(is_denied(ip::make_address(text))) << text;
    EXPECT_EQ(check(ip::make_address(text), {}), broker::Errc::address_denied) << text;
  }
}

TEST(AddressGuard, AllowsWhereGitServersLive) {
  for (const char* text : {"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "140.82.121.4", "169.253.255.255",
                           "169.255.0.0", "::1", "fd00::1", "fd00:ec3::1", "2606:50c0:8000::1", "::ffff:10.0.0.1",
                           "::ffff:127.0.0.1", "64:ff9b::140.82.121.4", "fec0::1"})
    EXPECT_FALSE(check(ip::make_address(text), {})) << text;
}

TEST(AddressGuard, AllowsWhatTheConfigurationNames) {
  const std::array<std::string, 3> allowed = {"not an address", "169.254.1.1", "fe80::1"};
  EXPECT_FALSE(check(ip::make_address("169.254.1.1"), allowed));
  EXPECT_FALSE(check(ip::make_address("::ffff:169.254.1.1"), allowed));
  EXPECT_FALSE(check(ip::make_address("fe80::1%1"), allowed));
  EXPECT_TRUE(check(ip::make_address("169.254.1.2"), allowed));
  EXPECT_TRUE(check(ip::make_address("fe80::2"), allowed));
}

}  // namespace
}  // namespace mintfs::proxy
