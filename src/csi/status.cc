#include "csi/status.h"

namespace mintfs::csi {

grpc::StatusCode to_grpc_status(broker::Errc error) noexcept {
  using broker::Errc;
  using grpc::StatusCode;
  switch (error) {
    case Errc::lease_malformed:
    case Errc::request_malformed:
    case Errc::header_too_large:
    case Errc::body_too_large:
      return StatusCode::INVALID_ARGUMENT;
    case Errc::token_missing:
    case Errc::token_malformed:
    case Errc::token_algorithm:
    case Errc::token_key_unknown:
    case Errc::token_signature:
    case Errc::token_expired:
    case Errc::token_not_yet_valid:
    case Errc::token_audience:
    case Errc::token_connector:
    case Errc::token_origin:
      return StatusCode::UNAUTHENTICATED;
    case Errc::lease_denied:
    case Errc::caller_denied:
    case Errc::connector_denied:
    case Errc::operation_denied:
    case Errc::repository_denied:
    case Errc::reference_denied:
    case Errc::address_denied:
      return StatusCode::PERMISSION_DENIED;
    case Errc::lease_closed:
    case Errc::connector_unknown:
      return StatusCode::NOT_FOUND;
    case Errc::too_many:
    case Errc::storage_failed:
      return StatusCode::RESOURCE_EXHAUSTED;
    case Errc::request_timeout:
    case Errc::upstream_timeout:
      return StatusCode::DEADLINE_EXCEEDED;
    case Errc::leases_unconfirmed:
    case Errc::gateway_unreachable:
    case Errc::egress_refused:
    case Errc::upstream_unreachable:
    case Errc::upstream_untrusted:
    case Errc::upstream_refused:
    case Errc::upstream_redirect:
    case Errc::upstream_malformed:
      return StatusCode::UNAVAILABLE;
    case Errc::upgrade_failed:
    case Errc::internal:
      return StatusCode::INTERNAL;
  }
  return StatusCode::INTERNAL;
}

broker::Errc to_errc(std::string_view reason) noexcept {
  return broker::parse_reason(reason).value_or(broker::Errc::internal);
}

grpc::Status to_status(const client::Refused& refusal, const std::string& about) {
  const std::string sentence = refusal.what();
  return {to_grpc_status(to_errc(refusal.reason())), about + ": " + refusal.reason() + ": " + sentence};
}

grpc::Status to_status(const client::Unreachable& failure, const std::string& about) {
  return {grpc::StatusCode::UNAVAILABLE, about + ": the mintfs daemon of this node: " + failure.what()};
}

}  // namespace mintfs::csi
