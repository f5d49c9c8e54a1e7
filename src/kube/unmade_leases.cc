#include "kube/unmade_leases.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace mintfs::kube {

namespace asio = boost::asio;

UnmadeLeases::UnmadeLeases(asio::io_context& context, Api& api, Pause& pause, Chance chance)
    : context_(context), api_(api), pause_(pause), chance_(std::move(chance)) {}

bool UnmadeLeases::may_be_there(Reason reason) noexcept {
  switch (reason) {
    case Reason::unreachable:
    case Reason::timed_out:
    case Reason::server_failed:
    case Reason::malformed:
    case Reason::too_large:
    case Reason::ended:
    case Reason::silent:
      return true;
    case Reason::untrusted:
    case Reason::token_missing:
    case Reason::unauthorized:
    case Reason::forbidden:
    case Reason::not_found:
    case Reason::already_exists:
    case Reason::conflict:
    case Reason::gone:
    case Reason::invalid:
    case Reason::too_many:
      return false;
  }
  return true;
}

void UnmadeLeases::take_away(std::string id, std::string target) {
  if (unmade_.size() == kMost) unmade_.pop_front();
  unmade_.push_back({.id = std::move(id), .target = std::move(target)});
  asio::co_spawn(context_, remove(unmade_.back()), asio::detached);
}

void UnmadeLeases::lease_opened(const broker::LeasePtr& lease) {
  const auto found =
      std::find_if(unmade_.begin(), unmade_.end(), [&](const Unmade& each) { return each.id == lease->id; });
  if (found != unmade_.end()) asio::co_spawn(context_, remove(*found), asio::detached);
}

asio::awaitable<void> UnmadeLeases::remove(Unmade unmade) {
  Backoff backoff(std::chrono::seconds(1), std::chrono::seconds(30), chance_);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto is_it = [&](const Unmade& each) { return each.id == unmade.id; };
    if (attempt != 0) co_await pause_.wait(backoff.next());
    // Another has taken it away, or there are too many.
    if (std::none_of(unmade_.begin(), unmade_.end(), is_it)) co_return;
    Call call{.method = Call::Method::remove, .target = unmade.target};
    const auto gone = co_await api_.send(std::move(call));
    if (gone) std::erase_if(unmade_, is_it);
    if (gone || gone.error().reason == Reason::not_found) co_return;
  }
}

}  // namespace mintfs::kube
