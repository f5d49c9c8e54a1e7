// The path of a request: one resource has one spelling, and that spelling is both what the policy
// sees and what the upstream gets.
//
// Canonical means: percent-encoding is undone and redone, so that what may stand as it is in a path
// (RFC 3986 section 3.3) does, and all else is %XX in upper case. Refused is whatever two servers
// may read differently: "." and ".." segments, "//", backslash, ';', '#', an encoded '/', '?' or '%',
// space, control characters and bytes over 0x7e, each raw or encoded, and over 4096 bytes.
#pragma once

#include "broker/error.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::proxy {

inline constexpr std::size_t kMaxPath = 4096;  // as received
inline constexpr std::size_t kMaxQuery = 4096;

// A part of a canonical path that came as one segment: each slash in it came, and goes on, as "%2f".
struct Folded {
  enum class Kind : std::uint8_t {
    none,
    scope,    // npm's "@scope%2fname"
    project,  // GitLab's "group%2fsubgroup%2fproject" behind "/api/v4/projects/"
  };
  Kind kind = Kind::none;
  std::size_t begin = 0;  // in the path
  std::size_t end = 0;
};

struct Target {
  std::string path;        // canonical, begins with '/'
  std::string_view query;  // checked but as received; a view into what was parsed
  bool has_query = false;  // tells "?" from nothing
  Folded folded;
};

// A request to the proxy taken apart; the names are views into the parsed target.
struct Routed {
  std::string_view space;
  std::string_view name;
  Target target;          // relative to the connector's address
  bool registry = false;  // asked for as registries of images are: below "/v2/" of the host
};

// Writes the canonical form of `raw` to `out`; request_malformed where it is ambiguous.
// Idempotent: normalise(normalise(x)) == normalise(x).
boost::system::error_code normalise(std::string_view raw, std::string& out);

// Path and query. request_malformed. `target` outlives `out`; `out.path` keeps its memory.
boost::system::error_code parse_target(std::string_view target, Target& out);

// "/namespaces/<space>/connectors/<name>/<path>", or for registries of images, whose clients know a host but no
// path of it, "/v2/namespaces/<space>/connectors/<name>/<path>": their target is "/v2/<path>", and "/v2/" alone
// names no connector. One segment may be Folded, for whoever wants that. connector_unknown where it is not of that
// form, request_malformed where it is ambiguous anywhere. Whether there is such a connector is not asked.
boost::system::error_code route(std::string_view target, Routed& out);

}  // namespace mintfs::proxy
