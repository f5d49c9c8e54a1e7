// JSON that holds secrets: what is read from it and what is written leaves no copy behind in freed memory.
//
// Strings are bytes here: a password need not be UTF-8, and passes as it is.
#pragma once

#include "broker/secret.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <optional>
#include <string_view>

namespace mintfs::broker {

// Nothing where it is not JSON. All memory of the value wipes itself.
std::optional<boost::json::value> parse_secret_json(std::string_view text);

Secret serialize_secret(const boost::json::object& object);

// An empty object whose memory wipes itself, and that of what is put into it.
boost::json::object secret_object();

}  // namespace mintfs::broker
