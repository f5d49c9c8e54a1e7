// The subcommands. Each returns the exit status (0 done, 1 failed) or throws an exception whose
// what() is one sentence; UsageError stands for exit status 2. Options are as main.cc read them.
#pragma once

#include "client/control_client.h"
#include "mintfs/container.h"
#include "mintfs/environment.h"
#include "mintfs/lease_request.h"
#include "mintfs/output.h"

#include <filesystem>
#include <string>
#include <vector>

namespace mintfs::cli {

using client::ControlClient;

// Opens a lease that is bound to this process, runs the command, closes the lease, and returns the
// command's exit status (128 + N for signal N, 126 and 127 as a shell). With an engine the command starts
// a container, and git in that is pointed at the view. `keep`: what the command stored by
// git-credential-mintfs is handed to the lease that MINTFS_LEASE names here, the whole job's.
int run(const ControlClient& client, const LeaseOptions& lease, Via via, Engine engine, bool keep,
        const std::vector<std::string>& command);

int lease_open(const ControlClient& client, const LeaseOptions& lease, Via via, Format format);
int lease_close(const ControlClient& client, const std::string& id, bool keep);  // `keep`: see run()
int lease_list(const ControlClient& client, Format format);
int lease_show(const ControlClient& client, const std::string& id, Via via, Format format);

int connector_list(const ControlClient& client, Format format);
int connector_check(const ControlClient& client, const std::string& name, const std::string& repository, Format format);

// As written; empty where not given.
struct PolicyOptions {
  std::string connector{};
  std::string lease{};
  std::string repository{};
  std::string operation{};
  std::string reference{};
  std::string change{};
};
// 0 when it is allowed, 1 when it is refused.
int policy_test(const ControlClient& client, const PolicyOptions& options, Format format);

int config_check(const std::filesystem::path& file, Format format);
int upgrade(const ControlClient& client, Format format);
int status(const ControlClient& client, Format format);
int doctor(const ControlClient& client, const std::filesystem::path& config, Format format);

}  // namespace mintfs::cli
