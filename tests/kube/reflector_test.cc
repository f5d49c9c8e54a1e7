#include "kube/reflector.h"

#include "kube/fake_api.h"
#include "kube/fields.h"

#include <gmock/gmock.h>

namespace mintfs::kube {
namespace {

using testing::ElementsAre;
namespace asio = boost::asio;
using namespace std::chrono_literals;

// Writes down what it is told.
struct Told final : ObjectSink {
  void begin() override { heard.emplace_back("begin"); }
  void upsert(const boost::json::object& object) override { heard.push_back("+" + name(object)); }
  void complete() override { heard.emplace_back("complete"); }
  void remove(const boost::json::object& object) override { heard.push_back("-" + name(object)); }
  static std::string name(const boost::json::object& object) {
    return std::string(text_at(object, {"metadata", "name"}));
  }
  std::vector<std::string> heard;
};

std::string list(const std::string& names, const std::string& version, const std::string& next = "") {
  std::string items;
  for (const char name : names)
    items += std::string(items.empty() ? "" : ",") + R"({"metadata":{"name":")" + name + R"("}})";
  return R"({"metadata":{"resourceVersion":")" + version + R"(","continue":")" + next + R"("},"items":[)" + items +
         "]}";
}

std::string event(const std::string& type, const std::string& name, const std::string& version) {
  return R"({"type":")" + type + R"(","object":{"metadata":{"name":")" + name + R"(","resourceVersion":")" + version +
         R"("}}})";
}

struct ReflectorTest : testing::Test {
  // Until all that was laid out is used up.
  void run() {
    asio::co_spawn(context, reflector.run(), asio::detached);
    context.run();
  }
  static std::string watch_from(const std::string& version) {
    return "WATCH /things?watch=1&allowWatchBookmarks=true&resourceVersion=" + version + "&timeoutSeconds=450";
  }
  static inline const std::string kList = "GET /things?limit=500";

  asio::io_context context;
  test::FakeApi api{context};
  test::FakePause pause;
  Told sink;
  std::vector<Reason> reported;
  Reflector::Monotonic now{1000s};
  Reflector reflector{api,
                      {.path = "/things"},
                      sink,
                      {.pause = pause,
                       .chance = [] { return 0.5; },
                       .now = [this] { return now; },
                       .report = [this](const Failure& failure) { reported.push_back(failure.reason); }}};
  static constexpr const char* kDropped = "dropped";
  Failure dropped{.reason = Reason::unreachable, .message = kDropped};
};

TEST_F(ReflectorTest, ListsInPagesThenWatchesFromWhereTheListEnded) {
  api.answer(list("ab", "10", "more+"));
  api.answer(list("c", "11"));
  api.stream({event("ADDED", "d", "12"), event("MODIFIED", "a", "13"), event("DELETED", "b", "14")});
  run();
  EXPECT_THAT(sink.heard, ElementsAre("begin", "+a", "+b", "+c", "complete", "+d", "+a", "-b"));
  EXPECT_THAT(api.asked, ElementsAre(kList, kList + "&continue=more%2B", watch_from("11"), watch_from("14")));
  EXPECT_TRUE(reported.empty());
}

// Whoever may make some large objects would else keep all others' from being known.
TEST_F(ReflectorTest, AsksForFewerAtOnceWhereAPageIsTooLarge) {
  const Failure large{.reason = Reason::too_large, .message = "an answer is over the bound"};
  api.answer(list("a", "10", "more"));
  api.refuse(large);
  api.refuse(large);
  api.answer(list("b", "10", "still"));
  api.answer(list("c", "11"));
  run();
  EXPECT_THAT(sink.heard, ElementsAre("begin", "+a", "+b", "+c", "complete"));
  const auto rest = [](int limit, const std::string& next) {
    return "GET /things?limit=" + std::to_string(limit) + "&continue=" + next;
  };
  EXPECT_THAT(api.asked, ElementsAre(kList, rest(500, "more"), rest(62, "more"), rest(8, "more"), rest(8, "still"),
                                     watch_from("11")));
  EXPECT_TRUE(reported.empty());
}

