// Reads members of JSON objects that may be of any shape. Pure.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace mintfs::kube {

using Path = std::initializer_list<std::string_view>;

// The value behind a path of member names; null where there is none, or something on the way is no object.
const boost::json::value* value_at(const boost::json::object& object, Path path);
// Empty where there is none or it is of another type; it points into the object.
std::string_view text_at(const boost::json::object& object, Path path);
std::optional<std::int64_t> number_at(const boost::json::object& object, Path path);
const boost::json::object* object_at(const boost::json::object& object, Path path);
bool flag_at(const boost::json::object& object, Path path);  // false where there is none

}  // namespace mintfs::kube
