#include "cluster_node.h"

#include <spdlog/spdlog.h>

#include <stdexcept>
#include <string>

namespace mintfs {
void ClusterNode::check(const broker::Config& config) {
  if (!config.connectors.empty())
    throw std::runtime_error("--role node holds no credential: remove [[connector]] '" +
                             config.connectors.front().name.text() +
                             "' and make it a Connector of the cluster, which the gateways serve");
  if (config.node.gateway.host.empty())
    throw std::runtime_error("--role node needs [node] with gateway, ca_file and token_file: mintfs.toml(5)");
}

ClusterNode::ClusterNode(boost::asio::io_context& context, const broker::Config& config, const broker::Clock& clock,
                         spdlog::logger& log)
    : pause_(context),
      desk_(context, config.node.gateway, config.node.ca_file, config.node.token_file, kube::DeskClient::Limits()),
      grants_(context, desk_,
              {.pause = pause_,
               .chance = kube::system_chance(),
               .clock = clock,
               .report = [&log](const std::string& sentence) { log.warn("{}", sentence); }}) {}

}  // namespace mintfs
