// What the workers have relayed, by connector and kind of work, for those who watch the daemon.
//
// Each worker counts in tallies of its own, which it finds once per upstream and not per request. The
// names of connectors become labels of metrics, and a reload may bring ever new ones: the first
// kMaxConnectors that are used have an entry of their own, all others share one.
#pragma once

#include "broker/config.h"
#include "broker/metrics.h"
#include "broker/sync.h"
#include "proxy/service_request.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

// The operations by which work is told apart.
enum class Work : std::uint8_t { fetch, push, lfs, page };
inline constexpr std::size_t kWorks = 4;
std::string_view to_string(Work work) noexcept;
Work work_of(const ServiceRequest& request) noexcept;

// Whether this is what an upstream did, and not a client.
bool is_of_upstream(broker::Errc error) noexcept;

// How the last request that an upstream was asked ended: Errc{} when it answered.
struct Outcome {
  broker::Errc error{};
  std::chrono::steady_clock::time_point at;
};

// Of one connector, by one worker. The worker's thread adds, any thread reads.
class ConnectorCounts {
 public:
  struct OfWork {
    broker::Tally received;  // bytes, from clients
    broker::Tally sent;      // bytes, to clients
    broker::RequestHistogram durations;
  };
  OfWork& operator[](Work work) { return by_work_[static_cast<std::size_t>(work)]; }
  const OfWork& operator[](Work work) const { return by_work_[static_cast<std::size_t>(work)]; }
  const broker::ByReason<broker::Tally>& failures() const { return failures_; }

  // `outcome.error` is Errc{} or is_of_upstream().
  void note(const Outcome& outcome) noexcept;
  std::optional<Outcome> last() const noexcept;

 private:
  std::array<OfWork, kWorks> by_work_;
  broker::ByReason<broker::Tally> failures_;
  std::atomic<std::uint64_t> last_{0};  // milliseconds and the error, so that both are of one request
};

// Thread-safe.
class Traffic {
 public:
  static constexpr std::size_t kMaxConnectors = 1000;
  static constexpr std::string_view kOther = "other";  // no connector's name: those have a slash

  // What `worker` adds to; lives as long as this.
  ConnectorCounts& counts_of(const broker::ConnectorName& name, std::size_t worker);

  struct Reading {
    struct OfWork {
      std::uint64_t received = 0;
      std::uint64_t sent = 0;
      broker::Distribution durations = broker::RequestHistogram::none();
    };
    std::string connector;  // "namespace/name" or kOther
    std::array<OfWork, kWorks> by_work{};
    std::map<broker::Errc, std::uint64_t> failures{};  // those there are, also where none happened
    std::optional<Outcome> last{};
  };
  // All that were ever used, by name.
  std::vector<Reading> read();
  // Nothing where the connector was not used, or has no entry of its own.
  std::optional<Outcome> last_of(const broker::ConnectorName& name);

 private:
  using ByWorker = std::vector<std::unique_ptr<ConnectorCounts>>;
  static Reading read(std::string connector, const ByWorker& counts);
  struct Entries {
    std::map<broker::ConnectorName, ByWorker> known;
    ByWorker other;
  };
  broker::Sync<Entries> entries_;
};

}  // namespace mintfs::proxy
