// Counts that are added to where the work is done, and read now and then by who tells them.
//
// Adding is a relaxed operation on memory, without a lock or an allocation, so it costs a few
// nanoseconds. A reader sees each count as it was at some moment; two counts may be of two moments.
#pragma once

#include "broker/error.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mintfs::broker {

// Any thread adds.
class Counter {
 public:
  void add(std::uint64_t by = 1) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// One thread adds: a load and a store, where a Counter would lock the cache line.
class Tally {
 public:
  void add(std::uint64_t by = 1) noexcept { value_.store(value() + by, std::memory_order_relaxed); }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// One count for each reason that there is.
template <class Count>
class ByReason {
 public:
  Count& operator[](Errc reason) noexcept { return counts_[static_cast<std::size_t>(reason)]; }
  const Count& operator[](Errc reason) const noexcept { return counts_[static_cast<std::size_t>(reason)]; }
  // Calls each(reason, count) for every reason, also where it never happened.
  template <class Function>
  void for_each(Function each) const {
    for (std::size_t i = 1; i < kErrcs; ++i) each(static_cast<Errc>(i), counts_[i].value());
  }
  std::uint64_t total() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& each : counts_) sum += each.value();
    return sum;
  }

 private:
  std::array<Count, kErrcs> counts_;
};

// What a histogram held when it was read; histograms of the same bounds can be added up.
struct Distribution {
  std::span<const std::chrono::nanoseconds> bounds;  // upper, inclusive, ascending
  std::vector<std::uint64_t> counts;                 // one per bound, and one for what is above all
  std::uint64_t sum = 0;                             // nanoseconds
};

// Durations, counted by size. One thread observes. `kBounds` is an array of static storage.
template <const auto& kBounds>
class Histogram {
 public:
  void observe(std::chrono::nanoseconds duration) noexcept {
    const auto at = std::lower_bound(kBounds.begin(), kBounds.end(), duration);
    counts_[static_cast<std::size_t>(at - kBounds.begin())].add();
    sum_.add(static_cast<std::uint64_t>(std::max(duration, std::chrono::nanoseconds::zero()).count()));
  }
  static Distribution none() { return {.bounds = kBounds, .counts = std::vector<std::uint64_t>(kBounds.size() + 1)}; }
  void add_to(Distribution& total) const {
    for (std::size_t i = 0; i < counts_.size(); ++i) total.counts[i] += counts_[i].value();
    total.sum += sum_.value();
  }

 private:
  std::array<Tally, kBounds.size() + 1> counts_;
  Tally sum_;
};

inline constexpr std::array<std::chrono::nanoseconds, 12> kRequestBounds = {
    std::chrono::milliseconds(5),   std::chrono::milliseconds(10),  std::chrono::milliseconds(25),
    std::chrono::milliseconds(50),  std::chrono::milliseconds(100), std::chrono::milliseconds(250),
    std::chrono::milliseconds(500), std::chrono::seconds(1),        std::chrono::seconds(5),
    std::chrono::seconds(30),       std::chrono::minutes(2),        std::chrono::minutes(10)};
using RequestHistogram = Histogram<kRequestBounds>;

inline constexpr std::array<std::chrono::nanoseconds, 9> kOpenBounds = {
    std::chrono::microseconds(5),  std::chrono::microseconds(10),  std::chrono::microseconds(25),
    std::chrono::microseconds(50), std::chrono::microseconds(100), std::chrono::microseconds(500),
    std::chrono::milliseconds(1),  std::chrono::milliseconds(10),  std::chrono::milliseconds(100)};

// What an open is refused for: several reasons have one errno, and what the caller was told is counted.
inline constexpr std::array kOpenReasons = {Errc::lease_denied, Errc::operation_denied, Errc::request_malformed,
                                            Errc::too_many, Errc::internal};

// Opens of files in the view. One thread adds.
struct OpenCounts {
  Tally ok;
  ByReason<Tally> refused;           // kOpenReasons
  Histogram<kOpenBounds> durations;  // of both
};

}  // namespace mintfs::broker
