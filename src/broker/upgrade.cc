#include "broker/upgrade.h"

#include <chrono>
#include <csignal>
#include <exception>
#include <string>
#include <utility>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;

// How long a successor may take to start, and must live before it is left alone.
constexpr std::chrono::seconds kStartTime{30};
constexpr std::chrono::seconds kTrial{1};

}  // namespace

// The daemon serves on unless the new one has lived through its trial.
asio::awaitable<Upgrade::Outcome> Upgrade::run() {
  handing_over_ = true;
  std::string failure;
  try {
    Successor next(context_, start());
    failure = co_await try_successor(next);
    if (failure.empty()) {
      const pid_t pid = next.pid();
      hand_over(next);
      co_return Outcome{.successor = pid};
    }
  } catch (const std::exception& error) {
    failure = error.what();
  }
  resume();
  co_return Outcome{.failure = std::move(failure)};
}

Successor::Start Upgrade::start() {
  Successor::Start start = daemon_.succession();
  credentials_under_way_.emplace();
  if (const int memory = credentials_under_way_->descriptor(); memory >= 0)
    start.descriptors.emplace_back(kCredentials, memory);
  return start;
}

asio::awaitable<std::string> Upgrade::try_successor(Successor& next) {
  std::string failure = co_await next.expect(kPrepared, kStartTime);
  if (!failure.empty()) co_return failure;
  broker_.set_following(true);
  daemon_.pause();
  if (credentials_.count() != 0 && !credentials_under_way_->write(save(credentials_)))
    daemon_.warn("what jobs have stored is lost in this upgrade: the memory for it cannot be locked (ulimit -l)");
  next.tell(kGo);
  failure = co_await next.expect(kServing, kStartTime);
  if (failure.empty()) failure = co_await next.survives(kTrial);
  if (!failure.empty()) next.kill();  // before anything is taken back
  co_return failure;
}

void Upgrade::hand_over(Successor& next) {
  const pid_t pid = next.pid();
  manager_.notify("MAINPID=" + std::to_string(pid));
  next.let_go();
  credentials_under_way_.reset();
  credentials_.erase_everything();
  for (const int signal : std::exchange(deferred_, {})) ::kill(pid, signal);
  daemon_.leave(pid);
}

void Upgrade::resume() {
  handing_over_ = false;
  credentials_under_way_.reset();
  broker_.leases().reinstate();
  broker_.follow([this](const std::string& sentence) { daemon_.warn(sentence); });
  broker_.set_following(false);
  daemon_.resume();
  for (const int signal : std::exchange(deferred_, {})) daemon_.handle(signal);
}

}  // namespace mintfs::broker
