#include "broker/metrics.h"

#include "parts.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace mintfs::broker {
namespace {

using namespace std::chrono_literals;

TEST(Counter, LosesNothingWhenManyAdd) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) counter.add();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 40'000u);
}

TEST(ByReason, CountsEachReasonApart) {
  ByReason<Tally> counts;
  counts[Errc::token_missing].add();
  counts[Errc::internal].add(2);
  std::vector<std::string> seen;
  counts.for_each([&](Errc reason, std::uint64_t count) {
    if (count != 0) seen.push_back(std::string(reason_word(reason)) + "=" + std::to_string(count));
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"token-missing=1", "internal=2"}));
  EXPECT_EQ(counts.total(), 3u);
}

TEST(Histogram, CountsADurationUpToItsBound) {
  RequestHistogram histogram;
  for (const std::chrono::nanoseconds duration :
       {0ns, std::chrono::nanoseconds(5ms), std::chrono::nanoseconds(5ms) + 1ns, std::chrono::nanoseconds(10min),
        std::chrono::nanoseconds(11min)})
    histogram.observe(duration);
  Distribution total = RequestHistogram::none();
  histogram.add_to(total);
  EXPECT_EQ(total.counts.front(), 2u) << "a bound belongs to its bucket";
  EXPECT_EQ(total.counts[1], 1u);
  EXPECT_EQ(total.counts[total.counts.size() - 2], 1u);
  EXPECT_EQ(total.counts.back(), 1u);
  EXPECT_EQ(total.sum, static_cast<std::uint64_t>((10ms + 10min + 11min + 1ns) / 1ns));
}

TEST(Histogram, AddsUpWithOthersOfItsKind) {
  RequestHistogram one;
  RequestHistogram other;
  one.observe(1ms);
  other.observe(1ms);
  other.observe(-1ns);  // a clock that stood still
  Distribution total = RequestHistogram::none();
  one.add_to(total);
  other.add_to(total);
  EXPECT_EQ(total.counts.front(), 3u);
  EXPECT_EQ(total.sum, static_cast<std::uint64_t>(2ms / 1ns));
}

TEST(Broker, CanMintWithoutALeaseAndLeavesNoTrace) {
  test::AuditedBroker it;
  EXPECT_TRUE(it.broker.can_mint(it.scratch));
  EXPECT_EQ(it.broker.minted(), 0u);
  EXPECT_EQ(it.log(), "");
}

TEST(Broker, CannotMintWhatNobodyWouldTake) {
  test::TestBroker it;
  Broker broker({.audience = std::string(kMaxTokenSize, 'x'), .token_ttl = 1min, .default_ttl = 1h, .max_ttl = 1h},
                it.keys, it.leases, it.audit, it.clock, it.broker.connectors());
  Scratch scratch;
  EXPECT_FALSE(broker.can_mint(scratch));
}

}  // namespace
}  // namespace mintfs::broker
