#include "daemon.h"

#include "broker/job_place.h"

#include <spdlog/spdlog.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <exception>
#include <utility>

#include <unistd.h>

namespace mintfs {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kHousekeeping{1};
constexpr std::chrono::hours kKeyRotation{30 * 24};

broker::ConnectorsPtr make_connectors(const broker::Config& config) {
  auto connectors = std::make_shared<broker::Connectors>();
  for (const auto& connector : config.connectors) connectors->emplace(connector.name, connector);
  return connectors;
}

}  // namespace

Daemon::Daemon(broker::Config config, Start start, broker::ServiceManager& manager,
               const broker::Predecessor& predecessor, spdlog::logger& log)
    : config_(std::move(config)),
      start_(std::move(start)),
      manager_(manager),
      predecessor_(predecessor),
      log_(log),
      signals_(context_, SIGTERM, SIGINT, SIGHUP),
      node_(start_.is_node ? std::make_unique<ClusterNode>(context_, config_, clock_, log_) : nullptr),
      // Others pass through the runtime directory to the view and the socket, and list nothing.
      runtime_lock_(config_.daemon.runtime_dir, 0711, "daemon.runtime_dir", manager_.take("runtime-lock")),
      state_lock_(config_.daemon.state_dir, 0700, "daemon.state_dir", manager_.take("state-lock")),
      keys_(node_ ? broker::MasterKeys(clock_) : broker::MasterKeys(config_.daemon.state_dir, clock_)),
      leases_(config_.daemon.runtime_dir / "leases"),
      audit_(config_.audit.file, clock_),
      tls_({config_.proxy.tls_certificate, config_.proxy.tls_key, config_.proxy.tls_ca}),
      listeners_(make_listeners()),
      broker_({.audience = audience(),
               .token_ttl = config_.token.ttl,
               .default_ttl = config_.lease.default_ttl,
               .max_ttl = config_.lease.max_ttl,
               .max_per_user = config_.lease.max_per_user,
               .bind_cgroup = config_.lease.bind_cgroup,
               .other_urls = broker::other_urls(config_.proxy.other_urls, config_.proxy.listen)},
              keys_, leases_, audit_, clock_, make_connectors(config_)),
      helper_stores_(context_, broker_, config_.daemon.state_dir / "helpers",
                     [this](const std::string& sentence) { warn(sentence); }),
      server_(config_.proxy, broker_, credentials_, log_, tls_, std::move(listeners_)),
      mount_(broker_, view(), mount_options()),
      watch_(context_, broker_),
      control_(
          context_, broker_, config_.daemon.runtime_dir / "control.sock", view(), [this] { return status(); },
          broker::ControlServer::Bounds(), manager_.take("control")),
      admin_(make_admin()),
      upgrade_(context_, *this, manager_, broker_, job_credentials_),
      timer_(context_) {
  signals_.add(SIGUSR2);
  if (!predecessor_.exists()) keys_.rotate(clock_.now(), kKeyRotation, config_.lease.max_ttl);
  credentials_.load(*broker_.connectors());
  broker_.replace_files(std::make_shared<const broker::FileConfigs>(config_.files));
  broker_.set_authorities(tls_.authorities());
  broker_.observe(watch_);
  broker_.observe(mount_);
  broker_.observe(server_);
  broker_.observe(job_credentials_);
  broker_.observe(helper_stores_);
  if (node_) {
    broker_.observe(node_->grants());
    control_.open_leases_by(node_->grants());
  }
  control_.serve_credentials(job_credentials_, helper_stores_);
  control_.on_upgrade([this] { return upgrade(); });
}

// On trial nothing is ours to take away: the predecessor may go on with it.
Daemon::~Daemon() {
  if (!predecessor_.watches()) return;
  server_.stop(true);
  tell_listeners(&broker::HttpServer::leave);
  mount_.leave();
}

void Daemon::run() {
  predecessor_.tell(broker::kPrepared);
  predecessor_.expect(broker::kGo);
  take_over();
  keep_sockets();
  server_.start();
  watch_.adopt();
  tell_listeners(&broker::HttpServer::start);
  wait_for_signal();
  keep_house();
  if (node_)
    log_.info("serving as a node: leases by {}, view {}", config_.node.gateway.text(), view().string());
  else
    log_.info("serving {} connectors: proxy {}, view {}", broker_.connectors()->size(), broker_.audience(),
              view().string());
  manager_.notify("READY=1");
  predecessor_.tell(broker::kServing);
  if (predecessor_.exists())
    asio::co_spawn(context_, outlive_predecessor(), asio::detached);
  else
    left_socket_->remove();
  context_.run();
  drainer_.join();
  if (leaves_view_)
    mount_.leave();
  else
    mount_.stop();
  log_.info("stopped");
}

