#include "proxy/traffic.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

broker::ConnectorName name(int number) { return {"team", "c" + std::to_string(number)}; }

const Traffic::Reading* find(const std::vector<Traffic::Reading>& readings, std::string_view connector) {
  for (const auto& each : readings)
    if (each.connector == connector) return &each;
  return nullptr;
}

TEST(Traffic, AddsUpWhatWorkersCounted) {
  Traffic traffic;
  for (const std::size_t worker : {std::size_t{0}, std::size_t{3}}) {
    ConnectorCounts& counts = traffic.counts_of(name(1), worker);
    counts[Work::fetch].received.add(10);
    counts[Work::fetch].sent.add(100);
    counts[Work::fetch].durations.observe(1ms);
    counts.note({.error = Errc::upstream_timeout, .at = steady_clock::time_point(1s)});
  }
  const auto readings = traffic.read();
  ASSERT_EQ(readings.size(), 1u);
  EXPECT_EQ(readings[0].connector, "team/c1");
  const auto& fetch = readings[0].by_work[static_cast<std::size_t>(Work::fetch)];
  EXPECT_EQ(fetch.received, 20u);
  EXPECT_EQ(fetch.sent, 200u);
  EXPECT_EQ(fetch.durations.counts.front(), 2u);
  ASSERT_EQ(readings[0].failures.size(), 8u) << "a first failure must be seen as a rise";
  for (const auto& [reason, count] : readings[0].failures)
    EXPECT_EQ(count, reason == Errc::upstream_timeout ? 2u : 0u) << reason_word(reason);
}

TEST(Traffic, GivesAnEntryToABoundedNumberOfConnectors) {
  Traffic traffic;
  const int most = static_cast<int>(Traffic::kMaxConnectors);
  for (int i = 0; i < most + 50; ++i) traffic.counts_of(name(i), 0)[Work::push].durations.observe(1ms);
  const auto readings = traffic.read();
  EXPECT_EQ(readings.size(), Traffic::kMaxConnectors + 1);
  const auto* other = find(readings, Traffic::kOther);
  ASSERT_NE(other, nullptr);
  const auto& counts = other->by_work[static_cast<std::size_t>(Work::push)].durations.counts;
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}), 50u);
  EXPECT_EQ(&traffic.counts_of(name(0), 0), &traffic.counts_of(name(0), 0)) << "who was first keeps its entry";
  EXPECT_NE(&traffic.counts_of(name(0), 0), &traffic.counts_of(name(most), 0));
  EXPECT_EQ(&traffic.counts_of(name(most), 0), &traffic.counts_of(name(most + 1), 0));
}

TEST(Traffic, TellsTheNewestOutcomeOfAllWorkers) {
  Traffic traffic;
  EXPECT_FALSE(traffic.last_of(name(1)));
  traffic.counts_of(name(1), 1).note({.error = Errc::upstream_refused, .at = steady_clock::time_point(20s)});
  traffic.counts_of(name(1), 0).note({.error = Errc{}, .at = steady_clock::time_point(10s)});
  ASSERT_TRUE(traffic.last_of(name(1)));
  EXPECT_EQ(traffic.last_of(name(1))->error, Errc::upstream_refused);
  EXPECT_EQ(traffic.last_of(name(1))->at, steady_clock::time_point(20s));
  traffic.counts_of(name(1), 0).note({.error = Errc{}, .at = steady_clock::time_point(30s)});
  EXPECT_EQ(traffic.last_of(name(1))->error, Errc{});
}

TEST(Traffic, BlamesAnUpstreamForItsOwnFailuresAlone) {
  std::set<std::string_view> blamed;
  for (std::size_t i = 1; i < broker::kErrcs; ++i)
    if (is_of_upstream(static_cast<Errc>(i))) blamed.insert(reason_word(static_cast<Errc>(i)));
  EXPECT_EQ(blamed, (std::set<std::string_view>{"address-denied", "egress-refused", "upstream-unreachable",
                                                "upstream-untrusted", "upstream-timeout", "upstream-refused",
                                                "upstream-redirect", "upstream-malformed"}));
}

TEST(Work, HasAWordForEachKindOfRequest) {
  using Kind = ServiceRequest::Kind;
  struct {
    Kind kind;
    broker::Operation operation;
    std::string_view word;
  } const cases[] = {
      {Kind::advertise, broker::Operation::fetch, "fetch"},   {Kind::advertise, broker::Operation::push, "push"},
      {Kind::upload_pack, broker::Operation::fetch, "fetch"}, {Kind::receive_pack, broker::Operation::push, "push"},
      {Kind::lfs_batch, broker::Operation::push, "lfs"},      {Kind::lfs_object, broker::Operation::fetch, "lfs"},
      {Kind::lfs_locks, broker::Operation::fetch, "lfs"},     {Kind::dumb, broker::Operation::fetch, "fetch"},
      {Kind::other, broker::Operation::fetch, "page"}};
  for (const auto& each : cases) {
    ServiceRequest request;
    request.kind = each.kind;
    request.operation = each.operation;
    EXPECT_EQ(to_string(work_of(request)), each.word);
  }
}

}  // namespace
}  // namespace mintfs::proxy
