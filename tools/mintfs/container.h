// What a container needs for the git in it to be served: the view, in the same place or where the lease says, the
// variables that point at it, and the user who alone may open it. Pure.
#pragma once

#include "mintfs/environment.h"

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace mintfs::cli {

enum class Engine { none, podman, docker };

inline constexpr char kHelperIsOutside[] =
    "--credential-store: git-credential-mintfs, which asks it, is of this machine and out of a container's reach";

struct ContainerLease {
  LeaseView view;
  uid_t uid;
  gid_t gid;
};

// Options of `podman run` and `docker run`. `rootless`: root in the container is the lease's user outside.
// Throws std::runtime_error for a path that no volume can name.
std::vector<std::string> container_options(const ContainerLease& lease, Via via, bool rootless);

// `command` with `options` behind its "run" or "create", so that its own win. Throws UsageError where it is
// none of this engine's.
std::vector<std::string> in_container(Engine engine, std::vector<std::string> command,
                                      const std::vector<std::string>& options);

// What is wrong where git in the container cannot reach the proxy: its URL is of this machine's loopback, and the
// container has a network of its own. Empty where nothing is, or it cannot be told.
std::string why_out_of_reach(const std::string& proxy_url, const std::vector<std::string>& command);

}  // namespace mintfs::cli
