// Asks a connector's server for a repository, the way a job's git would, and says what came of it.
#pragma once

#include "client/control_client.h"
#include "mintfs/finding.h"

#include <string>

namespace mintfs::cli {

// `connector` is one element of GET /v1/connectors. Opens a lease for one repository and the right
// to fetch, reads its gitconfig, sends one request through the proxy, closes the lease. An empty
// `repository` leaves the choice to repository_to_probe(). Does not throw for what a check finds out.
Finding probe(const client::ControlClient& client, const boost::json::object& connector, std::string repository);

}  // namespace mintfs::cli
