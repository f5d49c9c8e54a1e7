// The identity service: who this driver is.
#pragma once

#include "csi.grpc.pb.h"

#include <string>
#include <utility>

namespace mintfs::csi {

class Identity final : public ::csi::v1::Identity::Service {
 public:
  explicit Identity(std::string driver) : driver_(std::move(driver)) {}

  grpc::Status GetPluginInfo(grpc::ServerContext*, const ::csi::v1::GetPluginInfoRequest*,
                             ::csi::v1::GetPluginInfoResponse* response) override {
    response->set_name(driver_);
    response->set_vendor_version(MINTFS_VERSION);
    return grpc::Status::OK;
  }
  grpc::Status GetPluginCapabilities(grpc::ServerContext*, const ::csi::v1::GetPluginCapabilitiesRequest*,
                                     ::csi::v1::GetPluginCapabilitiesResponse*) override {
    return grpc::Status::OK;
  }
  // Of this process alone: who asks may start it again, which would not bring the daemon back.
  grpc::Status Probe(grpc::ServerContext*, const ::csi::v1::ProbeRequest*,
                     ::csi::v1::ProbeResponse* response) override {
    response->mutable_ready()->set_value(true);
    return grpc::Status::OK;
  }

 private:
  std::string driver_;
};

}  // namespace mintfs::csi
