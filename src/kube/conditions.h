// The status of a Connector as an administrator reads it: conditions, and where its proxy is.
#pragma once

#include "broker/clock.h"
#include "kube/api.h"

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::kube {

enum class ConditionType : std::uint8_t {
  connector_class_ready,
  secret_ready,
  liveness_ready,
  auth_ready,
  proxy_service_ready,
  ready,  // all others; the last
};
std::string_view to_string(ConditionType type) noexcept;  // "ConnectorClassReady"

enum class Truth : std::uint8_t { no, yes, unknown };

struct Condition {
  ConditionType type = ConditionType::ready;
  Truth status = Truth::unknown;
  std::string reason{};   // one word in CamelCase
  std::string message{};  // a sentence that says what to do; never a secret
  bool counts = true;     // for Ready
};

// Adds Ready: true where all that count are, else the reason and message of the first that is not, and false before
// unknown.
std::vector<Condition> with_ready(std::vector<Condition> conditions);

struct ConnectorStatus {
  std::vector<Condition> conditions;
  std::string proxy_url;
  std::int64_t generation = 0;  // of the spec that was looked at
};

// What a status becomes: a condition keeps its lastTransitionTime while its status stays. `former` is the
// object's present status. Nothing where all is said already: then nothing is written.
std::optional<boost::json::object> next_status(const boost::json::object* former, const ConnectorStatus& status,
                                               broker::Time now);

// Merges `status` into the object's status subresource. `target` is the object's path.
boost::asio::awaitable<Outcome<void>> patch_status(Api& api, std::string target, boost::json::object status);

}  // namespace mintfs::kube
