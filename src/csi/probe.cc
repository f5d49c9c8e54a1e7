#include "csi/probe.h"

#include "csi.grpc.pb.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <stdexcept>

namespace mintfs::csi {

void probe(const std::filesystem::path& socket, std::chrono::milliseconds patience) {
  const auto channel = grpc::CreateChannel("unix:" + socket.string(), grpc::InsecureChannelCredentials());
  const auto driver = ::csi::v1::Identity::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + patience);
  ::csi::v1::ProbeResponse answer;
  const grpc::Status status = driver->Probe(&context, {}, &answer);
  // A driver with all its threads at work refuses, and lives: to start it again would help nobody.
  if (status.ok() || status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) return;
  throw std::runtime_error("the driver at " + socket.string() + " does not answer: " + status.error_message());
}

}  // namespace mintfs::csi
