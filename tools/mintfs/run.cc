#include "mintfs/commands.h"
#include "mintfs/foreground.h"
#include "mintfs/rewrite_check.h"

#include <cstdio>

#include <unistd.h>

namespace mintfs::cli {
namespace {

// Closes the lease, also on the way out of an exception. Should this process be killed, the daemon
// closes it: the lease is bound to us.
class OpenLease {
 public:
  OpenLease(const ControlClient& client, const boost::json::object& request)
      : client_(client), lease_(client.open_lease(request)) {}
  ~OpenLease() {
    try {
      client_.close_lease(id());
    } catch (const client::Refused&) {
      // Expired or closed by somebody else.
    } catch (const std::exception& error) {
      std::fprintf(stderr, "mintfs: the lease %s could not be closed now: %s\n", id().c_str(), error.what());
    }
  }
  OpenLease(const OpenLease&) = delete;
  OpenLease& operator=(const OpenLease&) = delete;

  std::string id() const { return client::text(lease_, "id"); }
  std::filesystem::path view() const { return client::text(lease_, "path"); }

 private:
  const ControlClient& client_;
  boost::json::object lease_;
};

struct Start {
  std::vector<std::string> command;
  std::vector<std::string> environment;
};

Start start_of(const OpenLease& lease, Via via, Engine engine, const std::vector<std::string>& command) {
  if (engine == Engine::none) {
    auto environment = merged(environ, lease_variables(lease.view(), lease.id(), via, own_variable));
    warn_of_rewrites(lease.view(), via, environment);
    return {.command = command, .environment = std::move(environment)};
  }
  const ContainerLease inside{.view = lease.view(), .id = lease.id(), .uid = ::geteuid(), .gid = ::getegid()};
  const bool rootless = engine == Engine::podman && inside.uid != 0;
  return {.command = in_container(engine, command, container_options(inside, via, rootless)),
          .environment = merged(environ, {})};
}

}  // namespace

int run(const ControlClient& client, const LeaseOptions& options, Via via, Engine engine,
        const std::vector<std::string>& command) {
  boost::json::object request = lease_request(options);
  request["pid"] = "self";
  // Refuses a bad inherited variable or a command that starts no container before anything is opened.
  if (engine == Engine::none)
    lease_variables("/", "", via, own_variable);
  else
    in_container(engine, command, {});
  std::optional<OpenLease> lease;
  lease.emplace(client, request);
  const Start start = start_of(*lease, via, engine, command);
  const HeldSignals signals;  // from here to the end of the lease
  const int status = run_in_foreground(start.command, start.environment, signals);
  lease.reset();
  return status;
}

}  // namespace mintfs::cli