TEST_F(ReflectorTest, GivesUpAListOfWhichTheSmallestPageIsTooLarge) {
  for (int i = 0; i < 3; ++i) api.refuse({.reason = Reason::too_large, .message = "an answer is over the bound"});
  run();
  EXPECT_THAT(api.asked, ElementsAre(kList, "GET /things?limit=62", "GET /things?limit=8", kList));
  EXPECT_THAT(reported, ElementsAre(Reason::too_large));
}

TEST_F(ReflectorTest, GoesOnFromABookmark) {
  api.answer(list("", "10"));
  api.stream({event("BOOKMARK", "", "500")});
  run();
  EXPECT_THAT(sink.heard, ElementsAre("begin", "complete"));
  EXPECT_EQ(api.asked.back(), watch_from("500"));
}

TEST_F(ReflectorTest, ListsAnewWhenItsVersionIsGone) {
  struct Case {
    const char* name;
    std::function<void(test::FakeApi&)> lay;
  };
  const Case cases[] = {
      {"as a status", [](test::FakeApi& server) { server.refuse_watch({.reason = Reason::gone, .message = "old"}); }},
      {"as an event",
       [](test::FakeApi& server) {
         server.stream(
             {R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}})"});
       }},
      {"as an event without a code",
       [](test::FakeApi& server) {
         server.stream({R"({"type":"ERROR","object":{"kind":"Status","reason":"Gone"}})"});
       }},
      {"unknown to the server",
       [](test::FakeApi& server) { server.refuse_watch({.reason = Reason::invalid, .message = "?"}); }},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.name);
    asio::io_context own;
    test::FakeApi played(own);
    Told told;
    Reflector reflects(played, {.path = "/things"}, told, {.pause = pause, .chance = [] { return 0.5; }});
    played.answer(list("a", "10"));
    each.lay(played);
    played.answer(list("b", "20"));
    asio::co_spawn(own, reflects.run(), asio::detached);
    own.run();
    EXPECT_THAT(played.asked, ElementsAre(kList, watch_from("10"), kList, watch_from("20")));
    EXPECT_THAT(told.heard, ElementsAre("begin", "+a", "complete", "begin", "+b", "complete"));
  }
}

TEST_F(ReflectorTest, WatchesOnFromTheLastWholeEventAfterADroppedConnection) {
  api.answer(list("", "10"));
  api.stream({event("ADDED", "a", "11")}, dropped);
  run();
  EXPECT_EQ(api.asked.back(), watch_from("11"));
  EXPECT_THAT(reported, ElementsAre(Reason::unreachable));
}

TEST_F(ReflectorTest, BacksOffLongerAndLongerWithJitterUntilAnEventComes) {
  api.answer(list("", "10"));
  for (int i = 0; i < 7; ++i) api.stream({}, dropped);
  api.stream({event("ADDED", "a", "11")}, dropped);
  run();
  EXPECT_THAT(pause.waited, ElementsAre(500, 1000, 2000, 4000, 8000, 15000, 15000, 500));
}

TEST_F(ReflectorTest, DoesNotHammerAServerThatEndsEveryWatchAtOnce) {
  api.answer(list("", "10"));
  for (int i = 0; i < 3; ++i) api.stream({});
  run();
  EXPECT_THAT(pause.waited, ElementsAre(500, 1000, 2000));
}

TEST_F(ReflectorTest, WaitsAtLeastAsLongAsTheServerAsks) {
  api.refuse({.reason = Reason::too_many, .message = "later", .retry_after = 7s});
  run();
  EXPECT_THAT(pause.waited, ElementsAre(7500));
  EXPECT_THAT(api.asked, ElementsAre(kList, kList));
}

TEST_F(ReflectorTest, BeginsTheListAgainWhenAPageFails) {
  api.answer(list("a", "10", "more"));
  api.refuse({.reason = Reason::gone, .message = "the continue token is too old"});
  api.answer(list("b", "20"));
  run();
  EXPECT_THAT(sink.heard, ElementsAre("begin", "+a", "begin", "+b", "complete"));
  EXPECT_EQ(api.asked.back(), watch_from("20"));
}

