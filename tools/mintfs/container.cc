#include "mintfs/container.h"

#include "broker/config.h"
#include "mintfs/lease_request.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

namespace mintfs::cli {
namespace {

// A container begins with its image's environment, whatever is set outside.
std::optional<std::string> nothing_inherited(const std::string&) { return std::nullopt; }

}  // namespace

std::vector<std::string> container_options(const ContainerLease& lease, Via via, bool rootless) {
  const std::string view = lease.view.place().string();
  if (view.find(':') != std::string::npos)
    throw std::runtime_error("the view '" + view +
                             "' cannot be mounted into a container: there is a colon in its path");
  std::vector<std::string> options = {"--volume=" + view + ":" + lease.view.path.string() + ":ro"};
  for (const auto& [name, value] : lease_variables(lease.view, via, nothing_inherited))
    options.push_back("--env=" + name + "=" + value);
  if (!rootless) options.push_back("--user=" + std::to_string(lease.uid) + ":" + std::to_string(lease.gid));
  return options;
}

std::vector<std::string> in_container(Engine engine, std::vector<std::string> command,
                                      const std::vector<std::string>& options) {
  const std::string name = engine == Engine::podman ? "podman" : "docker";
  const auto is_start = [](const std::string& word) { return word == "run" || word == "create"; };
  const bool ours = !command.empty() && std::filesystem::path(command[0]).filename() == name;
  const auto start = ours ? std::find_if(command.begin() + 1, command.end(), is_start) : command.end();
  if (start == command.end())
    throw UsageError("--" + name + ": the command behind '--' is not '" + name + " run ...' or '" + name +
                     " create ...'");
  command.insert(start + 1, options.begin(), options.end());
  return command;
}

std::string why_out_of_reach(const std::string& proxy_url, const std::vector<std::string>& command) {
  const auto url = broker::Address::parse(proxy_url);
  const bool loopback = url && (url->host == "localhost" || url->host == "::1" || url->host.starts_with("127."));
  if (!loopback) return {};
  // "host", another container's or a namespace that is there: somebody who knows what is behind it chose it.
  constexpr std::array<std::string_view, 3> kShared = {"host", "container:", "ns:"};
  for (std::size_t i = 0; i < command.size(); ++i) {
    std::string_view network = command[i];
    if ((network == "--network" || network == "--net") && i + 1 < command.size())
      network = command[i + 1];
    else if (network.starts_with("--network=") || network.starts_with("--net="))
      network.remove_prefix(network.find('=') + 1);
    else
      continue;
    if (std::any_of(kShared.begin(), kShared.end(), [&](auto word) { return network.starts_with(word); })) return {};
  }
  return "the proxy's URL " + proxy_url +
         " leads a container with a network of its own to itself; write --network=host behind 'run', or have mintfsd "
         "listen at the bridge's address and name that by --proxy-url (docs/ci.md, Containers)";
}

}  // namespace mintfs::cli
