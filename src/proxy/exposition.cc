#include "proxy/exposition.h"

#include <prometheus/text_serializer.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

namespace mintfs::proxy {
namespace {

using broker::Distribution;
using broker::Errc;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Labels = std::vector<ClientMetric::Label>;

double to_seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

MetricFamily family(std::string name, std::string help, MetricType type) {
  MetricFamily made;
  made.name = std::move(name);
  made.help = std::move(help);
  made.type = type;
  return made;
}

template <class Number>
void add(MetricFamily& to, Number value, Labels labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (to.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
  to.metric.push_back(std::move(metric));
}

void add_histogram(MetricFamily& to, const Distribution& from, Labels labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < from.counts.size(); ++i) {
    cumulative += from.counts[i];
    const double bound = i < from.bounds.size() ? to_seconds(from.bounds[i]) : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({.cumulative_count = cumulative, .upper_bound = bound});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = to_seconds(std::chrono::nanoseconds(from.sum));
  to.metric.push_back(std::move(metric));
}

using Families = std::vector<MetricFamily>;

template <class Number>
void counter(Families& to, std::string name, std::string help, Number value) {
  add(to.emplace_back(family(std::move(name), std::move(help), MetricType::Counter)), value);
}

template <class Number>
void gauge(Families& to, std::string name, std::string help, Number value) {
  add(to.emplace_back(family(std::move(name), std::move(help), MetricType::Gauge)), value);
}

Labels of_reason(Errc reason) { return {{"reason", std::string(reason_word(reason))}}; }

std::uint64_t count_of(const Distribution& distribution) {
  std::uint64_t sum = 0;
  for (const std::uint64_t each : distribution.counts) sum += each;
  return sum;
}

void add_broker(broker::Broker& broker, Families& to) {
  counter(to, "mintfs_tokens_minted_total", "Tokens minted.", broker.minted());
  counter(to, "mintfs_tokens_redeemed_total", "Tokens redeemed for a request.", broker.redeemed());
  // Reasons that never came up are told as zero, so that a first one is seen as a rise.
  auto& refusals =
      to.emplace_back(family("mintfs_refusals_total", "Requests and leases refused, by reason.", MetricType::Counter));
  broker.refusals().for_each([&](Errc reason, std::uint64_t count) { add(refusals, count, of_reason(reason)); });
  gauge(to, "mintfs_leases_open", "Leases that are open.", broker.leases().size());
  counter(to, "mintfs_audit_lines_lost_total", "Audit lines that could not be written.", broker.audit().lost());
}

void add_view(const Watched& watched, Families& to) {
  const broker::OpenCounts& opens = *watched.opens;
  gauge(to, "mintfs_view_mounted", "Whether the view is mounted and answered.", watched.view_mounted() ? 1 : 0);
  counter(to, "mintfs_view_opens_total", "Files opened in the view.", opens.ok.value());
  auto& refusals = to.emplace_back(family("mintfs_view_open_refusals_total",
                                          "Opens in the view that were refused, by reason.", MetricType::Counter));
  for (const Errc reason : broker::kOpenReasons) add(refusals, opens.refused[reason].value(), of_reason(reason));
  Distribution durations = decltype(opens.durations)::none();
  opens.durations.add_to(durations);
  add_histogram(to.emplace_back(family("mintfs_view_open_duration_seconds", "Time to answer an open in the view.",
                                       MetricType::Histogram)),
                durations);
}

void add_traffic(Traffic& traffic, Families& to) {
  auto requests = family("mintfs_requests_total", "Requests relayed to an upstream.", MetricType::Counter);
  auto received = family("mintfs_received_bytes_total", "Bytes received from clients.", MetricType::Counter);
  auto sent = family("mintfs_sent_bytes_total", "Bytes sent to clients.", MetricType::Counter);
  auto durations = family("mintfs_request_duration_seconds", "Time from a request's header to the end of its answer.",
                          MetricType::Histogram);
  auto failures =
      family("mintfs_upstream_errors_total", "Requests that an upstream failed, by reason.", MetricType::Counter);
  for (const auto& reading : traffic.read()) {
    for (std::size_t i = 0; i < kWorks; ++i) {
      const auto& work = reading.by_work[i];
      const std::uint64_t count = count_of(work.durations);
      if (count == 0 && work.received == 0 && work.sent == 0) continue;
      const Labels labels{{"connector", reading.connector},
                          {"operation", std::string(to_string(static_cast<Work>(i)))}};
      add(requests, count, labels);
      add(received, work.received, labels);
      add(sent, work.sent, labels);
      add_histogram(durations, work.durations, labels);
    }
    for (const auto& [reason, count] : reading.failures)
      add(failures, count, {{"connector", reading.connector}, {"reason", std::string(reason_word(reason))}});
  }
  for (auto* each : {&requests, &received, &sent, &durations, &failures}) to.push_back(std::move(*each));
}

void add_proxy(const Server& server, Families& to) {
  gauge(to, "mintfs_client_connections", "Connections of clients to the proxy.", server.connections());
  gauge(to, "mintfs_client_connections_limit", "Bound of the connections of clients (proxy.max_connections).",
        server.max_connections());
  gauge(to, "mintfs_upstream_idle_connections", "Connections to upstreams that are kept for the next request.",
        server.idle_upstreams());
}

std::uint64_t resident_bytes() {
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::ptrdiff_t open_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator entries("/proc/self/fd", error);
  return error ? 0 : std::distance(begin(entries), end(entries)) - 1;  // without the one that looks
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The names that every Prometheus client library gives these.
void add_process(std::chrono::system_clock::time_point started, Families& to) {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  counter(to, "process_cpu_seconds_total", "CPU time of this mintfsd.", cpu_seconds());
  gauge(to, "process_resident_memory_bytes", "Resident memory.", resident_bytes());
  gauge(to, "process_open_fds", "Open file descriptors.", open_descriptors());
  gauge(to, "process_max_fds", "Bound of open file descriptors.", descriptors.rlim_cur);
  gauge(to, "process_start_time_seconds", "When this mintfsd started, since the epoch.",
        to_seconds(started.time_since_epoch()));
  auto& build = to.emplace_back(family("mintfs_build_info", "The version that runs; always 1.", MetricType::Gauge));
  add(build, 1, {{"version", MINTFS_VERSION}});
}

}  // namespace

Exposition::Exposition(Watched watched) : watched_(std::move(watched)) {}

std::vector<MetricFamily> Exposition::Collect() const {
  Families families;
  add_broker(watched_.broker, families);
  if (watched_.opens != nullptr) add_view(watched_, families);
  add_traffic(watched_.server.traffic(), families);
  add_proxy(watched_.server, families);
  add_process(started_, families);
  return families;
}

std::string Exposition::text() const { return prometheus::TextSerializer().Serialize(Collect()); }

}  // namespace mintfs::proxy
