// Where a redirect, or a link in an upstream's answer, leads.
#pragma once

#include "broker/config.h"

#include <optional>
#include <string>
#include <string_view>

namespace mintfs::proxy {

// Resolves `location` (RFC 3986 section 5) against the resource at `current_path`, which is relative
// to the connector's address. The result is canonical path and query, again relative to it; check it
// against the policy like any other request. Nothing where it leads to another scheme, host or port,
// out of the address's path, or is malformed, ambiguous or carries user information.
std::optional<std::string> resolve_redirect(const broker::Address& upstream, std::string_view current_path,
                                            std::string_view location);

// The scheme, host and port that a link in an answer leads to, without prefix: nothing where that is
// the upstream's own, or where it cannot be told (malformed, user information, not http or https).
std::optional<broker::Address> foreign_origin(const broker::Address& upstream, std::string_view link);

}  // namespace mintfs::proxy