TEST_F(ReflectorTest, ListsAnewAfterWhatItCannotPlace) {
  for (const char* const strange : {R"({"type":"ADDED","object":{"metadata":{"name":"x"}}})",
                                    R"({"type":"EXPLODED","object":{"metadata":{"resourceVersion":"11"}}})"}) {
    SCOPED_TRACE(strange);
    asio::io_context own;
    test::FakeApi played(own);
    Told told;
    Reflector reflects(played, {.path = "/things"}, told, {.pause = pause, .chance = [] { return 0.5; }});
    played.answer(list("", "10"));
    played.stream({strange});
    asio::co_spawn(own, reflects.run(), asio::detached);
    own.run();
    EXPECT_THAT(played.asked, ElementsAre(kList, watch_from("10"), kList));
  }
}

TEST_F(ReflectorTest, RefusesAListThatIsNone) {
  for (const char* const text : {"{}", R"({"items":{}})", R"({"items":[1]})", R"({"items":[]})"}) api.answer(text);
  run();
  EXPECT_THAT(reported, ElementsAre(Reason::malformed, Reason::malformed, Reason::malformed, Reason::malformed));
  EXPECT_EQ(reflector.heard(), Reflector::Monotonic());
}

TEST_F(ReflectorTest, IsFreshOnlyWhileTheServerConfirms) {
  EXPECT_FALSE(reflector.is_fresh(now, 60s));
  api.answer(list("", "10"));
  run();
  EXPECT_TRUE(reflector.is_fresh(now + 60s, 60s));
  EXPECT_FALSE(reflector.is_fresh(now + 61s, 60s));
}

TEST_F(ReflectorTest, OpensASilentWatchAnewAndMakesNoWordsAboutIt) {
  api.answer(list("a", "5"));
  for (int i = 0; i < 4; ++i) api.stream({}, {.reason = Reason::silent, .message = ""});
  run();
  EXPECT_THAT(api.asked,
              ElementsAre(kList, watch_from("5"), watch_from("5"), watch_from("5"), watch_from("5"), watch_from("5")));
  EXPECT_TRUE(reported.empty());
  EXPECT_THAT(pause.waited, testing::Each(500));
}

TEST_F(ReflectorTest, ListsAgainWhereSilenceMustBeToldFromAnOldPicture) {
  Reflector confirmed(api, {.path = "/things", .confirmed = true}, sink,
                      {.pause = pause, .chance = [] { return 0.5; }, .now = [this] { return now; }});
  api.answer(list("a", "5"));
  api.stream({}, {.reason = Reason::silent, .message = ""});
  api.answer(list("a", "5"));
  asio::co_spawn(context, confirmed.run(), asio::detached);
  context.run();
  EXPECT_THAT(api.asked, ElementsAre(kList, watch_from("5"), kList, watch_from("5")));
  EXPECT_TRUE(confirmed.is_fresh(now, 0s));
}

TEST_F(ReflectorTest, AFailureConfirmsNothing) {
  api.answer(list("", "10"));
  api.refuse_watch(dropped);
  api.stream({R"({"type":"ERROR","object":{"code":500}})"});
  now = Reflector::Monotonic(2000s);
  run();
  EXPECT_EQ(reflector.heard(), Reflector::Monotonic(2000s));
}

TEST_F(ReflectorTest, KeepsItsFilter) {
  Reflector filtered(api, {.path = "/things", .filter = "labelSelector=a%3Db"}, sink,
                     {.pause = pause, .chance = [] { return 0.0; }});
  api.answer(list("", "10"));
  asio::co_spawn(context, filtered.run(), asio::detached);
  context.run();
  EXPECT_THAT(api.asked, ElementsAre("GET /things?limit=500&labelSelector=a%3Db",
                                     "WATCH /things?watch=1&allowWatchBookmarks=true&resourceVersion=10"
                                     "&timeoutSeconds=300&labelSelector=a%3Db"));
}

}  // namespace
}  // namespace mintfs::kube
