#include "gateway.h"

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <unistd.h>

namespace mintfs {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kHousekeeping{1};
constexpr const char* kSecretsOfType = "fieldSelector=type%3Dkubernetes.io%2Fbasic-auth";

kube::Cluster cluster_of(const broker::Config& config) {
  const auto& kubernetes = config.kubernetes;
  if (!kubernetes.server.empty()) return kube::at(kubernetes.server, kubernetes.token_file, kubernetes.ca_file, "");
  return kube::in_cluster([](const char* name) { return std::getenv(name); });
}

// Each replica would make a key of its own where there is none.
const std::filesystem::path& with_master_keys(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder / "master-keys", error))
    throw std::runtime_error("there are no master keys in " + (folder / "master-keys").string() +
                             "; mount the Secret that all gateways share there (daemon.state_dir)");
  return folder;
}

// A pod's name is its host's.
std::string own_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name[0] == 0 ? "gateway" : name.data();
}

kube::Election::Settings election_settings(const kube::Cluster& cluster, const broker::Config& config) {
  return {.space = cluster.space.empty() ? config.kubernetes.node_account.space : cluster.space,
          .name = "mintfs-status",
          .identity = own_name()};
}

// Whoever waits less for clients' requests does not wait longer for a probe.
proxy::Prober::Limits probe_limits(const proxy::ProxyConfig& config) {
  proxy::Prober::Limits limits;
  limits.connect = std::min<std::chrono::milliseconds>(limits.connect, config.connect_timeout);
  limits.whole = std::min<std::chrono::milliseconds>(limits.whole, config.connect_timeout + config.upstream_timeout);
  return limits;
}

kube::LeaseDesk::Settings desk_settings(const broker::Config& config) {
  return {.node_space = config.kubernetes.node_account.space,
          .node_account = config.kubernetes.node_account.name,
          .default_ttl = config.lease.default_ttl,
          .max_ttl = config.lease.max_ttl,
          .open_own_namespace = config.kubernetes.open_own_namespace};
}

}  // namespace

Gateway::Gateway(broker::Config config, broker::ServiceManager& manager, spdlog::logger& log)
    : config_(std::move(config)),
      manager_(manager),
      log_(log),
      signals_(context_, SIGTERM, SIGINT, SIGHUP),
      keys_(with_master_keys(config_.daemon.state_dir), clock_, config_.kubernetes.key_wait),
      audit_(config_.audit.file, clock_),
      tls_({config_.proxy.tls_certificate, config_.proxy.tls_key, config_.proxy.tls_ca}),
      listeners_(proxy::listen_on(config_.proxy.listen, {})),
      proxy_at_(listeners_.front().url()),
      broker_({.audience = config_.proxy.url.empty() ? proxy_at_ : config_.proxy.url,
               .token_ttl = config_.token.ttl,
               .default_ttl = config_.lease.default_ttl,
               .max_ttl = config_.lease.max_ttl},
              keys_, leases_, audit_, clock_, std::make_shared<const broker::Connectors>()),
      client_(context_, cluster_of(config_), kube::Client::Limits()),
      pause_(context_),
      catalog_(*this),
      lease_watch_(broker_, [this](const std::string& sentence) { log_.warn("{}", sentence); }),
      connectors_(client_, {.path = kube::kConnectors}, catalog_.connectors(), ways("connectors")),
      classes_(client_, {.path = kube::kConnectorClasses}, catalog_.classes(), ways("connector classes")),
      secrets_(client_, {.path = "/api/v1/secrets", .filter = kSecretsOfType}, catalog_.secrets(), ways("secrets")),
      lease_objects_(client_, {.path = kube::kConnectorLeases, .confirmed = true}, lease_watch_, ways("leases")),
      election_(client_, election_settings(client_.cluster(), config_),
                {.pause = pause_,
                 .chance = kube::system_chance(),
                 .clock = clock_,
                 .report = reporter("the election of the status writer")}),
      events_(client_, clock_, own_name()),
      egress_(config_.proxy.egress, [](const char* name) -> const char* { return std::getenv(name); }),
      prober_(context_.get_executor(), lookups_, egress_, probe_limits(config_.proxy)),
      probes_(catalog_, {.pause = pause_,
                         .ask = [this](const kube::Connector& connector) { return probe(connector); },
                         .leads = [this] { return election_.leads(); },
                         .told = [this](const kube::ObjectName& name) { status_writer_.look_at(name); }}),
      status_writer_(client_, catalog_, events_, broker_.audience(),
                     {.pause = pause_,
                      .clock = clock_,
                      .leads = [this] { return election_.leads(); },
                      .probed = [this](const kube::ObjectName& name) { return probes_.conditions(name); },
                      .report = reporter("the status of connectors")}),
      unmade_(context_, client_, pause_, kube::system_chance()),
      desk_(client_, broker_, keys_, desk_settings(config_),
            {.leases_confirmed = [this] { return is_confirmed(); },
             .connectors_listed = [this] { return catalog_.is_complete(); },
             .why_not_served = [this](const broker::ConnectorName& name) { return why_not_served(name); },
             .unmade = [this](const std::string& id, const std::string& target) { unmade_.take_away(id, target); },
             .closed = [this](const std::string& id) { lease_watch_.closed(id); }}),
      desk_listener_(config_.kubernetes.listen, nullptr, "kubernetes.listen"),
      desk_server_(context_, desk_,
                   {.listener = desk_listener_.release(),
                    .family = desk_listener_.family(),
                    .certificate = config_.kubernetes.tls_certificate,
                    .key = config_.kubernetes.tls_key}),
      server_(config_.proxy, broker_, credentials_, log_, tls_, std::move(listeners_)),
      admin_(make_admin()),
      timer_(context_) {
  broker_.redeem_while([this] { return is_confirmed(); });
  broker_.observe(server_);
  broker_.observe(unmade_);
}

