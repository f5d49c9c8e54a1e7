// openers PATH SECONDS: opens PATH, reads it once (64 KiB) and closes it, again and again, and prints one JSON
// object: operations, per second, and the median and 99th percentile of one open+read+close in microseconds.
// The clock is read once per operation; latencies go to a fixed log-linear histogram (steps under 1 %), so the
// measuring itself neither allocates nor walks through memory.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

class Histogram {
 public:
  void add(uint64_t nanoseconds) {
    ++counts_[slot(nanoseconds)];
    ++total_;
  }

  // The lower edge of the slot below which `share` of the operations lie, in microseconds.
  double percentile(double share) const {
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i)
      if ((seen += counts_[i]) > wanted) return static_cast<double>(lower_edge(i)) / 1000;
    return 0;
  }

  uint64_t total() const { return total_; }

 private:
  static constexpr unsigned step_bits = 7;  // 128 steps per power of two
  static constexpr uint64_t steps = 1U << step_bits;

  static size_t slot(uint64_t value) {
    if (value < steps) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - step_bits - 1;
    return shift * steps + (value >> shift);
  }
  static uint64_t lower_edge(size_t slot) {
    if (slot < 2 * steps) return slot;
    const size_t shift = slot / steps - 1;
    return (slot - shift * steps) << shift;
  }

  std::array<uint32_t, 40 * steps> counts_{};  // up to 2^45 ns
  uint64_t total_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: openers PATH SECONDS\n");
    return 2;
  }
  using Clock = std::chrono::steady_clock;
  static std::array<char, 64 * 1024> buffer;
  static Histogram histogram;

  const auto begin = Clock::now();
  const auto end =
      begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>{std::atof(argv[2])});
  auto now = begin;
  while (now < end) {
    const int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, buffer.data(), buffer.size()) <= 0 || close(fd) != 0) {
      std::perror(argv[1]);
      return 1;
    }
    const auto after = Clock::now();
    histogram.add(static_cast<uint64_t>((after - now).count()));
    now = after;
  }
  const double elapsed = std::chrono::duration<double>{now - begin}.count();
  std::printf("{\"operations\": %llu, \"rate\": %.1f, \"p50\": %.2f, \"p99\": %.2f}\n",
              static_cast<unsigned long long>(histogram.total()), static_cast<double>(histogram.total()) / elapsed,
              histogram.percentile(0.50), histogram.percentile(0.99));
}
