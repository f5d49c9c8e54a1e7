// Events: what `kubectl describe` shows below an object.
//
// One that was told within the last ten minutes is not told again, and at most 60 go out in a minute, so that
// a cluster with a thousand broken connectors is not given a second problem. Of the context's thread.
#pragma once

#include "broker/clock.h"
#include "kube/api.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <map>
#include <string>

namespace mintfs::kube {

struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string space;
  std::string name;
  std::string uid;
};

class Events {
 public:
  static constexpr std::chrono::minutes kQuiet{10};
  static constexpr std::size_t kPerMinute = 60;
  static constexpr std::size_t kRemembered = 4096;

  // `reporter`: this pod's name.
  Events(Api& api, const broker::Clock& clock, std::string reporter)
      : api_(api), clock_(clock), reporter_(std::move(reporter)) {}

  // `reason` is one word in CamelCase; `message` is cut to 1 KiB. too_many: the bound of the minute.
  boost::asio::awaitable<Outcome<void>> warn(ObjectReference about, std::string reason, std::string message);

 private:
  bool is_news(const std::string& what);

  Api& api_;
  const broker::Clock& clock_;
  std::string reporter_;
  std::map<std::string, broker::Time> told_;
  broker::Time minute_{};
  std::size_t in_minute_ = 0;
  std::uint64_t serial_ = 0;
};

}  // namespace mintfs::kube
