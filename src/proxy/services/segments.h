// What the services of all classes need to take a request apart.
#pragma once

#include "broker/policy.h"
#include "proxy/request.h"

#include <optional>
#include <string_view>

namespace mintfs::proxy {

constexpr bool reads(Method method) { return method == Method::get || method == Method::head; }

// Reading is a fetch, all that may change something a push; nothing for a method that nobody has.
std::optional<broker::Operation> usual_operation(Method method) noexcept;

// Takes the first segment off `path`, which begins behind a slash, and the slash behind it.
std::string_view take_first(std::string_view& path) noexcept;
// Takes the last one off, and the slash in front of it.
std::string_view take_last(std::string_view& path) noexcept;

constexpr bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace mintfs::proxy