// What is there from before: leases, what their jobs have stored, the view.
void Daemon::take_over() {
  const auto known =
      leases_.load(keys_, clock_.now(), [this](const std::string& sentence) { log_.warn("{}", sentence); });
  broker::restore(broker::CredentialHandover::read(manager_.take(broker::Upgrade::kCredentials)), job_credentials_,
                  broker_);
  helper_stores_.start();
  if (known != 0) log_.info("{} leases are open from before", known);
  const bool inherits = mount_.inherits();
  if (mount_.start()) {
    log_.info("the view is taken over as it is");
    // A service manager that was replaced meanwhile has not got it. The predecessor holds it too.
    if (predecessor_.exists()) keep_view(mount_.descriptor(), mount_.state());
  } else if (inherits) {
    log_.warn("the view of the mintfsd before could not be taken over and was mounted anew: {}",
              "files that are open in it and bind mounts of it are lost; restart the jobs that have one");
  }
}

std::filesystem::path Daemon::view() const { return config_.daemon.runtime_dir / "fs"; }

fs::Mount::Options Daemon::mount_options() {
  return {.inherited = {.fuse = manager_.take("fuse"), .state = manager_.take("view")},
          .keep = [this](int fuse, int state) { keep_view(fuse, state); },
          .keeper_exchanges = manager_.exchanges_init(),
          .on_exit = [this] { asio::post(context_, [this] { mount_again(); }); }};
}

// Under the name that a mintfsd with one listener knew.
std::string Daemon::listener_name(std::size_t index) {
  return index == 0 ? "proxy" : "proxy-" + std::to_string(index + 1);
}

std::vector<int> Daemon::inherited_listeners() {
  std::vector<int> inherited;
  while (true) {
    const int descriptor = manager_.take(listener_name(inherited.size()));
    if (descriptor < 0) break;
    inherited.push_back(descriptor);
  }
  kept_listeners_ = inherited.size();
  return inherited;
}

// A node's pods reach the proxies of the gateways: it has none.
std::vector<proxy::Listener> Daemon::make_listeners() {
  return proxy::listen_on(node_ ? std::vector<broker::ListenAddress>() : config_.proxy.listen, inherited_listeners());
}

// Where tokens are of use that this daemon mints by itself.
std::string Daemon::audience() const {
  if (node_ || !config_.proxy.url.empty()) return config_.proxy.url;
  const auto is_tcp = [](const proxy::Listener& listener) { return !listener.address().is_unix(); };
  return std::find_if(listeners_.begin(), listeners_.end(), is_tcp)->url();
}

// Null where there is to be none.
std::unique_ptr<proxy::AdminServer> Daemon::make_admin() {
  const int inherited = manager_.take("admin");
  left_socket_.emplace(inherited, config_.admin.socket);
  if (config_.admin.socket.empty() && config_.admin.host.empty()) {
    if (inherited >= 0) ::close(inherited);
    return nullptr;
  }
  return std::make_unique<proxy::AdminServer>(context_, proxy::listen_admin(config_.admin, inherited),
                                              proxy::Watched{.broker = broker_,
                                                             .server = server_,
                                                             .opens = &mount_.opens(),
                                                             .view_mounted = [this] { return mount_.alive(); },
                                                             .stopping = [this] { return stopping_; }});
}

void Daemon::tell_listeners(void (broker::HttpServer::*act)()) {
  (control_.*act)();
  if (admin_) (*admin_.*act)();
}

void Daemon::keep_sockets() {
  const auto descriptors = server_.descriptors();
  for (std::size_t i = 0; i < descriptors.size(); ++i) manager_.keep(listener_name(i), descriptors[i]);
  // Nobody would accept on what the configuration no longer names.
  for (std::size_t i = descriptors.size(); i < kept_listeners_; ++i) manager_.forget(listener_name(i));
  manager_.keep("control", control_.descriptor());
  if (admin_)
    manager_.keep("admin", admin_->descriptor());
  else
    manager_.forget("admin");
}

