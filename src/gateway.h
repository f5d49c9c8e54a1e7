// mintfsd as a gateway of a cluster: it alone holds credentials, and proxies for the pods of all nodes.
//
// Connectors, classes, Secrets and leases come from the API server; there is no view, no control socket, and
// nothing on disk but the audit log. See docs/kubernetes-design.md.
#pragma once

#include "broker/audit.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/keys.h"
#include "broker/lease.h"
#include "broker/service_manager.h"
#include "kube/backoff.h"
#include "kube/catalog.h"
#include "kube/client.h"
#include "kube/desk_server.h"
#include "kube/election.h"
#include "kube/events.h"
#include "kube/lease_desk.h"
#include "kube/lease_watch.h"
#include "kube/probes.h"
#include "kube/reflector.h"
#include "kube/status_writer.h"
#include "kube/unmade_leases.h"
#include "proxy/admin.h"
#include "proxy/credentials/credential.h"
#include "proxy/egress.h"
#include "proxy/listener.h"
#include "proxy/lookups.h"
#include "proxy/probe.h"
#include "proxy/server.h"
#include "proxy/server_tls.h"

#include <spdlog/fwd.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace mintfs {

class Gateway final : private kube::Serving {
 public:
  // Within this the API server must have confirmed which leases there are; else nothing is redeemed. A bookmark
  // comes about once a minute.
  static constexpr std::chrono::seconds kConfirmed{90};

  // Throws std::exception with one sentence when something cannot be built. All it is given outlives it.
  Gateway(broker::Config config, broker::ServiceManager& manager, spdlog::logger& log);
  ~Gateway() override;

  // Serves until a signal ends it.
  void run();

 private:
  void serve(const broker::ConnectorConfig& connector, const broker::Secret* password) override;
  void withdraw(const broker::ConnectorName& name) override;
  void publish();
  boost::asio::awaitable<kube::Probed> probe(const kube::Connector& connector);

  kube::Reflector::Ways ways(const std::string& what);
  std::function<void(const kube::Failure&)> reporter(const std::string& what);
  void wait_for_signal();
  void keep_house();
  void stop();
  // Whether what is not known here is not there; on any thread.
  bool is_confirmed() const;
  std::string why_not_served(const broker::ConnectorName& name) const;
  std::unique_ptr<proxy::AdminServer> make_admin();

  broker::Config config_;
  broker::ServiceManager& manager_;
  spdlog::logger& log_;
  boost::asio::io_context context_{1};
  boost::asio::signal_set signals_;
  broker::SystemClock clock_;
  broker::MasterKeys keys_;
  broker::LeaseTable leases_;
  broker::AuditLog audit_;
  proxy::CredentialStore credentials_;
  proxy::ServerTls tls_;
  std::vector<proxy::Listener> listeners_;  // until the server has them
  const std::string proxy_at_;
  broker::Broker broker_;
  kube::Client client_;
  kube::TimerPause pause_;
  kube::Catalog catalog_;
  kube::LeaseWatch lease_watch_;
  kube::Reflector connectors_;
  kube::Reflector classes_;
  kube::Reflector secrets_;
  kube::Reflector lease_objects_;
  kube::Election election_;
  kube::Events events_;
  proxy::Egress egress_;
  proxy::Lookups lookups_;
  proxy::Prober prober_;
  kube::Probes probes_;
  kube::StatusWriter status_writer_;
  kube::UnmadeLeases unmade_;
  kube::LeaseDesk desk_;
  proxy::Listener desk_listener_;
  kube::DeskServer desk_server_;
  proxy::Server server_;
  std::unique_ptr<proxy::AdminServer> admin_;
  boost::asio::steady_timer timer_;
  broker::Connectors served_;
  bool publishing_ = false;
  bool confirmed_ = false;  // as it was last told
  bool stopping_ = false;
  std::thread drainer_;
};

}  // namespace mintfs