Gateway::~Gateway() {
  if (drainer_.joinable()) drainer_.join();
}

std::unique_ptr<proxy::AdminServer> Gateway::make_admin() {
  if (config_.admin.socket.empty() && config_.admin.host.empty()) return nullptr;
  return std::make_unique<proxy::AdminServer>(context_, proxy::listen_admin(config_.admin, -1),
                                              proxy::Watched{.broker = broker_,
                                                             .server = server_,
                                                             .opens = nullptr,
                                                             .view_mounted = {},
                                                             .cluster_known = [this] { return is_confirmed(); },
                                                             .stopping = [this] { return stopping_; }});
}

kube::Reflector::Ways Gateway::ways(const std::string& what) {
  return {.pause = pause_, .chance = kube::system_chance(), .report = reporter("the " + what + " of the cluster")};
}

std::function<void(const kube::Failure&)> Gateway::reporter(const std::string& what) {
  return [this, what](const kube::Failure& failure) { log_.warn("{}: {}", what, failure.text()); };
}

bool Gateway::is_confirmed() const {
  return catalog_.is_complete() && lease_objects_.is_fresh(std::chrono::steady_clock::now(), kConfirmed);
}

void Gateway::run() {
  for (kube::Reflector* each : {&connectors_, &classes_, &secrets_, &lease_objects_})
    asio::co_spawn(context_, each->run(), asio::detached);
  asio::co_spawn(context_, election_.run(), asio::detached);
  asio::co_spawn(context_, probes_.run(), asio::detached);
  asio::co_spawn(context_, status_writer_.run(), asio::detached);
  server_.start();
  desk_server_.start();
  if (admin_) admin_->start();
  wait_for_signal();
  keep_house();
  log_.info("serving as a gateway: proxy {} at {}, leases at {}", broker_.audience(), proxy_at_, desk_listener_.url());
  manager_.notify("READY=1");
  context_.run();
  log_.info("stopped");
}

std::string Gateway::why_not_served(const broker::ConnectorName& name) const {
  const std::string kubectl = "'kubectl -n " + name.space;
  const auto conditions = catalog_.conditions({name.space, name.name});
  for (const auto& each : conditions)
    if (each.status != kube::Truth::yes)
      return each.message + " " + kubectl + " describe connector " + name.name + "' says more.";
  return conditions.empty() ? "There is none in the namespace '" + name.space + "'; " + kubectl +
                                  " get connectors' lists those there are."
                            : "It is about to be served; try again shortly.";
}

// The credential first: a request between the two finds a connector that does not fit it, and is refused.
void Gateway::serve(const broker::ConnectorConfig& connector, const broker::Secret* password) {
  credentials_.put(connector, password == nullptr ? std::make_shared<const proxy::Credential>()
                                                  : proxy::make_credential(connector, *password));
  served_.insert_or_assign(connector.name, connector);
  publish();
}

void Gateway::withdraw(const broker::ConnectorName& name) {
  served_.erase(name);
  credentials_.remove(name);
  publish();
}

// With what is served now: the credential is the one that requests are sent with.
asio::awaitable<kube::Probed> Gateway::probe(const kube::Connector& connector) {
  const auto found = served_.find(connector.name);
  if (found == served_.end()) co_return kube::Probed{.failure = broker::Errc::connector_unknown};
  const broker::ConnectorConfig config = found->second;
  auto question = proxy::question_for(config.connector_class, connector.repository);
  const bool tried = question.tries_credential;
  try {
    const auto status = co_await asio::co_spawn(context_.get_executor(),
                                                prober_.ask(config, credentials_.find(config), std::move(question)),
                                                asio::use_awaitable);
    if (status) co_return kube::Probed{.status = *status, .tried = tried};
    co_return kube::Probed{.failure = broker::to_errc(status.error())};
  } catch (const std::exception& error) {
    log_.warn("connector '{}' cannot be probed: {}", config.name.text(), error.what());
  }
  co_return kube::Probed{.failure = broker::Errc::internal};
}

// Once for all that comes together: the table is copied.
void Gateway::publish() {
  if (std::exchange(publishing_, true)) return;
  asio::post(context_, [this] {
    publishing_ = false;
    broker_.replace_connectors(std::make_shared<const broker::Connectors>(served_));
  });
}

void Gateway::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    if (signal == SIGHUP)
      audit_.reopen();
    else if (!stopping_)
      stop();
    else
      server_.abort();
    wait_for_signal();
  });
}

void Gateway::keep_house() {
  timer_.expires_after(kHousekeeping);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const auto report = [this](const std::string& sentence) { log_.warn("{}", sentence); };
    broker_.close_expired();
    try {
      if (keys_.refresh()) {
        lease_watch_.keys_changed();
        log_.info("the master keys were read again");
      }
    } catch (const std::exception& failure) {
      log_.error("the former master keys stay: {}", failure.what());
    }
    if (tls_.refresh(report)) broker_.set_authorities(tls_.authorities());
    desk_server_.refresh(report);
    if (const bool confirmed = is_confirmed(); confirmed != std::exchange(confirmed_, confirmed)) {
      if (confirmed)
        log_.info("the leases of the cluster are known: {}", leases_.size());
      else
        log_.error("which leases there are was not confirmed for {} s; nothing is redeemed", kConfirmed.count());
    }
    keep_house();
  });
}

void Gateway::stop() {
  stopping_ = true;
  manager_.notify("STOPPING=1");
  log_.info("stopping: transfers under way get {} s", config_.proxy.drain_timeout.count());
  desk_server_.stop();
  drainer_ = std::thread([this] {
    server_.stop();
    context_.stop();
  });
}

}  // namespace mintfs
