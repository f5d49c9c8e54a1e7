#include "proxy/upstream_pool.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using namespace std::chrono_literals;

asio::ip::address address(const char* text) { return asio::ip::make_address(text); }

// A name service whose answers wait until the test lets them go.
class Names {
 public:
  ~Names() {
    std::unique_lock lock(mutex_);
    held_ = false;
    changed_.notify_all();
    changed_.wait(lock, [&] { return inside_ == 0; });
  }
  Lookups::Ask ask() {
    return [this](const std::string& host) -> broker::Result<Addresses> {
      std::unique_lock lock(mutex_);
      ++asked_;
      ++inside_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return !held_ || host == "quick.example"; });
      auto answer = answer_;
      --inside_;
      changed_.notify_all();
      return answer;
    };
  }
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void answer(broker::Result<Addresses> answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  int asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  void wait_until_asked(int times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_ >= times; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int asked_ = 0;
  int inside_ = 0;
  broker::Result<Addresses> answer_ = Addresses{address("127.0.0.1")};
};

class UpstreamPoolTest : public testing::Test {
 protected:
  UpstreamPoolTest() { listener_.listen(); }

  std::shared_ptr<Upstream> upstream(const std::string& host = "git.example") {
    broker::ConnectorConfig connector;
    connector.address = {.scheme = "http", .host = host, .port = listener_.local_endpoint().port(), .prefix = ""};
    return std::make_shared<Upstream>(connector, context_.get_executor(), lookups_, idle_);
  }
  // Begins to connect; the outcome is stored when run() has come that far.
  std::optional<Errc>& connect(const std::shared_ptr<Upstream>& to, std::chrono::seconds later = 0s) {
    auto& attempt = attempts_.emplace_back(context_.get_executor());
    attempt.origin = to;
    asio::co_spawn(
        context_.get_executor(),
        [](Attempt& it, SteadyTime now) -> Awaitable<void> {
          it.outcome = co_await it.origin->connect(it.connection, now, 2s);
        }(attempt, start_ + later),
        asio::detached);
    return attempt.outcome;
  }
  void run_until(const std::function<bool()>& done) {
    const auto guard = asio::make_work_guard(context_);
    context_.restart();  // it may have run out of work before
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (!done() && std::chrono::steady_clock::now() < end) context_.run_one_for(100ms);
    ASSERT_TRUE(done());
  }
  Errc outcome(std::optional<Errc>& of) {
    run_until([&] { return of.has_value(); });
    return of.value_or(Errc::internal);
  }

  struct Attempt {
    explicit Attempt(const Executor& executor) : connection(executor) {}
    std::shared_ptr<Upstream> origin;
    UpstreamConnection connection;
    std::optional<Errc> outcome;
  };

  Names names_;
  Lookups lookups_{names_.ask()};
  asio::io_context context_;
  asio::ip::tcp::acceptor listener_{context_, {address("127.0.0.1"), 0}};
  IdleConnections idle_;
  SteadyTime start_ = std::chrono::steady_clock::now();
  std::list<Attempt> attempts_;
};

TEST_F(UpstreamPoolTest, OneLookupServesAllWhoWait) {
  names_.hold(true);
  const auto git = upstream();
  auto& one = connect(git);
  auto& two = connect(git);
  context_.poll();
  names_.wait_until_asked(1);
  names_.hold(false);
  EXPECT_EQ(outcome(one), Errc{});
  EXPECT_EQ(outcome(two), Errc{});
  EXPECT_EQ(names_.asked(), 1);
}

TEST_F(UpstreamPoolTest, ADeadNameServerHoldsNeitherOthersNorTheEnd) {
  names_.hold(true);
  auto slow = upstream();
  auto& waiting = connect(slow);
  context_.poll();
  names_.wait_until_asked(1);
  EXPECT_EQ(outcome(connect(upstream("quick.example"))), Errc{});
  attempts_.front().connection.abort();
  EXPECT_EQ(outcome(waiting), Errc::upstream_unreachable);
  attempts_.clear();
  slow.reset();  // with its lookup under way
  names_.hold(false);
  EXPECT_EQ(outcome(connect(upstream())), Errc{});
}

TEST_F(UpstreamPoolTest, WhatIsKnownServesWhileItIsAskedForAnew) {
  const auto git = upstream();
  EXPECT_EQ(outcome(connect(git)), Errc{});
  names_.hold(true);
  EXPECT_EQ(outcome(connect(git, Upstream::kResolvedFor)), Errc{});
  names_.wait_until_asked(2);
  names_.answer(Addresses{address("169.254.169.254")});
  names_.hold(false);
  Errc last{};
  run_until([&] { return last != Errc{} || (last = outcome(connect(git, Upstream::kResolvedFor))) != Errc{}; });
  EXPECT_EQ(last, Errc::address_denied);
}

TEST_F(UpstreamPoolTest, AFailedLookupIsToldAndAskedForAgain) {
  names_.answer(Errc::upstream_unreachable);
  const auto git = upstream();
  EXPECT_EQ(outcome(connect(git)), Errc::upstream_unreachable);
  names_.answer(Addresses{address("127.0.0.1")});
  EXPECT_EQ(outcome(connect(git)), Errc{});
}

TEST_F(UpstreamPoolTest, AnAddressThatNeverAnswersLosesTheRaceAndIsTriedLastFromThenOn) {
  // A listener whose queue is full drops what comes.
  const asio::ip::tcp::endpoint black(address("127.0.0.2"), listener_.local_endpoint().port());
  asio::ip::tcp::acceptor hole(context_, black.protocol());
  hole.bind(black);
  hole.listen(0);
  std::list<asio::ip::tcp::socket> fillers;
  for (int i = 0; i < 4; ++i) fillers.emplace_back(context_).async_connect(black, [](auto) {});
  context_.restart();
  context_.run_for(50ms);

  names_.answer(Addresses{black.address(), address("127.0.0.1")});
  const auto git = upstream();
  EXPECT_EQ(outcome(connect(git)), Errc{});
  // Now it would answer if it were tried first.
  fillers.clear();
  hole.close();
  const asio::ip::tcp::acceptor open(context_, black);
  const auto leads_to_the_other = [&](std::chrono::seconds later) {
    EXPECT_EQ(outcome(connect(git, later)), Errc{});
    const StreamProtocol::endpoint other(listener_.local_endpoint());
    return attempts_.back().connection.stream.socket().remote_endpoint() == other;
  };
  EXPECT_TRUE(leads_to_the_other(0s));
  // Asked anew, the name still has that address in front.
  names_.hold(true);
  EXPECT_TRUE(leads_to_the_other(Upstream::kResolvedFor));
  names_.hold(false);
  run_until([&] { return names_.asked() == 2; });
  context_.restart();
  context_.run_for(50ms);
  EXPECT_TRUE(leads_to_the_other(Upstream::kResolvedFor));
}

TEST_F(UpstreamPoolTest, WhereNoKnownAddressAnswersTheNameIsAskedInTheSameRequest) {
  const auto git = upstream();
  names_.answer(Addresses{address("127.0.0.3")});  // nobody listens there
  EXPECT_EQ(outcome(connect(git)), Errc::upstream_unreachable);
  names_.answer(Addresses{address("127.0.0.1")});
  EXPECT_EQ(outcome(connect(git)), Errc{});
}

TEST_F(UpstreamPoolTest, KeptConnectionsHaveOneBoundAndTheOldestGoes) {
  std::vector<std::shared_ptr<Upstream>> origins;
  for (std::size_t i = 0; i <= IdleConnections::kMost; ++i) {
    if (i % Upstream::kMaxIdle == 0) origins.push_back(upstream());
    origins.back()->put_back(std::make_unique<UpstreamConnection>(context_.get_executor()), start_ + 1ms * i);
  }
  EXPECT_EQ(idle_.size(), IdleConnections::kMost);
  EXPECT_EQ(origins.front()->idle(), Upstream::kMaxIdle - 1);
  EXPECT_EQ(origins.back()->idle(), 1u);
  origins.erase(origins.begin());
  EXPECT_EQ(idle_.size(), IdleConnections::kMost - Upstream::kMaxIdle + 1);
  idle_.close_old(start_ + 1h);
  EXPECT_EQ(idle_.size(), 0u);
  EXPECT_EQ(origins.back()->idle(), 0u);
}

}  // namespace
}  // namespace mintfs::proxy
