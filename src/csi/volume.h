// What a pod asks for: a NodePublishVolume request that was checked.
//
// Pure. Whoever writes a pod chooses the attributes, so each has a form and a bound, and one that is not known is
// refused: a misspelt restriction must not be a right. Of the ServiceAccount tokens, which come in `secrets` or among
// the attributes, the one for mintfs is kept for the daemon; nothing here prints or logs any.
#pragma once

#include "broker/secret.h"

#include <grpcpp/support/status.h>
#include <boost/json/fwd.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace csi::v1 {
class NodePublishVolumeRequest;
}

namespace mintfs::csi {

// What the administrator has said about this driver.
struct Settings {
  std::string driver = "connectors-csi";
  std::string node{};
  std::filesystem::path kubelet = "/var/lib/kubelet";
  std::filesystem::path cgroups{};  // where control groups are mounted; empty: pods are not bound to theirs
  // Namespaces whose connectors pods of every namespace may name, "*" for all; else they name
  // those of their own.
  std::vector<std::string> shared_namespaces{};
  std::string lease_ttl = "12h";          // until then a lease lives that nobody renews
  std::string token_audience = "mintfs";  // of the pod's token that the daemon is given
};

struct Volume {
  std::string id;
  std::filesystem::path target;  // below Settings::kubelet: "pods/UID/..."
  std::string space, pod, uid, account;
  std::vector<std::string> connectors;  // "namespace/name"
  std::vector<std::string> configurations;
  std::vector<std::string> repositories;
  std::vector<std::string> operations;
  std::string token_ttl;  // empty: the daemon's
  broker::Secret token;   // of the pod's service account; empty where kubelet has sent none for the audience

  std::string about() const;        // "connector team/github"
  std::string fingerprint() const;  // the same for the same request, and for no other

  // POST /v1/leases; `cgroup` is the pod's, or empty. Its memory wipes itself, as that of the next.
  boost::json::object lease_request(const Settings& settings, const std::string& cgroup) const;
  // POST /v1/leases/{id}/renew.
  boost::json::object renewal(const Settings& settings) const;
};

// The keys of labels by which a lease is found again.
inline constexpr char kDriverLabel[] = "csi.driver";
inline constexpr char kKubeletLabel[] = "csi.kubelet";
inline constexpr char kAttributesLabel[] = "csi.attributes";

grpc::Status read_volume(const ::csi::v1::NodePublishVolumeRequest& request, const Settings& settings, Volume& volume);

// Whether the pod may name these connectors. Asked before a lease is opened and not of what is published already.
grpc::Status check_namespaces(const Volume& volume, const Settings& settings);

// Both requests name a volume and a place; `target` becomes the part below settings.kubelet.
grpc::Status read_place(std::string_view id, std::string_view target_path, const Settings& settings,
                        std::filesystem::path& target);

}  // namespace mintfs::csi
