// Checks of the configuration and the running daemon.
#pragma once

#include "broker/config.h"
#include "client/control_client.h"
#include "mintfs/finding.h"

#include <filesystem>
#include <optional>
#include <vector>

namespace mintfs::cli {

// Reads the configuration; nothing when there is none or it is wrong. The finding says which.
std::optional<broker::Config> check_configuration(const std::filesystem::path& file, std::vector<Finding>& findings);

struct DaemonAnswer {
  std::optional<boost::json::object> status;  // nothing when it cannot be asked
  bool silent = false;                        // it is there and does not answer
};
DaemonAnswer check_daemon(const client::ControlClient& client, std::vector<Finding>& findings);

// Whether `mount` answers. `serving`: a daemon says that it is mounted there.
Finding check_mount(const std::filesystem::path& mount, bool serving);

// Whether a daemon that is not running yet could listen where it shall.
Finding check_port(const broker::ListenAddress& address);

// Each connector that the caller may use, through the proxy.
void check_connectors(const client::ControlClient& client, std::vector<Finding>& findings);

// Whether the caller's own gitconfig sends git past a lease of these connectors.
void check_gitconfig(const client::ControlClient& client, std::vector<Finding>& findings);

// Without a daemon: whether each connector's server can be reached at all.
void check_servers(const broker::Config& config, std::vector<Finding>& findings);

}  // namespace mintfs::cli
