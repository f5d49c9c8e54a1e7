// Reads [kubernetes], what a gateway needs to know of its cluster, and [node], what a node needs to know of the
// gateways.
#include "broker/config_section.h"

#include <string>

namespace mintfs::broker {

void read_kubernetes(Section& section, Config& config) {
  auto& kubernetes = config.kubernetes;
  if (std::string text; section.text("server", text)) {
    const auto server = Address::parse(text);
    if (!server || !server->tls() || !server->prefix.empty()) section.fail_at("server", "must be https://HOST:PORT");
    kubernetes.server = server->text();
  }
  section.path("token_file", kubernetes.token_file);
  section.path("ca_file", kubernetes.ca_file);
  if (!kubernetes.server.empty() && (kubernetes.token_file.empty() || kubernetes.ca_file.empty()))
    section.fail_at("server", "needs token_file and ca_file too");
  if (kubernetes.server.empty() && (section.has("token_file") || section.has("ca_file")))
    section.fail("server", "is missing; token_file and ca_file go with it");
  if (std::string text; section.text("listen", text)) {
    const auto listen = ListenAddress::parse(text, true);
    if (!listen || !listen->tls || listen->is_unix())
      section.fail_at("listen", "'" + text + "' must be ADDRESS:PORT such as \"0.0.0.0:8443\"");
    kubernetes.listen = *listen;
  }
  section.path("tls_certificate", kubernetes.tls_certificate);
  section.path("tls_key", kubernetes.tls_key);
  if (kubernetes.tls_certificate.empty() || kubernetes.tls_key.empty())
    section.fail("tls_certificate", "and tls_key are needed: leases are opened by TLS only");
  section.flag("open_own_namespace", kubernetes.open_own_namespace);
  if (std::string text; section.text("node_account", text)) {
    const auto account = ConnectorName::parse(text);
    if (!account || text.find('/') == std::string::npos)
      section.fail_at("node_account", "must be a service account as NAMESPACE/NAME");
    kubernetes.node_account = *account;
  }
  section.duration("key_wait", kubernetes.key_wait);
}

void read_node(Section& section, Config& config) {
  auto& node = config.node;
  std::string text;
  if (!section.text("gateway", text)) section.fail("gateway", "is missing: https://HOST:PORT of the gateways' leases");
  const auto gateway = Address::parse(text);
  if (!gateway || !gateway->tls() || !gateway->prefix.empty()) section.fail_at("gateway", "must be https://HOST:PORT");
  node.gateway = *gateway;
  section.path("ca_file", node.ca_file);
  section.path("token_file", node.token_file);
  if (node.ca_file.empty()) section.fail("ca_file", "is missing: whom to trust for the gateways");
  if (node.token_file.empty()) section.fail("token_file", "is missing: it holds the token that the gateways ask for");
}

}  // namespace mintfs::broker
