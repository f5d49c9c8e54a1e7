#include "kube/events.h"

#include "broker/secret_json.h"
#include "kube/instant.h"

#include <boost/json/value.hpp>

#include <utility>

namespace mintfs::kube {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {
constexpr std::size_t kMaxMessage = 1024;
}

bool Events::is_news(const std::string& what) {
  const broker::Time now = clock_.now();
  std::erase_if(told_, [&](const auto& each) { return now - each.second >= kQuiet; });
  if (told_.size() >= kRemembered) return false;
  return told_.emplace(what, now).second;
}

asio::awaitable<Outcome<void>> Events::warn(ObjectReference about, std::string reason, std::string message) {
  const std::string what = about.uid + " " + about.space + "/" + about.name + " " + reason + " " + message;
  if (!is_news(what)) co_return boost::system::in_place_value;
  const broker::Time now = clock_.now();
  if (now - minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    in_minute_ = 0;
  }
  if (in_minute_ >= kPerMinute) {
    told_.erase(what);  // it may be told later
    co_return Failure{.reason = Reason::too_many, .message = "60 events were told within a minute"};
  }
  ++in_minute_;
  const std::string name =
      about.name + "." + std::to_string(now.time_since_epoch().count()) + "." + std::to_string(++serial_);
  const json::object event{{"apiVersion", "v1"},
                           {"kind", "Event"},
                           {"metadata", {{"name", name}, {"namespace", about.space}}},
                           {"involvedObject",
                            {{"apiVersion", about.api_version},
                             {"kind", about.kind},
                             {"namespace", about.space},
                             {"name", about.name},
                             {"uid", about.uid}}},
                           {"type", "Warning"},
                           {"reason", reason},
                           {"message", message.substr(0, kMaxMessage)},
                           {"source", {{"component", "mintfs"}}},
                           {"reportingComponent", "mintfs"},
                           {"reportingInstance", reporter_},
                           {"count", 1},
                           {"firstTimestamp", rfc3339(now)},
                           {"lastTimestamp", rfc3339(now)}};
  Call call{.method = Call::Method::post,
            .target = "/api/v1/namespaces/" + percent_encode(about.space) + "/events",
            .body = broker::serialize_secret(event)};
  const auto answer = co_await api_.send(std::move(call));
  if (!answer) {
    told_.erase(what);
    co_return answer.error();
  }
  co_return boost::system::in_place_value;
}

}  // namespace mintfs::kube
