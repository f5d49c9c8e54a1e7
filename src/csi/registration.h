// Makes the driver known to kubelet, which finds a socket in its plugins_registry, asks there who it is, and says what
// came of it.
//
// kubelet knows the driver as long as that socket is there. A driver that it refused it does not try again before
// there is another socket: then this process is to end, and whoever started it starts it anew.
#pragma once

#include "registration.grpc.pb.h"

#include <functional>
#include <mutex>
#include <string>

namespace spdlog {
class logger;
}

namespace mintfs::csi {

class Registration final : public ::pluginregistration::Registration::Service {
 public:
  // `endpoint` is the path of the driver's own socket, where kubelet finds it. `refused` is called by a thread of
  // gRPC, at most once.
  Registration(std::string driver, std::string endpoint, std::function<void()> refused, spdlog::logger& log);

  grpc::Status GetInfo(grpc::ServerContext* context, const ::pluginregistration::InfoRequest* request,
                       ::pluginregistration::PluginInfo* response) override;
  grpc::Status NotifyRegistrationStatus(grpc::ServerContext* context,
                                        const ::pluginregistration::RegistrationStatus* request,
                                        ::pluginregistration::RegistrationStatusResponse* response) override;

  // Why kubelet refused the driver, fit for a terminal; empty as long as it did not.
  std::string refusal() const;

 private:
  const std::string driver_;
  const std::string endpoint_;
  const std::function<void()> refused_;
  spdlog::logger& log_;
  mutable std::mutex mutex_;
  std::string refusal_;
};

}  // namespace mintfs::csi
