#include "mintfs/address_check.h"
#include "mintfs/allow_check.h"
#include "mintfs/commands.h"
#include "mintfs/machine_checks.h"
#include "mintfs/secret_check.h"
#include "mintfs/service_checks.h"

#include <boost/json.hpp>

#include <algorithm>

#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::cli {
namespace {

// Who listens there was asked by the client; the socket is the daemon's own.
bool is_anothers(const std::filesystem::path& socket) {
  struct stat entry {};
  return ::stat(socket.c_str(), &entry) == 0 && entry.st_uid != ::geteuid();
}

// From the ground up: a later check is of use only where the earlier ones are good.
std::vector<Finding> examine(const ControlClient& client, const std::filesystem::path& file) {
  std::vector<Finding> of_daemon;
  const auto [status, silent] = check_daemon(client, of_daemon);
  std::vector<Finding> findings =
      check_machine(status && is_anothers(client.socket()) ? Mounter::another : Mounter::caller);
  const auto config = check_configuration(file, findings);
  if (config) {
    for (auto& finding : check_named_files(*config)) findings.push_back(std::move(finding));
    for (auto& finding : check_allowed(*config)) findings.push_back(std::move(finding));
    for (auto& finding : check_addresses(*config)) findings.push_back(std::move(finding));
  }

  for (auto& finding : of_daemon) findings.push_back(std::move(finding));
  std::filesystem::path runtime = config ? config->daemon.runtime_dir : broker::default_runtime_dir();
  if (runtime.empty()) runtime = "/run/mintfs";
  std::filesystem::path mount = runtime / "fs";
  if (status) mount = client::text(*status, "mount");
  findings.push_back(check_mount(mount, status.has_value()));
  if (status) {
    check_connectors(client, findings);
    check_gitconfig(client, findings);
  } else if (config && !silent) {  // else it holds the port
    for (const auto& address : config->proxy.listen)
      if (!address.is_unix()) findings.push_back(check_port(address));
    check_servers(*config, findings);
  }
  return findings;
}

}  // namespace

int doctor(const ControlClient& client, const std::filesystem::path& config, Format format) {
  const auto findings = examine(ControlClient(client.socket(), ControlClient::kShortPatience), config);
  if (format == Format::json) {
    boost::json::array checks;
    for (const auto& finding : findings) checks.push_back(to_json(finding));
    print(boost::json::object{{"checks", std::move(checks)}});
  } else {
    for (const auto& finding : findings) print(finding);
  }
  const auto failed = [](const Finding& finding) { return finding.state == Finding::State::fail; };
  return std::any_of(findings.begin(), findings.end(), failed) ? 1 : 0;
}

}  // namespace mintfs::cli
