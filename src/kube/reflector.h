// Keeps a local picture of one collection of objects: list, then watch, for ever.
//
// The list is read in pages and consistently (no resourceVersion: from a quorum). With resourceVersion=0 the
// server would answer all objects in one piece, and perhaps older ones than we have seen: a lease that was
// revoked could come back. The watch goes on from where the list ended and from each event's
// resourceVersion; bookmarks keep that young. 410 Gone, as a status or as an event, lists anew. A watch that is
// silent is opened anew, and where the picture must be confirmed, it is listed before: a server sends no bookmarks
// of a collection that has not changed since it started. Whatever else fails is tried again with a back-off that
// only an event resets, so that a server which takes every watch and drops it at once is not hammered.
//
// run() never returns; it ends with its context. Of the context's thread, but heard() and is_fresh().
#pragma once

#include "kube/api.h"
#include "kube/backoff.h"

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

namespace mintfs::kube {

// What is told about the objects. An object belongs to the caller: keep what you want of it, not itself.
class ObjectSink {
 public:
  virtual ~ObjectSink() = default;
  // A list begins: whatever is not upserted until complete() is no more. A second begin() starts over.
  virtual void begin() = 0;
  virtual void upsert(const boost::json::object& object) = 0;
  virtual void complete() = 0;
  virtual void remove(const boost::json::object& object) = 0;
};

class Reflector {
 public:
  using Monotonic = std::chrono::steady_clock::time_point;

  struct Collection {
    std::string path;        // "/apis/connectors.alauda.io/v1alpha1/connectors"
    std::string filter{};    // "fieldSelector=type%3Dkubernetes.io%2Fbasic-auth", encoded
    bool confirmed = false;  // is_fresh() is asked: silence must be told from a picture that is old
  };
  struct Ways {
    Pause& pause;
    Chance chance;
    std::function<Monotonic()> now = [] { return std::chrono::steady_clock::now(); };
    // Told of each failure, before the pause. Not of a watch that ended in good order.
    std::function<void(const Failure&)> report = [](const Failure&) {};
  };

  static constexpr std::size_t kPage = 500;
  static constexpr std::size_t kLeastPage = 8;  // fits an answer where each is as large as an event may be
  static constexpr std::chrono::milliseconds kFirstPause{1000};
  static constexpr std::chrono::milliseconds kLongestPause{30'000};

  Reflector(Api& api, Collection collection, ObjectSink& sink, Ways ways);

  boost::asio::awaitable<void> run();

  // When the server last confirmed the picture: by a whole list, an event or a bookmark. Any thread. The
  // epoch until the first list is complete.
  Monotonic heard() const { return Monotonic(Monotonic::duration(heard_.load(std::memory_order_acquire))); }
  // Whether that is at most `bound` ago. A picture that nobody confirms must not open anything. Any thread.
  bool is_fresh(Monotonic now, std::chrono::seconds bound) const;

 private:
  boost::asio::awaitable<Outcome<void>> list();
  boost::asio::awaitable<Failure> follow();
  Outcome<void> take_page(const boost::json::object& page, std::string& next);
  Outcome<void> take_event(const boost::json::object& event);
  std::string list_target(std::size_t most, const std::string& next) const;
  std::string watch_target();
  std::string target(const std::string& query) const;
  void confirm(Monotonic when) { heard_.store(when.time_since_epoch().count(), std::memory_order_release); }

  Api& api_;
  Collection collection_;
  ObjectSink& sink_;
  Ways ways_;
  Backoff backoff_;
  std::string version_;  // to watch from; empty: list first
  std::atomic<Monotonic::rep> heard_{0};
};

}  // namespace mintfs::kube
