// The configuration of a sparse index of cargo: "config.json" at its root (the Cargo Book, "Index Format").
//
// It tells cargo where crates are downloaded and published. Cargo shows its token there, wherever that is, so
// what leads to the connector's address is pointed to the proxy, and nothing may lead elsewhere.
#pragma once

#include "broker/config.h"
#include "broker/error.h"

#include <string>
#include <string_view>

namespace mintfs::proxy {

// Replaces `out` by the document for a client of the proxy: `page` is its path relative to `upstream`, `base` what
// stands in place of the address. It has the members that are known, and demands a token of the client
// ("auth-required"), as the proxy does. One that is no index's, which other files of that name are, stays as it is,
// byte by byte. upstream_redirect where crates would be downloaded elsewhere; an "api" that is elsewhere is left out.
// upstream_malformed where cargo might read what is not read here.
boost::system::error_code rewrite_index_config(std::string_view json, const broker::Address& upstream,
                                               std::string_view page, std::string_view base, std::string& out);

}  // namespace mintfs::proxy
