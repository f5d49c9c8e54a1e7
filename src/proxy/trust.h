// Which servers are trusted: TLS towards a connector's address.
//
// Certificate and name are always verified; there is no switch that turns that off.
#pragma once

#include "broker/config.h"

#include <boost/asio/ssl/context.hpp>

namespace mintfs::proxy {

// TLS 1.2 or newer, certificates verified, with the connector's own authorities or else the system's. Throws
// std::runtime_error with one sentence when the CA file cannot be read.
boost::asio::ssl::context make_client_context(const broker::ConnectorConfig& connector);

}  // namespace mintfs::proxy
