#include "proxy/kept_bytes.h"

#include <gtest/gtest.h>

#include <list>

namespace mintfs::proxy {
namespace {

constexpr std::size_t kStep = KeptBytes::kMostPerUser / 4;

TEST(KeptBytes, OfOneUserLeaveRoomForOthers) {
  KeptBytes all;
  std::list<KeptBytes::Share> shares;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(shares.emplace_back(all).grow(1000, kStep));
  EXPECT_FALSE(shares.emplace_back(all).grow(1000, 1));
  EXPECT_TRUE(shares.emplace_back(all).grow(1001, kStep));
  EXPECT_EQ(all.total(), 5 * kStep);
}

TEST(KeptBytes, AreBoundedInAll) {
  KeptBytes all;
  std::list<KeptBytes::Share> shares;
  for (uid_t user = 1; user <= 4; ++user) EXPECT_TRUE(shares.emplace_back(all).grow(user, KeptBytes::kMostPerUser));
  EXPECT_FALSE(shares.emplace_back(all).grow(5, 1));
  shares.pop_front();
  EXPECT_TRUE(shares.back().grow(5, KeptBytes::kMostPerUser));
}

TEST(KeptBytes, AreGivenBackWithTheirRequest) {
  KeptBytes all;
  KeptBytes::Share share(all);
  EXPECT_TRUE(share.grow(1000, 10));
  EXPECT_TRUE(share.grow(1000, 30));
  EXPECT_EQ(all.total(), 30u) << "what was kept before counts once";
  EXPECT_FALSE(share.grow(1000, KeptBytes::kMostPerUser + 1));
  EXPECT_EQ(all.total(), 30u);
  EXPECT_TRUE(share.grow(1001, 5)) << "the next request may be another user's";
  EXPECT_EQ(all.total(), 5u);
  share.release();
  share.release();
  EXPECT_EQ(all.total(), 0u);
  { EXPECT_TRUE(KeptBytes::Share(all).grow(1000, 7)); }
  EXPECT_EQ(all.total(), 0u);
}

}  // namespace
}  // namespace mintfs::proxy
