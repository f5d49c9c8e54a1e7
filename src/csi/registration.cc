#include "csi/registration.h"

#include <spdlog/logger.h>

#include <algorithm>
#include <utility>

namespace mintfs::csi {
namespace {

constexpr const char* kVersion = "1.0.0";  // of CSI: kubelet compares the first number
constexpr std::size_t kMaxRefusal = 512;

std::string printable(std::string text) {
  if (text.size() > kMaxRefusal) text.resize(kMaxRefusal);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace

Registration::Registration(std::string driver, std::string endpoint, std::function<void()> refused, spdlog::logger& log)
    : driver_(std::move(driver)), endpoint_(std::move(endpoint)), refused_(std::move(refused)), log_(log) {}

grpc::Status Registration::GetInfo(grpc::ServerContext*, const ::pluginregistration::InfoRequest*,
                                   ::pluginregistration::PluginInfo* response) {
  response->set_type("CSIPlugin");
  response->set_name(driver_);
  response->set_endpoint(endpoint_);
  response->add_supported_versions(kVersion);
  return grpc::Status::OK;
}

grpc::Status Registration::NotifyRegistrationStatus(grpc::ServerContext*,
                                                    const ::pluginregistration::RegistrationStatus* request,
                                                    ::pluginregistration::RegistrationStatusResponse*) {
  if (request->plugin_registered()) {
    log_.info("kubelet has taken the driver {}", driver_);
    return grpc::Status::OK;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!refusal_.empty()) return grpc::Status::OK;
    refusal_ = request->error().empty() ? "it does not say why" : printable(request->error());
  }
  refused_();
  return grpc::Status::OK;
}

std::string Registration::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

}  // namespace mintfs::csi
