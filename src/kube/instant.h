// Times as the API writes them: RFC 3339 in UTC, "2026-01-01T00:00:00Z", with six decimals for MicroTime.
#pragma once

#include "broker/clock.h"

#include <optional>
#include <string>
#include <string_view>

namespace mintfs::kube {

std::string rfc3339(broker::Time time);
std::string rfc3339_micro(broker::Time time);
// Either form, with at most nine decimals; nothing else.
std::optional<broker::Time> parse_rfc3339(std::string_view text);

}  // namespace mintfs::kube
