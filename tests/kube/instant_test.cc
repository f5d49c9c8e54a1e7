#include "kube/instant.h"

#include <gtest/gtest.h>

namespace mintfs::kube {
namespace {

using namespace std::chrono_literals;

TEST(Instant, IsWrittenAndReadInBothForms) {
  const broker::Time time(1'767'225'600'123ms);
  EXPECT_EQ(rfc3339(time), "2026-01-01T00:00:00Z");
  EXPECT_EQ(rfc3339_micro(time), "2026-01-01T00:00:00.123000Z");
  EXPECT_EQ(parse_rfc3339("2026-01-01T00:00:00Z"), broker::Time(1'767'225'600'000ms));
  EXPECT_EQ(parse_rfc3339(rfc3339_micro(time)), time);
  EXPECT_EQ(parse_rfc3339("2024-02-29T23:59:59.5Z"), broker::Time(1'709'251'199'500ms));
}

TEST(Instant, OfAnotherFormIsRefused) {
  for (const char* const text :
       {"", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00+01:00", "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:0xZ", "2026-01-01t00:00:00Z", "+026-01-01T00:00:00Z"})
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
}

}  // namespace
}  // namespace mintfs::kube
