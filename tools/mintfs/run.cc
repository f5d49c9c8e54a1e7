#include "mintfs/commands.h"
#include "mintfs/foreground.h"
#include "mintfs/helper_check.h"
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
  std::string credential_store() const { return client::text(lease_, "credential_store"); }
  std::string proxy_url() const { return client::text(lease_, "proxy_url"); }
  LeaseView view() const { return lease_view(lease_); }

 private:
  const ControlClient& client_;
  boost::json::object lease_;
};

struct Start {
  std::vector<std::string> command;
  std::vector<std::string> environment;
};

Start start_of(const ControlClient& client, const OpenLease& lease, Via via, Engine engine,
               const std::vector<std::string>& command) {
  const LeaseView view = lease.view();
  if (engine == Engine::none) {
    Variables variables = lease_variables(view, via, own_variable);
    const std::string store = lease.credential_store();
    if (!store.empty()) add_only_helper(variables, own_helper(), own_variable);
    add_socket(variables, client.socket(), client::default_socket());
    auto environment = merged(environ, variables);
    if (!store.empty()) warn_of_missing_helper(store, environment);
    if (view.has("gitconfig")) warn_of_rewrites(view.place(), via, environment);
    return {.command = command, .environment = std::move(environment)};
  }
  const std::string named = lease.proxy_url();
  const std::string proxy_url = named.empty() ? client::text(client.status(), "proxy_url") : named;
  if (const auto problem = why_out_of_reach(proxy_url, command); !problem.empty())
    std::fprintf(stderr, "mintfs: %s\n", problem.c_str());
  const ContainerLease inside{.view = view, .uid = ::geteuid(), .gid = ::getegid()};
  const bool rootless = engine == Engine::podman && inside.uid != 0;
  return {.command = in_container(engine, command, container_options(inside, via, rootless)),
          .environment = merged(environ, {})};
}

// The status is the command's: this failure is told and not thrown.
bool hand_over(const ControlClient& client, const std::string& from, const std::string& to) try {
  client.hand_over_credentials(from, to);
  return true;
} catch (const std::exception& error) {
  std::fprintf(stderr, "mintfs: what was stored is not kept: %s\n", error.what());
  return false;
}

}  // namespace

int run(const ControlClient& client, const LeaseOptions& options, Via via, Engine engine, bool keep,
        const std::vector<std::string>& command) {
  boost::json::object request = lease_request(options);
  const std::string keeper = keep ? keeping_lease("") : "";
  request["pid"] = "self";
  if (engine != Engine::none && !options.credential_store.empty()) throw UsageError(kHelperIsOutside);
  // Refuses a bad inherited variable or a command that starts no container before anything is opened.
  if (engine == Engine::none)
    lease_variables({.path = "/", .id = ""}, via, own_variable);
  else
    in_container(engine, command, {});
  std::optional<OpenLease> lease;
  lease.emplace(client, request);
  const Start start = start_of(client, *lease, via, engine, command);
  const HeldSignals signals;  // from here to the end of the lease
  const int status = run_in_foreground(start.command, start.environment, signals);
  const bool kept = !keep || hand_over(client, lease->id(), keeper);
  lease.reset();
  return status == 0 && !kept ? 1 : status;
}

}  // namespace mintfs::cli
