#include "broker/rare_text.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace mintfs::broker {
namespace {

static_assert(sizeof(RareText) == sizeof(void*));

TEST(RareText, IsAValueLikeAString) {
  RareText text;
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(text.text(), "");
  text = std::string("some");
  EXPECT_FALSE(text.empty());
  const RareText copy = text;
  text = std::string("other");
  EXPECT_EQ(text.text(), "other");
  EXPECT_EQ(copy.text(), "some");
  const RareText moved = std::move(text);
  EXPECT_EQ(moved.text(), "other");
  text = copy;
  EXPECT_EQ(text.text(), "some");
  text = std::string();
  EXPECT_TRUE(text.empty());
}

}  // namespace
}  // namespace mintfs::broker
