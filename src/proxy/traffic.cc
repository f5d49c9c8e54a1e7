#include "proxy/traffic.h"

#include <utility>

namespace mintfs::proxy {
namespace {

using broker::Errc;

// ConnectorCounts::last_ is the time, shifted, and the error; zero is no time.
constexpr int kErrorBits = 8;
static_assert(broker::kErrcs <= 1 << kErrorBits);

template <class Counts>
std::optional<Outcome> newest(const Counts& counts) {
  std::optional<Outcome> found;
  for (const auto& each : counts) {
    const auto last = each ? each->last() : std::nullopt;
    if (last && (!found || last->at > found->at)) found = last;
  }
  return found;
}

}  // namespace

std::string_view to_string(Work work) noexcept {
  switch (work) {
    case Work::fetch:
      return "fetch";
    case Work::push:
      return "push";
    case Work::lfs:
      return "lfs";
    case Work::page:
      return "page";
  }
  return "page";
}

Work work_of(const ServiceRequest& request) noexcept {
  switch (request.kind) {
    case ServiceRequest::Kind::advertise:
    case ServiceRequest::Kind::upload_pack:
    case ServiceRequest::Kind::receive_pack:
    case ServiceRequest::Kind::dumb:
    case ServiceRequest::Kind::artifact:
      return request.operation == broker::Operation::push ? Work::push : Work::fetch;
    case ServiceRequest::Kind::lfs_batch:
    case ServiceRequest::Kind::lfs_locks:
    case ServiceRequest::Kind::lfs_object:
      return Work::lfs;
    case ServiceRequest::Kind::other:
      return Work::page;
  }
  return Work::page;
}

bool is_of_upstream(Errc error) noexcept { return error >= Errc::address_denied && error <= Errc::upstream_malformed; }

void ConnectorCounts::note(const Outcome& outcome) noexcept {
  if (outcome.error != Errc{}) failures_[outcome.error].add();
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(outcome.at.time_since_epoch()).count();
  last_.store(static_cast<std::uint64_t>(since) << kErrorBits | static_cast<std::uint64_t>(outcome.error),
              std::memory_order_relaxed);
}

std::optional<Outcome> ConnectorCounts::last() const noexcept {
  const std::uint64_t last = last_.load(std::memory_order_relaxed);
  if (last == 0) return std::nullopt;
  const std::chrono::milliseconds since(static_cast<std::int64_t>(last >> kErrorBits));
  return Outcome{.error = static_cast<Errc>(last & ((1U << kErrorBits) - 1)),
                 .at = std::chrono::steady_clock::time_point(since)};
}

ConnectorCounts& Traffic::counts_of(const broker::ConnectorName& name, std::size_t worker) {
  auto entries = entries_.lock();
  const auto found = entries->known.find(name);
  const bool full = found == entries->known.end() && entries->known.size() >= kMaxConnectors;
  ByWorker& counts = full ? entries->other : entries->known[name];
  if (counts.size() <= worker) counts.resize(worker + 1);
  if (!counts[worker]) counts[worker] = std::make_unique<ConnectorCounts>();
  return *counts[worker];
}

Traffic::Reading Traffic::read(std::string connector, const ByWorker& counts) {
  Reading reading{.connector = std::move(connector)};
  for (const auto& each : counts) {
    if (!each) continue;
    for (std::size_t i = 0; i < kWorks; ++i) {
      const ConnectorCounts::OfWork& from = (*each)[static_cast<Work>(i)];
      Reading::OfWork& total = reading.by_work[i];
      total.received += from.received.value();
      total.sent += from.sent.value();
      from.durations.add_to(total.durations);
    }
    each->failures().for_each([&](Errc reason, std::uint64_t count) {
      if (is_of_upstream(reason)) reading.failures[reason] += count;
    });
  }
  reading.last = newest(counts);
  return reading;
}

std::vector<Traffic::Reading> Traffic::read() {
  std::vector<Reading> readings;
  auto entries = entries_.lock();
  readings.reserve(entries->known.size() + 1);
  for (const auto& [name, counts] : entries->known) readings.push_back(read(name.text(), counts));
  if (!entries->other.empty()) readings.push_back(read(std::string(kOther), entries->other));
  return readings;
}

std::optional<Outcome> Traffic::last_of(const broker::ConnectorName& name) {
  auto entries = entries_.lock();
  const auto found = entries->known.find(name);
  return found == entries->known.end() ? std::nullopt : newest(found->second);
}

}  // namespace mintfs::proxy
