// The machine's own helper behind this one, where the lease keeps what is stored there.
//
// It is run without a shell, with the variables of broker/system_helper.h and no others, for a bounded time, and
// ends with us. What it says is read as strictly as what git says.
#pragma once

#include "broker/secret.h"
#include "credential/description.h"

#include <boost/json/object.hpp>

#include <optional>
#include <string>
#include <vector>

namespace mintfs::credential {

// Where, as mintfsd answers (`place` in docs/openapi.yaml).
struct Places {
  std::string helper;
  std::int64_t lifetime = 0;       // seconds
  std::vector<std::string> lines;  // a description each, without its end
};
// Throws std::runtime_error where the answer is none.
Places to_places(const boost::json::object& answer);

// The question for the place. `stores` adds this session's variables, by which mintfsd erases later.
boost::json::object to_question(const Description& description, bool stores);

// Each throws std::runtime_error with a sentence when the helper fails.
// The lines for git; nothing when none of the places has something that it can work with now.
std::optional<broker::Secret> get_from(const Places& places, const Description& description);
void store_in(const Places& places, const Description& description);
// As everywhere, an old password does not erase a newer one.
void erase_from(const Places& places, const Description& description);

}  // namespace mintfs::credential
