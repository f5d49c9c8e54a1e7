#include "kube/backoff.h"

#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>
#include <random>

namespace mintfs::kube {

Chance system_chance() {
  auto engine = std::make_shared<std::mt19937_64>(std::random_device{}());
  return [engine] { return std::uniform_real_distribution<double>(0, 1)(*engine); };
}

std::chrono::milliseconds Backoff::next() {
  const double share = std::clamp(chance_(), 0.0, 1.0);
  const auto delay =
      std::chrono::milliseconds(static_cast<std::int64_t>(share * static_cast<double>(ceiling_.count())));
  ceiling_ = std::min(ceiling_ * 2, longest_);
  return delay;
}

boost::asio::awaitable<void> TimerPause::wait(std::chrono::milliseconds time) {
  boost::asio::steady_timer timer(context_, time);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

}  // namespace mintfs::kube
