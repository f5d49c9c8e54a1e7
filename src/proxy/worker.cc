#include "proxy/worker.h"

#include "proxy/rewrite.h"

#include <spdlog/logger.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <csignal>
#include <limits>
#include <string>
#include <unordered_map>

#include <sys/socket.h>

namespace mintfs::proxy {
namespace {

constexpr std::chrono::milliseconds kTick{250};
constexpr std::chrono::seconds kQuiet{10};   // after a failure was told
constexpr std::chrono::seconds kUnused{60};  // until an origin that nobody asks is forgotten

}  // namespace

Worker::Worker(Shared& shared, std::size_t number)
    : shared_(shared), number_(number), work_(context_.get_executor()), timer_(context_) {}

Worker::~Worker() { join(); }

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::start() {
  asio::co_spawn(context_.get_executor(), tick(), [](const std::exception_ptr& failure) {
    if (failure) std::rethrow_exception(failure);  // told where the loop runs
  });
  thread_ = std::thread([this] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    // One connection that cannot get memory must not take the others with it.
    while (true) {
      try {
        context_.run();
        return;
      } catch (const std::exception& error) {
        shared_.log.error("the proxy goes on after: {}", error.what());
      }
    }
  });
}

void Worker::adopt(Socket socket, bool tls) {
  asio::post(context_, [this, tls, socket = std::move(socket)]() mutable {
    if (draining_) return;
    if (shared_.connections.load(std::memory_order_relaxed) >= shared_.config.max_connections && !evict()) {
      shared_.broker.note_refusal(broker::Errc::too_many, {}, nullptr);
      if (tls) return;
      std::string answer;
      write_error(broker::Errc::too_many, {}, false, false, answer);
      [[maybe_unused]] const auto sent =
          ::send(socket.native_handle(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    connections_.emplace_front(*this, std::move(socket), tls);
    shared_.connections.fetch_add(1, std::memory_order_relaxed);
    const auto self = connections_.begin();
    asio::co_spawn(context_.get_executor(), self->run(), [this, self](const std::exception_ptr& failure) {
      if (failure) {
        try {
          std::rethrow_exception(failure);
        } catch (const std::exception& error) {
          shared_.log.error("a connection ended unexpectedly: {}", error.what());
        }
      }
      connections_.erase(self);
      shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    });
  });
}

bool Worker::evict() {
  std::unordered_map<uid_t, std::uint32_t> held;
  for (const auto& each : connections_)
    if (each.is_trusted()) ++held[each.user()];
  Connection* chosen = nullptr;
  std::uint32_t most = 0;
  // The oldest is at the back.
  for (auto each = connections_.rbegin(); each != connections_.rend(); ++each) {
    if (!each->is_evictable()) continue;
    const std::uint32_t count = each->is_trusted() ? held[each->user()] : std::numeric_limits<std::uint32_t>::max();
    if (count > most) chosen = &*each, most = count;
    if (!each->is_trusted()) break;
  }
  if (chosen != nullptr) chosen->abort();
  return chosen != nullptr;
}

void Worker::cut(const broker::LeasePtr& lease) {
  asio::post(context_, [this, lease] {
    for (auto& connection : connections_) connection.cut(*lease);
  });
}

void Worker::drain() {
  asio::post(context_, [this] {
    draining_ = true;
    for (auto& connection : connections_) connection.drain();
    work_.reset();
  });
}

void Worker::abort() {
  asio::post(context_, [this] {
    for (auto& connection : connections_) connection.abort();
  });
}

Awaitable<void> Worker::tick() {
  while (!draining_ || !connections_.empty()) {
    timer_.expires_after(kTick);
    co_await timer_.async_wait(as_tuple);
    try {
      keep_house();
    } catch (const std::exception& error) {
      shared_.log.error("bounds of time are looked at again in a moment, after: {}", error.what());
    }
  }
  origins_.clear();
}

void Worker::keep_house() {
  now_ = std::chrono::steady_clock::now();
  for (auto& connection : connections_) connection.tick(now_);
  idle_.close_old(now_);
  idle_upstreams_.store(idle_.size(), std::memory_order_relaxed);
  tell_counted();
  std::erase_if(origins_, [&](const auto& each) {
    const Origin& origin = each.second;
    if (!origin.upstream) return true;
    return now_ - origin.used > kUnused && origin.upstream.use_count() == 1 && origin.upstream->idle() == 0;
  });
}

void Worker::tell_counted() {
  for (auto each = told_.begin(); each != told_.end();) {
    auto& [key, told] = *each;
    if (now_ >= told.until && told.more == 0) {
      each = told_.erase(each);
      continue;
    }
    if (now_ >= told.until) {
      shared_.log.warn("connector '{}': {}, {} times more", key.first, broker::reason_word(key.second), told.more);
      told = Told{now_ + kQuiet};
    }
    ++each;
  }
}

bool Worker::may_tell(const std::string& connector, broker::Errc failure) {
  const auto [told, news] = told_.try_emplace({connector, failure}, Told{now_ + kQuiet});
  if (!news) ++told->second.more;
  return news;
}

std::shared_ptr<Upstream> Worker::upstream_for(const broker::Grant& grant, ConnectorCounts*& counts) {
  auto& origin = origins_[grant.connector().name];
  if (origin.counts == nullptr) origin.counts = &shared_.traffic.counts_of(grant.connector().name, number_);
  counts = origin.counts;
  const auto& table = grant.connectors();
  const bool same = !origin.table.owner_before(table) && !table.owner_before(origin.table);
  if (!origin.upstream || !same)
    origin = {.table = table,
              .upstream = std::make_shared<Upstream>(grant.connector(), context_.get_executor(), shared_.lookups, idle_,
                                                     shared_.egress.find(grant.connector().address)),
              .used = {},
              .counts = counts};
  origin.used = now_;
  return origin.upstream;
}

std::shared_ptr<Upstream> Worker::token_service_for(const broker::Grant& grant, const broker::Address& address) {
  auto& origin = origins_[grant.connector().name];
  if (!origin.token_service || origin.token_address != address) {
    broker::ConnectorConfig service = grant.connector();
    service.address = address;
    origin.token_service = std::make_shared<Upstream>(service, context_.get_executor(), shared_.lookups, idle_,
                                                      shared_.egress.find(address));
    origin.token_address = address;
  }
  return origin.token_service;
}

}  // namespace mintfs::proxy
