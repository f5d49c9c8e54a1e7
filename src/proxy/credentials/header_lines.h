// The header lines by which a connector's server takes its credential.
#pragma once

#include "broker/config.h"
#include "broker/secret.h"

#include <string_view>

namespace mintfs::proxy {

struct HeaderLines {
  broker::Secret usual;  // "Authorization: Basic ...\r\n"
  broker::Secret page;   // of what is no Git repository, where that differs; else empty
};

// `secret` is the content of the connector's secret file: one line.
HeaderLines header_lines(const broker::ConnectorConfig& connector, std::string_view secret);

// The user name that stands in front of the secret in those lines; empty where none does.
std::string_view sent_username(const broker::ConnectorConfig& connector) noexcept;

}  // namespace mintfs::proxy
