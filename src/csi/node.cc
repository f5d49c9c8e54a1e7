#include "csi/node.h"

#include "broker/config.h"
#include "csi/pod_cgroup.h"
#include "csi/status.h"

#include <spdlog/logger.h>
#include <boost/json.hpp>

#include <ctime>
#include <exception>
#include <utility>

namespace mintfs::csi {
namespace {

// Until an RFC 3339 time as the control API writes it; nothing when that cannot be told.
std::optional<std::chrono::seconds> time_until(const std::string& moment) {
  std::tm parts{};
  if (::strptime(moment.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr) return std::nullopt;
  return std::chrono::seconds(::timegm(&parts) - std::time(nullptr));
}

std::string attributes_of(const boost::json::object& lease) {
  const auto* labels = lease.if_contains("labels");
  return labels != nullptr && labels->is_object() ? client::text(labels->get_object(), kAttributesLabel)
                                                  : std::string();
}

grpc::Status cannot_mount(const Volume& volume, const std::string& view, const std::error_code& error) {
  std::string remedy;
  if (error == std::errc::no_such_file_or_directory)
    remedy = "; the mount of " + std::filesystem::path(view).parent_path().string() +
             " must be seen here (mountPropagation: HostToContainer)";
  return {grpc::StatusCode::INTERNAL,
          volume.about() + ": cannot mount the view " + view + ": " + error.message() + remedy};
}

}  // namespace

Targets::Held::Held(Targets& targets, std::string target) : targets_(targets), target_(std::move(target)) {
  std::unique_lock lock(targets_.mutex_);
  targets_.freed_.wait(lock, [&] { return !targets_.held_.contains(target_); });
  targets_.held_.insert(target_);
}

Targets::Held::~Held() {
  const std::lock_guard lock(targets_.mutex_);
  targets_.held_.erase(target_);
  targets_.freed_.notify_all();
}

grpc::Status Node::NodePublishVolume(grpc::ServerContext*, const ::csi::v1::NodePublishVolumeRequest* request,
                                     ::csi::v1::NodePublishVolumeResponse*) try {
  Volume volume;
  grpc::Status status = read_volume(*request, settings_, volume);
  if (status.ok()) status = publish(volume);
  if (!status.ok()) log_.warn("not published: {}", status.error_message());
  return status;
} catch (const std::exception& failure) {
  log_.error("publishing failed: {}", failure.what());
  return {grpc::StatusCode::INTERNAL, failure.what()};
}

grpc::Status Node::publish(const Volume& volume) {
  const Targets::Held held(targets_, volume.target);
  const auto off = orphans_.keep_off();
  std::optional<Lease> lease;
  grpc::Status status;
  if (finds_published(volume, lease, status)) return status;
  if (!lease) status = open(volume, lease);
  return status.ok() ? mount(volume, *lease) : status;
}

bool Node::finds_published(const Volume& volume, std::optional<Lease>& lease, grpc::Status& status) {
  const auto table = MountTable::read();
  const auto mounted = table.at(mounter_.point_of(volume.target));
  if (mounted.empty()) return false;
  for (const auto& each : mounted) {
    if (!each.lease().empty()) continue;
    status = {grpc::StatusCode::FAILED_PRECONDITION,
              volume.about() + ": something else is mounted at the target already"};
    return true;
  }
  const std::string id = mounted.back().lease();
  try {
    lease = control_.show_lease(id);
  } catch (const client::Unreachable& failure) {
    // An error could make kubelet take away what the pod still reads once the daemon is back.
    log_.warn("lease {} stays published unseen: {}", id, failure.what());
    return true;
  } catch (const client::Refused& refusal) {
    if (to_errc(refusal.reason()) != broker::Errc::lease_closed) {
      log_.warn("lease {} stays published unseen: {}", id, refusal.what());
      return true;
    }
  }
  if (lease && attributes_of(*lease) != volume.fingerprint()) {
    status = {grpc::StatusCode::ALREADY_EXISTS,
              volume.about() + ": the target is published already, with other attributes; delete the pod"};
    return true;
  }
  if (lease && mounted.size() == 1 && Mounter::is_alive(table, mounted.back(), client::text(*lease, "path"))) {
    renew(volume, *lease);
    return true;
  }
  log_.warn("lease {} is closed or its mount is dead; publishing again", id);
  if (const auto error = mounter_.unbind(volume.target)) {
    status = cannot_mount(volume, id, error);
    return true;
  }
  return false;
}

grpc::Status Node::open(const Volume& volume, std::optional<Lease>& lease) try {
  if (auto status = check_namespaces(volume, settings_); !status.ok()) return status;
  std::string cgroup;
  if (!settings_.cgroups.empty()) cgroup = find_pod_cgroup(settings_.cgroups, volume.uid);
  if (!settings_.cgroups.empty() && cgroup.empty())
    return {grpc::StatusCode::UNAVAILABLE, volume.about() + ": the pod " + volume.uid + " has no control group below " +
                                               settings_.cgroups.string() + " yet"};
  lease = control_.open_lease(volume.lease_request(settings_, cgroup));
  return grpc::Status::OK;
} catch (const client::Unreachable& failure) {
  orphans_.look();  // it may have opened one and not have come to say so
  return to_status(failure, volume.about());
} catch (const client::Refused& refusal) {
  return to_status(refusal, volume.about());
}

grpc::Status Node::mount(const Volume& volume, const Lease& lease) {
  const std::string id = client::text(lease, "id"), view = client::text(lease, "path");
  if (const auto error = mounter_.bind(view, volume.target)) {
    mounter_.remove(volume.target);
    close(id);
    return cannot_mount(volume, view, error);
  }
  log_.info("published lease {} for the pod {}/{}: {}", id, volume.space, volume.pod, volume.about());
  return grpc::Status::OK;
}

// While the pod runs, kubelet publishes again and again (requiresRepublish).
void Node::renew(const Volume& volume, const Lease& lease) {
  const auto ttl = broker::parse_duration(settings_.lease_ttl);
  const auto left = time_until(client::text(lease, "expires"));
  if (!ttl || !left || *left > *ttl / 2) return;
  const std::string id = client::text(lease, "id");
  try {
    control_.renew_lease(id, volume.renewal(settings_));
    log_.debug("renewed lease {}", id);
  } catch (const std::exception& failure) {
    log_.warn("lease {} is not renewed, and ends in {} s: {}", id, left->count(), failure.what());
  }
}

// Or leaves it to who looks for orphans.
void Node::close(const std::string& lease) {
  try {
    control_.close_lease(lease);
  } catch (const client::Refused& refusal) {
    log_.debug("lease {}: {}", lease, refusal.what());
  } catch (const client::Unreachable& failure) {
    log_.warn("lease {} is closed as soon as the daemon is back: {}", lease, failure.what());
    orphans_.look();
  }
}

grpc::Status Node::NodeUnpublishVolume(grpc::ServerContext*, const ::csi::v1::NodeUnpublishVolumeRequest* request,
                                       ::csi::v1::NodeUnpublishVolumeResponse*) try {
  std::filesystem::path target;
  grpc::Status status = read_place(request->volume_id(), request->target_path(), settings_, target);
  if (status.ok()) status = unpublish(request->volume_id(), target);
  if (!status.ok()) log_.warn("not unpublished: {}", status.error_message());
  return status;
} catch (const std::exception& failure) {
  log_.error("unpublishing failed: {}", failure.what());
  return {grpc::StatusCode::INTERNAL, failure.what()};
}

grpc::Status Node::unpublish(const std::string& id, const std::filesystem::path& target) {
  const Targets::Held held(targets_, target);
  std::set<std::string> leases;
  for (const auto& mounted : MountTable::read().at(mounter_.point_of(target)))
    if (!mounted.lease().empty()) leases.insert(mounted.lease());
  const auto failed = [&](const std::error_code& error, const std::string& act) {
    return grpc::Status(grpc::StatusCode::INTERNAL, "volume " + id + ": cannot " + act + " " +
                                                        mounter_.point_of(target).string() + ": " + error.message());
  };
  // Unmounted first: where the daemon is away, who looks for orphans must not find it mounted.
  const auto kept = mounter_.unbind(target);
  for (const auto& lease : leases) close(lease);
  if (kept) return failed(kept, "unmount");
  if (const auto error = mounter_.remove(target)) return failed(error, "remove");
  for (const auto& lease : leases) log_.info("unpublished lease {}", lease);
  return grpc::Status::OK;
}

grpc::Status Node::NodeGetCapabilities(grpc::ServerContext*, const ::csi::v1::NodeGetCapabilitiesRequest*,
                                       ::csi::v1::NodeGetCapabilitiesResponse*) {
  return grpc::Status::OK;
}

grpc::Status Node::NodeGetInfo(grpc::ServerContext*, const ::csi::v1::NodeGetInfoRequest*,
                               ::csi::v1::NodeGetInfoResponse* response) {
  response->set_node_id(settings_.node);
  return grpc::Status::OK;
}

}  // namespace mintfs::csi
