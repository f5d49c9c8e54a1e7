#include "kube/connection.h"

#include "kube/fake_api.h"

#include <gtest/gtest.h>
#include <boost/asio/ssl/context.hpp>

#include <atomic>
#include <chrono>
#include <latch>
#include <string_view>
#include <thread>

#include <netdb.h>

namespace {

std::latch* name_server = nullptr;  // answers when it is counted down
std::latch* answered = nullptr;
std::atomic<int> asked = 0;

}  // namespace

// In place of the C library's, for this program.
extern "C" int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) {
  ++asked;
  if (name_server != nullptr) name_server->wait();
  if (answered != nullptr) answered->count_down();
  return EAI_AGAIN;
}

namespace mintfs::kube {
namespace {

using namespace std::chrono_literals;

struct ConnectionTest : testing::Test {
  std::optional<Failure> connect(std::chrono::seconds bound) {
    Connection connection(context, trust, "the gateway");
    return test::run(context, connection.connect(*broker::Address::parse("https://gateway.test:8443"), bound));
  }
  boost::asio::io_context context;
  boost::asio::ssl::context trust{boost::asio::ssl::context::tls_client};
};

TEST_F(ConnectionTest, DoesNotWaitForANameServerForever) {
  std::latch hangs(1), ended(1);
  name_server = &hangs;
  answered = &ended;
  // The context ends with the lookup, so who waits for the answer is another one than who lets it come.
  boost::asio::co_spawn(
      context,
      [this, &hangs]() -> boost::asio::awaitable<void> {
        Connection connection(context, trust, "the gateway");
        const auto failed = co_await connection.connect(*broker::Address::parse("https://gateway.test:8443"), 1s);
        EXPECT_TRUE(failed && failed->reason == Reason::timed_out) << (failed ? failed->text() : "connected");
        EXPECT_FALSE(hangs.try_wait()) << "the lookup has not ended";
        hangs.count_down();
      },
      boost::asio::detached);
  context.run();
  ended.wait();
  name_server = answered = nullptr;
}

// They are asked for in turn: with those that were given up, a slow name server would never catch up.
TEST_F(ConnectionTest, BeginsNoLookupThatNobodyWaitsForAnyMore) {
  std::latch hangs(1);
  name_server = &hangs;
  asked = 0;
  boost::asio::co_spawn(
      context,
      [this, &hangs]() -> boost::asio::awaitable<void> {
        for (const auto bound : {1s, 0s, 0s}) {
          Connection connection(context, trust, "the gateway");
          const auto failed = co_await connection.connect(*broker::Address::parse("https://gateway.test:8443"), bound);
          EXPECT_TRUE(failed && failed->reason == Reason::timed_out);
        }
        hangs.count_down();
      },
      boost::asio::detached);
  context.run();
  name_server = nullptr;
  EXPECT_LE(asked, 1);
}

TEST_F(ConnectionTest, SaysThatANameIsNotKnown) {
  const auto failed = connect(30s);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->reason, Reason::unreachable);
  EXPECT_NE(failed->message.find("gateway.test:8443: its name"), std::string::npos) << failed->message;
}

}  // namespace
}  // namespace mintfs::kube
