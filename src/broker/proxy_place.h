// Whether what git asks a credential for is our own proxy, and which connector of it. Pure.
//
// git names the host of the URL that it talks to. A token is of use at the proxy alone: for the server
// behind a connector nothing is minted, it would be of no use there and would tell it to a stranger.
#pragma once

#include "broker/config.h"
#include "broker/job_credential.h"
#include "broker/lease.h"

#include <optional>
#include <string_view>

namespace mintfs::broker {

// `proxy` is its URL.
bool is_at_proxy(std::string_view proxy, const CredentialPattern& where);

// The connector of the lease that the path leads to. Without a path (git leaves it out unless
// credential.useHttpPath is set) the lease's only one; nothing where it has several, since a token opens
// only its own.
std::optional<ConnectorName> connector_at(std::string_view proxy, const CredentialPattern& where, const Lease& lease);

}  // namespace mintfs::broker
