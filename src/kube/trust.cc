#include "kube/trust.h"

#include <openssl/ssl.h>

#include <stdexcept>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;

std::unique_ptr<asio::ssl::context> make_trust(const std::filesystem::path& ca_file) {
  auto trust = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(trust->native_handle(), TLS1_2_VERSION);
  trust->set_verify_mode(asio::ssl::verify_peer);
  boost::system::error_code error;
  trust->load_verify_file(ca_file.string(), error);
  if (error)
    throw std::runtime_error("cannot read the cluster's certificates in " + ca_file.string() + ": " + error.message());
  return trust;
}

}  // namespace

Trust::Trust(std::filesystem::path ca_file)
    : ca_file_(std::move(ca_file)), version_(broker::FileVersion::of(ca_file_)), context_(make_trust(ca_file_)) {}

asio::ssl::context& Trust::get() {
  const auto version = broker::FileVersion::of(ca_file_);
  if (version == version_) return *context_;
  try {
    context_ = make_trust(ca_file_);
    version_ = version;
  } catch (const std::runtime_error&) {
    // A file that is being replaced.
  }
  return *context_;
}

}  // namespace mintfs::kube
