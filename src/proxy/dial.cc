#include "proxy/dial.h"

#include <algorithm>
#include <list>
#include <memory>
#include <utility>

namespace mintfs::proxy {
namespace {

// Outlives the coroutine as long as an attempt is under way.
struct Race {
  struct Attempt {
    Socket socket;
    std::size_t index;
    bool failed = false;
  };
  std::list<Attempt> attempts;
  std::size_t running = 0;
  Attempt* winner = nullptr;
  Timer* wake = nullptr;  // null: nobody waits any more
};

void start(const std::shared_ptr<Race>& race, const Executor& executor, const Tcp::endpoint& to, std::size_t index) {
  auto& attempt = race->attempts.emplace_back(Race::Attempt{Socket(executor), index});
  ++race->running;
  attempt.socket.async_connect(to, [race, &attempt](const error_code& error) {
    --race->running;
    attempt.failed = static_cast<bool>(error);
    if (!error && race->winner == nullptr) race->winner = &attempt;
    if (race->wake != nullptr) race->wake->cancel();
  });
}

}  // namespace

Awaitable<Dialled> dial(Socket& socket, std::span<const Tcp::endpoint> addresses,
                        std::chrono::steady_clock::time_point deadline, Timer& wake, std::function<bool()> may_go_on,
                        std::function<void(const Tcp::endpoint&)> failed) {
  const auto race = std::make_shared<Race>();
  race->wake = &wake;
  std::size_t next = 0, failures = 0;
  auto next_start = std::chrono::steady_clock::now();
  Dialled result;
  while (race->winner == nullptr && may_go_on()) {
    const auto now = std::chrono::steady_clock::now();
    if ((result.in_time = now < deadline) == false) break;
    const auto failed_now = static_cast<std::size_t>(
        std::count_if(race->attempts.begin(), race->attempts.end(), [](const auto& each) { return each.failed; }));
    const bool new_failure = failed_now > std::exchange(failures, failed_now);
    if (next < addresses.size() && (now >= next_start || new_failure)) {
      start(race, socket.get_executor(), addresses[next], next);
      ++next;
      next_start = now + kHeadStart;
    }
    if (next == addresses.size() && race->running == 0) break;
    wake.expires_at(next < addresses.size() ? std::min(next_start, deadline) : deadline);
    co_await wake.async_wait(as_tuple);
  }
  race->wake = nullptr;
  for (auto& attempt : race->attempts) {
    if (&attempt == race->winner) {
      result.chosen = attempt.index;
      socket = std::move(attempt.socket);
      continue;
    }
    failed(addresses[attempt.index]);
    error_code ignored;
    attempt.socket.close(ignored);
  }
  co_return result;
}

}  // namespace mintfs::proxy
