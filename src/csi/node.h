// The node service: publishes views for pods and takes them back.
//
// What is published is told by the mount table and by the labels of the lease that is mounted, so this
// program may be killed and started at any moment. Calls for one target follow each other; others run at the
// same time. Requests are never printed: they may carry ServiceAccount tokens.
#pragma once

#include "client/control_client.h"
#include "csi.grpc.pb.h"
#include "csi/mounter.h"
#include "csi/orphans.h"
#include "csi/volume.h"

#include <boost/json/object.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace mintfs::csi {

// Lets one call at a time have a target.
class Targets {
 public:
  class Held {
   public:
    Held(Targets& targets, std::string target);
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    Targets& targets_;
    std::string target_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  std::set<std::string> held_;
};

class Node final : public ::csi::v1::Node::Service {
 public:
  Node(const client::ControlClient& control, const Mounter& mounter, const Settings& settings, spdlog::logger& log)
      : control_(control),
        mounter_(mounter),
        settings_(settings),
        log_(log),
        orphans_(control, mounter, settings, log) {}

  grpc::Status NodePublishVolume(grpc::ServerContext* context, const ::csi::v1::NodePublishVolumeRequest* request,
                                 ::csi::v1::NodePublishVolumeResponse* response) override;
  grpc::Status NodeUnpublishVolume(grpc::ServerContext* context, const ::csi::v1::NodeUnpublishVolumeRequest* request,
                                   ::csi::v1::NodeUnpublishVolumeResponse* response) override;
  grpc::Status NodeGetCapabilities(grpc::ServerContext* context, const ::csi::v1::NodeGetCapabilitiesRequest* request,
                                   ::csi::v1::NodeGetCapabilitiesResponse* response) override;
  grpc::Status NodeGetInfo(grpc::ServerContext* context, const ::csi::v1::NodeGetInfoRequest* request,
                           ::csi::v1::NodeGetInfoResponse* response) override;

 private:
  using Lease = boost::json::object;

  grpc::Status publish(const Volume& volume);
  grpc::Status unpublish(const std::string& id, const std::filesystem::path& target);
  // `lease` becomes the one that is mounted there and still open. Whether the call is answered by `status`.
  bool finds_published(const Volume& volume, std::optional<Lease>& lease, grpc::Status& status);
  grpc::Status open(const Volume& volume, std::optional<Lease>& lease);
  grpc::Status mount(const Volume& volume, const Lease& lease);
  void renew(const Volume& volume, const Lease& lease);
  void close(const std::string& lease);

  const client::ControlClient& control_;
  const Mounter& mounter_;
  const Settings& settings_;
  spdlog::logger& log_;
  Targets targets_;
  Orphans orphans_;
};

}  // namespace mintfs::csi
