#include "mintfs/machine_checks.h"

#include <gtest/gtest.h>

#include <sys/timex.h>

namespace mintfs::cli {
namespace {

TEST(Clock, IsCalledSynchronisedOnlyWhenTheKernelSaysSo) {
  EXPECT_EQ(judge_clock(TIME_OK).state, Finding::State::ok);
  EXPECT_EQ(judge_clock(TIME_INS).state, Finding::State::ok);
  EXPECT_EQ(judge_clock(TIME_ERROR).state, Finding::State::warn);
  const Finding refused = judge_clock(-1);
  EXPECT_EQ(refused.state, Finding::State::warn);
  EXPECT_NE(refused.sentence.find("cannot be asked"), std::string::npos);
}

}  // namespace
}  // namespace mintfs::cli
