// An API server that a test plays: what is asked is written down, what is answered was laid out before.
//
// When all that was laid out is used up the context stops, so that a coroutine that never returns ends its test.
#pragma once

#include "kube/api.h"
#include "kube/backoff.h"

#include "broker/secret_json.h"

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/value.hpp>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mintfs::test {

namespace asio = boost::asio;

inline boost::json::object object_of(std::string_view text) {
  auto value = broker::parse_secret_json(text);
  EXPECT_TRUE(value && value->is_object()) << text;
  return std::move(value->as_object());
}

using Laid = kube::Outcome<boost::json::object>;

class FakeApi final : public kube::Api {
 public:
  explicit FakeApi(asio::io_context& context) : context_(context) {}

  void answer(std::string_view text) { answers_.emplace_back(object_of(text)); }
  void refuse(kube::Failure failure) { answers_.emplace_back(std::move(failure)); }
  // The next watch: its events, and how it ends.
  void stream(const std::vector<std::string>& events,
              kube::Failure end = {.reason = kube::Reason::ended, .message = "the end"}) {
    std::deque<Laid> laid;
    for (const auto& event : events) laid.emplace_back(object_of(event));
    laid.emplace_back(std::move(end));
    streams_.emplace_back(std::move(laid));
  }
  void refuse_watch(kube::Failure failure) { streams_.emplace_back(std::move(failure)); }

  asio::awaitable<Laid> send(kube::Call call) override {
    static constexpr const char* kNames[] = {"GET", "POST", "PATCH", "PUT", "DELETE"};
    asked.push_back(std::string(kNames[static_cast<int>(call.method)]) + " " + call.target);
    bodies.emplace_back(call.body.reveal());
    if (answers_.empty()) co_await end();
    auto laid = std::move(answers_.front());
    answers_.pop_front();
    co_return laid;
  }

  asio::awaitable<kube::Outcome<std::unique_ptr<kube::Stream>>> watch(std::string target) override {
    asked.push_back("WATCH " + target);
    if (streams_.empty()) co_await end();
    auto laid = std::move(streams_.front());
    streams_.pop_front();
    if (!laid) co_return laid.error();
    co_return std::make_unique<FakeStream>(std::move(*laid));
  }

  std::vector<std::string> asked;
  std::vector<std::string> bodies;

 private:
  struct FakeStream final : kube::Stream {
    explicit FakeStream(std::deque<Laid> laid) : events(std::move(laid)) {}
    asio::awaitable<Laid> next() override {
      auto event = std::move(events.front());
      events.pop_front();
      co_return event;
    }
    std::deque<Laid> events;
  };

  asio::awaitable<void> end() {
    context_.stop();
    asio::steady_timer never(context_, asio::steady_timer::time_point::max());
    co_await never.async_wait(asio::use_awaitable);
  }

  asio::io_context& context_;
  std::deque<Laid> answers_;
  std::deque<kube::Outcome<std::deque<Laid>>> streams_;
};

// Writes down how long it would have waited.
class FakePause final : public kube::Pause {
 public:
  asio::awaitable<void> wait(std::chrono::milliseconds time) override {
    waited.push_back(time.count());
    co_return;
  }
  std::vector<std::int64_t> waited;
};

// Runs one coroutine to its end and gives what it returned.
template <class T>
T run(asio::io_context& context, asio::awaitable<T> work) {
  std::optional<T> result;
  asio::co_spawn(
      context,
      [](asio::awaitable<T> inner, std::optional<T>& out) -> asio::awaitable<void> {
        out.emplace(co_await std::move(inner));
      }(std::move(work), result),
      [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
      });
  context.restart();
  context.run();
  if (!result) throw std::runtime_error("the coroutine did not end: more was asked than was laid out");
  return std::move(*result);
}

}  // namespace mintfs::test
