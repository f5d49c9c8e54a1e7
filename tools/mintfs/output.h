// Writing to standard output: text and JSON, colours where a person looks.
#pragma once

#include "mintfs/finding.h"

#include <boost/json/object.hpp>

#include <string_view>

namespace mintfs::cli {

enum class Format { text, env, podman, docker, json };

// Throws std::runtime_error when it cannot be written (a full disk).
void print(std::string_view text);
void print(const boost::json::object& object);

// "ok    subject: sentence" and, where there is one, a line with the remedy below it.
void print(const Finding& finding);
boost::json::object to_json(const Finding& finding);

}  // namespace mintfs::cli