void Daemon::keep_view(int fuse, int state) {
  manager_.keep("view", state);
  manager_.keep("fuse", fuse);
  if (manager_.exchanges_init()) manager_.synchronise();
}

void Daemon::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    handle(signal);
    wait_for_signal();
  });
}

void Daemon::handle(int signal) {
  if (signal == SIGUSR2) {
    asio::co_spawn(context_, upgrade(), asio::detached);
  } else if (upgrade_.is_handing_over() && !stopping_) {
    upgrade_.defer(signal);
  } else if (signal == SIGHUP) {
    if (!stopping_) reload();
  } else if (!stopping_) {
    // A service manager that keeps the view may be about to start us again: then it stays.
    stop(predecessor_.watches() || (manager_.keeps() && signal == SIGTERM));
  } else {
    log_.info("stopping at once");
    server_.abort();
  }
}

// All or nothing: everything new is read and checked before anything old is given up.
void Daemon::reload() {
  manager_.notify("RELOADING=1");
  audit_.reopen();
  try {
    const auto config = broker::load_config(start_.config_file);
    if (node_) ClusterNode::check(config);
    const auto connectors = make_connectors(config);
    auto files = std::make_shared<const broker::FileConfigs>(config.files);
    credentials_.load(*connectors);
    broker_.replace_connectors(connectors);
    broker_.replace_files(std::move(files));
    log_.info("reloaded {}: {} connectors", start_.config_file.string(), connectors->size());
  } catch (const std::exception& error) {
    log_.error("not reloaded, the former configuration stays: {}", error.what());
  }
  manager_.notify("READY=1");
}

void Daemon::keep_house() {
  timer_.expires_after(kHousekeeping);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const auto report = [this](const std::string& sentence) { log_.warn("{}", sentence); };
    if (upgrade_.is_handing_over()) {
      broker_.follow(report);  // cuts the transfers of leases that the successor has closed
    } else {
      broker_.close_expired();
      rotate_keys();
      if (--until_sweep_ == 0) {
        helper_stores_.sweep();
        until_sweep_ = kSweep;
      }
    }
    credentials_.refresh(report);
    if (tls_.refresh(report)) broker_.set_authorities(tls_.authorities());
    report_losses();
    keep_house();
  });
}

void Daemon::report_losses() {
  if (audit_.lost() != audit_lost_) {
    audit_lost_ = audit_.lost();
    log_.error("the audit log {} cannot be written; {} lines are lost: look for a full disk",
               config_.audit.file.string(), audit_lost_);
  }
  if (leases_.left_behind() != lease_files_left_) {
    lease_files_left_ = leases_.left_behind();
    if (lease_files_left_ != 0)
      log_.error("the files of {} closed leases below {} cannot be removed; a restart would open them again",
                 lease_files_left_, (config_.daemon.runtime_dir / "leases").string());
  }
}

void Daemon::rotate_keys() {
  try {
    if (keys_.rotate(clock_.now(), kKeyRotation, config_.lease.max_ttl))
      log_.info("a new master key signs from now on");
  } catch (const std::exception& error) {
    log_.error("the master key is not rotated: {}", error.what());
  }
}

void Daemon::mount_again() {
  if (stopping_ || upgrade_.is_handing_over()) return;
  log_.error("the view was unmounted by somebody else; mounting it again");
  try {
    mount_.stop();
    mount_.start();
  } catch (const std::exception& error) {
    log_.critical("{}", error.what());
    failed_ = true;
    stop(false);
  }
}

// --- the end ---------------------------------------------------------------------------------------

// Jobs whose transfers are under way may still read the view and close their leases meanwhile.
void Daemon::stop(bool leaves_view) {
  stopping_ = true;
  leaves_view_ = leaves_view;
  if (!upgrade_.is_handing_over()) manager_.notify("STOPPING=1");
  log_.info("stopping: transfers under way get {} s", config_.proxy.drain_timeout.count());
  drainer_ = std::thread([this] {
    server_.stop(leaves_view_);
    asio::post(context_, [this] {
      tell_listeners(leaves_view_ ? &broker::HttpServer::leave : &broker::HttpServer::stop);
      control_.when_idle([this] { context_.stop(); });
    });
  });
}

std::string Daemon::status() const {
  return boost::json::serialize(boost::json::object{{"mount_alive", mount_.alive()},
                                                    {"connections", server_.connections()},
                                                    {"admin", admin_ ? admin_->where() : "none"}});
}

}  // namespace mintfs
