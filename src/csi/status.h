// How the daemon's answers become gRPC's: the edge of the CSI driver.
//
// kubelet takes Unavailable, ResourceExhausted, DeadlineExceeded and Aborted for "not known yet" and asks
// again; any other error is final, and it may then remove what was mounted. It shows the message in the pod's events.
#pragma once

#include "broker/error.h"
#include "client/control_client.h"

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

namespace mintfs::csi {

grpc::StatusCode to_grpc_status(broker::Errc error) noexcept;

// By the reason word of a problem document; one of a newer daemon is `internal`.
broker::Errc to_errc(std::string_view reason) noexcept;

// `about` is what was asked for: "connector team-a/github".
grpc::Status to_status(const client::Refused& refusal, const std::string& about);
grpc::Status to_status(const client::Unreachable& failure, const std::string& about);

inline grpc::Status malformed(const std::string& message) { return {grpc::StatusCode::INVALID_ARGUMENT, message}; }

}  // namespace mintfs::csi
