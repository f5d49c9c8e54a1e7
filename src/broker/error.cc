#include "broker/error.h"

#include <string>

namespace mintfs::broker {
namespace {

struct Words {
  std::string_view reason;
  std::string_view advice;
};

constexpr Words words(Errc code) noexcept {
  switch (code) {
    case Errc::token_missing:
      return {"token-missing", "The request carries no token; point git, or the tool, at the lease's view."};
    case Errc::token_malformed:
      return {"token-malformed", "This is not a mintfs token; point git, or the tool, at the lease's view."};
    case Errc::token_algorithm:
      return {"token-algorithm", "The token names a signature algorithm that is never accepted."};
    case Errc::token_key_unknown:
      return {"token-key-unknown", "The token was signed with a key that is no longer known; open a new lease."};
    case Errc::token_signature:
      return {"token-signature", "The token's signature does not fit; read the gitconfig again."};
    case Errc::token_expired:
      return {"token-expired", "The token has expired; read the gitconfig again instead of keeping a copy."};
    case Errc::token_not_yet_valid:
      return {"token-not-yet-valid", "The token is from the future; compare the clocks of both machines."};
    case Errc::token_audience:
      return {"token-audience", "The token was minted for another proxy."};
    case Errc::token_connector:
      return {"token-connector", "The token was minted for another connector."};
    case Errc::token_origin:
      return {"token-origin", "The token was minted for another address; the lease names those it may come from."};
    case Errc::lease_closed:
      return {"lease-closed", "The lease is closed, expired or was never opened; open a new one."};
    case Errc::lease_malformed:
      return {"lease-malformed", "The lease was not described as the control API expects."};
    case Errc::lease_denied:
      return {"lease-denied", "This lease belongs to another user."};
    case Errc::caller_denied:
      return {"caller-denied", "Only root and the daemon's own user may do this."};
    case Errc::connector_unknown:
      return {"connector-unknown", "No connector has this name; 'mintfs connector list' shows those there are."};
    case Errc::connector_denied:
      return {"connector-denied", "You may not use this connector; ask for your user or group in its 'allow'."};
    case Errc::operation_denied:
      return {"operation-denied", "The lease does not give the right to this operation."};
    case Errc::repository_denied:
      return {"repository-denied", "The lease does not give the right to this repository."};
    case Errc::reference_denied:
      return {"reference-denied", "The lease does not give the right to change this reference."};
    case Errc::too_many:
      return {"too-many", "A bound is reached; try again shortly."};
    case Errc::request_malformed:
      return {"request-malformed", "The request is not well-formed HTTP/1.1 or its path is ambiguous."};
    case Errc::header_too_large:
      return {"header-too-large", "The header section is over 64 KiB or one header is over 16 KiB."};
    case Errc::body_too_large:
      return {"body-too-large", "The body is larger than this request may carry."};
    case Errc::request_timeout:
      return {"request-timeout", "The request did not arrive in time."};
    case Errc::address_denied:
      return {"address-denied",
              "The connector's host resolves to a link-local or metadata address; "
              "list it in 'allow_addresses' if that is meant."};
    case Errc::egress_refused:
      return {"egress-refused",
              "The network's own proxy does not connect to the server; ask its administrator, or see 'proxy.egress'."};
    case Errc::upstream_unreachable:
      return {"upstream-unreachable",
              "The server could not be reached; check the connector's address and the network."};
    case Errc::upstream_untrusted:
      return {"upstream-untrusted",
              "The server's certificate could not be verified; check the connector's 'ca_file' and address."};
    case Errc::upstream_timeout:
      return {"upstream-timeout", "The server did not answer in time; try again or ask its administrator."};
    case Errc::upstream_refused:
      return {"upstream-refused",
              "The server refuses the stored credential; the administrator must renew the connector's secret."};
    case Errc::upstream_redirect:
      return {"upstream-redirect",
              "The server redirects to where the credential must not go; correct the connector's address "
              "or the repository's URL."};
    case Errc::upstream_malformed:
      return {"upstream-malformed", "The server's answer is not well-formed HTTP/1.1."};
    case Errc::leases_unconfirmed:
      return {
          "leases-unconfirmed",
          "The gateway is out of touch with the cluster and cannot tell which leases are closed; try again shortly."};
    case Errc::gateway_unreachable:
      return {"gateway-unreachable",
              "This node cannot ask the gateways of the cluster; look whether they run, and at 'node' in mintfs.toml."};
    case Errc::storage_failed:
      return {"storage-failed", "The lease could not be written; look for a full or read-only runtime_dir."};
    case Errc::upgrade_failed:
      return {"upgrade-failed", "The new mintfsd failed and the old one serves on; the log says why."};
    case Errc::internal:
      return {"internal", "Something unexpected happened; the daemon's log says more."};
  }
  return {"internal", "Something unexpected happened; the daemon's log says more."};
}

class Category final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "mintfs"; }
  std::string message(int value) const override { return std::string(words(static_cast<Errc>(value)).advice); }
};

}  // namespace

std::string_view reason_word(Errc code) noexcept { return words(code).reason; }

std::optional<Errc> parse_reason(std::string_view word) noexcept {
  for (std::size_t value = 1; value < kErrcs; ++value)
    if (const auto error = static_cast<Errc>(value); reason_word(error) == word) return error;
  return std::nullopt;
}

std::string_view advice(Errc code) noexcept { return words(code).advice; }

const boost::system::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

Errc to_errc(const boost::system::error_code& error) noexcept {
  return error.category() == error_category() ? static_cast<Errc>(error.value()) : Errc::internal;
}

}  // namespace mintfs::broker
