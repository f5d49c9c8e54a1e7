// mintfsd as a whole: builds every part, hands each what it needs, and takes them down in order: no new
// connections, the transfers under way, the control socket, the mount.
//
// What must outlive the process (the mount, the listening sockets) is kept by the service manager and found
// again by the next one. An upgrade starts that one beside this (broker/upgrade.h).
#pragma once

#include "broker/audit.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/control.h"
#include "broker/helper_stores.h"
#include "broker/instance.h"
#include "broker/job_credentials.h"
#include "broker/keys.h"
#include "broker/lease.h"
#include "broker/left_socket.h"
#include "broker/process_watch.h"
#include "broker/service_manager.h"
#include "broker/succession.h"
#include "broker/upgrade.h"
#include "cluster_node.h"
#include "fs/mount.h"
#include "proxy/admin.h"
#include "proxy/credentials/credential.h"
#include "proxy/server.h"

#include <spdlog/fwd.h>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mintfs {

class Daemon final : private broker::Succeeded {
 public:
  // How this process was started: what it takes to start its successor.
  struct Start {
    std::string program;
    std::vector<std::string> arguments;
    std::filesystem::path config_file;
    bool is_node = false;  // of a cluster: see cluster_node.h
  };

  // Throws std::exception with one sentence when something cannot be built. All it is given outlives it.
  Daemon(broker::Config config, Start start, broker::ServiceManager& manager, const broker::Predecessor& predecessor,
         spdlog::logger& log);
  ~Daemon() override;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Serves until a signal or a successor ends it.
  void run();
  // Whether it ended for a failure.
  bool failed() const { return failed_; }

 private:
  std::filesystem::path view() const;
  std::vector<proxy::Listener> make_listeners();
  std::string audience() const;
  std::string status() const;

  // Building.
  static std::string listener_name(std::size_t index);
  std::vector<int> inherited_listeners();
  fs::Mount::Options mount_options();
  std::unique_ptr<proxy::AdminServer> make_admin();
  void take_over();
  // What outlives this process.
  void keep_sockets();
  void keep_view(int fuse, int state);
  // The control socket and, where there is one, the admin listener.
  void tell_listeners(void (broker::HttpServer::*act)());

  void wait_for_signal();
  void reload();
  void keep_house();
  void report_losses();
  void rotate_keys();
  void mount_again();
  void stop(bool leaves_view);

  boost::asio::awaitable<broker::ControlAnswer> upgrade();
  boost::asio::awaitable<void> outlive_predecessor();
  broker::Successor::Start succession() override;
  void pause() override;
  void resume() override;
  void leave(pid_t successor) override;
  void handle(int signal) override;
  void warn(const std::string& sentence) override;

  broker::Config config_;
  Start start_;
  broker::ServiceManager& manager_;
  const broker::Predecessor& predecessor_;
  spdlog::logger& log_;
  boost::asio::io_context context_{1};
  boost::asio::signal_set signals_;  // caught until all else is taken down
  broker::SystemClock clock_;
  std::unique_ptr<ClusterNode> node_;  // null: of one machine
  broker::InstanceLock runtime_lock_;
  broker::InstanceLock state_lock_;
  broker::MasterKeys keys_;
  broker::LeaseTable leases_;
  broker::AuditLog audit_;
  proxy::CredentialStore credentials_;
  proxy::ServerTls tls_;
  std::size_t kept_listeners_ = 0;
  std::vector<proxy::Listener> listeners_;  // until the server has them
  broker::JobCredentials job_credentials_{clock_};
  broker::Broker broker_;
  broker::HelperStores helper_stores_;
  proxy::Server server_;
  fs::Mount mount_;
  broker::ProcessWatch watch_;
  broker::ControlServer control_;
  std::optional<broker::LeftSocket> left_socket_;  // the admin listener's
  std::unique_ptr<proxy::AdminServer> admin_;
  broker::Upgrade upgrade_;
  boost::asio::steady_timer timer_;
  // Rounds of keep_house() until what helpers failed to erase is tried again.
  static constexpr unsigned kSweep = 600;
  unsigned until_sweep_ = kSweep;
  std::uint64_t audit_lost_ = 0;
  std::size_t lease_files_left_ = 0;
  std::thread drainer_;
  bool leaves_view_ = false;
  bool stopping_ = false;
  bool failed_ = false;
};

}  // namespace mintfs
