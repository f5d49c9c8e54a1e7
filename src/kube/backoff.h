// How long to wait before the next attempt: exponential with full jitter, and bounded.
//
// Full jitter, so that a thousand nodes that lost the same API server do not come back together. The source
// of chance and the waiting are arguments: tests neither guess nor sleep.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>

namespace mintfs::kube {

using Chance = std::function<double()>;  // uniform in [0, 1)

// From the system's random numbers. Of one thread.
Chance system_chance();

class Backoff {
 public:
  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds longest, Chance chance)
      : first_(first), longest_(longest), ceiling_(first), chance_(std::move(chance)) {}

  // Uniform between zero and a ceiling that doubles with each call up to `longest`.
  std::chrono::milliseconds next();
  void reset() { ceiling_ = first_; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds longest_;
  std::chrono::milliseconds ceiling_;
  Chance chance_;
};

class Pause {
 public:
  virtual ~Pause() = default;
  virtual boost::asio::awaitable<void> wait(std::chrono::milliseconds time) = 0;
};

class TimerPause final : public Pause {
 public:
  explicit TimerPause(boost::asio::io_context& context) : context_(context) {}
  boost::asio::awaitable<void> wait(std::chrono::milliseconds time) override;

 private:
  boost::asio::io_context& context_;
};

}  // namespace mintfs::kube
