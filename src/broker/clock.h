// Time as an argument, so that a test can turn it.
#pragma once

#include <chrono>

namespace mintfs::broker {

using Time = std::chrono::sys_time<std::chrono::milliseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock: tokens and leases carry it across machines and restarts. Any thread.
  virtual Time now() const = 0;
};

class SystemClock final : public Clock {
 public:
  Time now() const override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
};

}  // namespace mintfs::broker
