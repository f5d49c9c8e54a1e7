#include "proxy/trust.h"

#include <openssl/ssl.h>

#include <stdexcept>

namespace mintfs::proxy {

boost::asio::ssl::context make_client_context(const broker::ConnectorConfig& connector) {
  boost::asio::ssl::context context(boost::asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  context.set_verify_mode(boost::asio::ssl::verify_peer);
  boost::system::error_code error;
  if (connector.ca_file.empty()) {
    context.set_default_verify_paths(error);
  } else {
    context.load_verify_file(connector.ca_file.string(), error);
  }
  if (error)
    throw std::runtime_error(connector.ca_file.empty()
                                 ? "cannot find the system's authorities: " + error.message() +
                                       "; install ca-certificates or name a ca_file"
                                 : "cannot read the certificates in ca_file " + connector.ca_file.string() + ": " +
                                       error.message() + "; it must be a PEM file that the daemon's user can read");
  return context;
}

}  // namespace mintfs::proxy
