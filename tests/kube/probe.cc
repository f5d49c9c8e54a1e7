// The client of src/kube as a program, so that a test can play the API server to it.
//
//   kube_probe --server URL --token-file F --ca-file F [--silence S] [--confirmed] watch PATH
//   kube_probe ... call METHOD TARGET [BODY]
//
// Prints one line for each thing that happens: "+ns/name", "-ns/name", "begin", "complete", "failure REASON",
// for a call the answer or "failure REASON SECONDS: MESSAGE". Pauses are printed and then last a millisecond.
#include "kube/client.h"
#include "kube/fields.h"
#include "kube/reflector.h"

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>

#include <csignal>
#include <cstdio>
#include <map>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

struct Printed final : ObjectSink {
  void begin() override { say("begin"); }
  void upsert(const boost::json::object& object) override { say("+" + name(object)); }
  void complete() override { say("complete"); }
  void remove(const boost::json::object& object) override { say("-" + name(object)); }
  static std::string name(const boost::json::object& object) {
    return std::string(text_at(object, {"metadata", "namespace"})) + "/" +
           std::string(text_at(object, {"metadata", "name"}));
  }
};

struct ShortPause final : Pause {
  explicit ShortPause(asio::io_context& context) : timer(context) {}
  asio::awaitable<void> wait(std::chrono::milliseconds time) override {
    say("pause " + std::to_string(time.count()));
    co_await timer.wait(std::chrono::milliseconds(1));
  }
  TimerPause timer;
};

asio::awaitable<void> ask(Client& client, std::string method, std::string target, std::string body, int times) {
  const std::map<std::string, Call::Method> methods{{"GET", Call::Method::get},
                                                    {"POST", Call::Method::post},
                                                    {"PATCH", Call::Method::merge_patch},
                                                    {"PUT", Call::Method::put},
                                                    {"DELETE", Call::Method::remove}};
  for (int i = 0; i < times; ++i) {
    Call call{.method = methods.at(method), .target = target, .repeatable = method == "GET"};
    if (!body.empty()) call.body = broker::Secret(body);
    const auto answer = co_await client.send(std::move(call));
    if (answer)
      say(boost::json::serialize(*answer));
    else
      say("failure " + std::string(to_string(answer.error().reason)) + " " +
          std::to_string(answer.error().retry_after.value_or(std::chrono::seconds{0}).count()) + ": " +
          answer.error().message);
  }
}

int run(int argc, char** argv) {
  std::string server, token_file, ca_file, path, method, target, body;
  int times = 1;
  Client::Limits limits;
  std::int64_t silence = 65, exchange = 60;
  bool confirmed = false;
  CLI::App app("Speaks to a Kubernetes API server.");
  app.add_option("--server", server)->required();
  app.add_option("--token-file", token_file)->required();
  app.add_option("--ca-file", ca_file)->required();
  app.add_option("--silence", silence);
  app.add_option("--exchange", exchange);
  app.add_flag("--confirmed", confirmed);
  app.add_option("--event-limit", limits.event);
  app.add_option("--answer-limit", limits.answer);
  auto* const watch = app.add_subcommand("watch");
  watch->add_option("path", path)->required();
  auto* const call = app.add_subcommand("call");
  call->add_option("--times", times);
  call->add_option("method", method)->required();
  call->add_option("target", target)->required();
  call->add_option("body", body);
  CLI11_PARSE(app, argc, argv);
  limits.silence = std::chrono::seconds(silence);
  limits.exchange = std::chrono::seconds(exchange);
  std::signal(SIGPIPE, SIG_IGN);

  asio::io_context context{1};
  Client client(context, at(server, token_file, ca_file, "default"), limits);
  Printed sink;
  ShortPause pause(context);
  Reflector reflector(client, {.path = path, .confirmed = confirmed}, sink,
                      {.pause = pause,
                       .chance = [] { return 0.5; },
                       .report =
                           [](const Failure& failure) {
                             say("failure " + std::string(to_string(failure.reason)) + ": " + failure.message);
                           }});
  if (watch->parsed())
    asio::co_spawn(context, reflector.run(), asio::detached);
  else
    asio::co_spawn(context, ask(client, method, target, body, times), asio::detached);
  context.run();
  return 0;
}

}  // namespace
}  // namespace mintfs::kube

int main(int argc, char** argv) { return mintfs::kube::run(argc, argv); }
