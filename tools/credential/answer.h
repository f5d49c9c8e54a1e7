// From git's description to the control API and back. Pure.
#pragma once

#include "broker/secret.h"
#include "credential/description.h"

#include <boost/json/object.hpp>

#include <optional>

namespace mintfs::credential {

// What to get; null where that needs no asking: git names protocol and host of what it wants.
std::optional<boost::json::object> to_get(const Description& description);
// What to store; null where it is incomplete, or of no use later (ephemeral).
std::optional<boost::json::object> to_store(const Description& description);
// What to erase; null where nothing is named.
std::optional<boost::json::object> to_erase(const Description& description);

// Protocol, host, path and user, as far as they are there.
boost::json::object place_of(const Description& description);
// What another helper has said, as mintfsd would.
boost::json::object to_answer(const Description& description);

// The lines for git; nothing when a value cannot stand in one. What only newer versions know is for those
// that said so (`can_authtype`).
std::optional<broker::Secret> to_lines(const boost::json::object& answer, bool can_authtype);

}  // namespace mintfs::credential
