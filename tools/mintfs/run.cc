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

}  // namespace

int run(const ControlClient& client, const LeaseOptions& options, Via via, const std::vector<std::string>& command) {
  boost::json::object request = lease_request(options);
  request["pid"] = "self";
  // Refuses a bad inherited variable before anything is opened.
  lease_variables("/", "", via, own_variable);
  std::optional<OpenLease> lease;
  lease.emplace(client, request);
  const auto environment = merged(environ, lease_variables(lease->view(), lease->id(), via, own_variable));
  warn_of_rewrites(lease->view(), via, environment);
  const HeldSignals signals;  // from here to the end of the lease
  const int status = run_in_foreground(command, environment, signals);
  lease.reset();
  return status;
}

}  // namespace mintfs::cli
