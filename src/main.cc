// mintfsd: configuration -> broker -> proxy -> mount -> run -> stop.
//
// The only file that sees all folders. It builds every part, hands each what it needs, and takes
// them down in order: no new connections, the transfers under way, the control socket, the mount.
//
// What must outlive the process (the mount, the listening sockets) is kept by the service manager and
// found again by the next one. An upgrade starts that one beside this (broker/succession.h).
#include "broker/audit.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/control.h"
#include "broker/credential_handover.h"
#include "broker/instance.h"
#include "broker/job_credentials.h"
#include "broker/keys.h"
#include "broker/lease.h"
#include "broker/process_watch.h"
#include "broker/readiness.h"
#include "broker/service_manager.h"
#include "broker/succession.h"
#include "fs/mount.h"
#include "proxy/admin.h"
#include "proxy/credentials/credential.h"
#include "proxy/server.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kHousekeeping{1};
constexpr std::chrono::hours kKeyRotation{30 * 24};
// How long a successor may take to start, and must live before it is left alone.
constexpr std::chrono::seconds kStartTime{30};
constexpr std::chrono::seconds kTrial{1};
// The name under which a successor finds what jobs have stored.
constexpr char kCredentials[] = "job-credentials";

// No core dump and no debugger of the same user reads keys out of this process.
void protect_memory() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

// A relayed connection takes two descriptors, and two more for a pipe while a large body passes; take
// what the administrator's hard limit gives.
void raise_descriptor_limit(broker::Config& config, spdlog::logger& log) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kReserved = 512;
  const rlim_t most = limit.rlim_max > 2 * kReserved ? (limit.rlim_max - kReserved) / 3 : kReserved / 4;
  if (config.proxy.max_connections <= most) return;
  log.warn("proxy.max_connections is lowered to {}: the limit of open files is {}", most, limit.rlim_max);
  config.proxy.max_connections = static_cast<std::uint32_t>(most);
}

broker::ConnectorsPtr make_connectors(const broker::Config& config) {
  auto connectors = std::make_shared<broker::Connectors>();
  for (const auto& connector : config.connectors) connectors->emplace(connector.name, connector);
  return connectors;
}

std::shared_ptr<spdlog::logger> make_log(const std::string& level) {
  auto log = spdlog::stderr_color_mt("mintfsd");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  log->set_level(spdlog::level::from_str(level));
  return log;
}

// How this process was started: what it takes to start its successor.
struct Start {
  std::string program;
  std::vector<std::string> arguments;
  std::filesystem::path config_file;
};

class Daemon {
 public:
  Daemon(broker::Config config, Start start, broker::ServiceManager& manager, const broker::Predecessor& predecessor,
         spdlog::logger& log)
      : config_(std::move(config)),
        start_(std::move(start)),
        manager_(manager),
        predecessor_(predecessor),
        log_(log),
        // Others pass through the runtime directory to the view and the socket, and list nothing.
        runtime_lock_(config_.daemon.runtime_dir, 0711, "daemon.runtime_dir", manager_.take("runtime-lock")),
        state_lock_(config_.daemon.state_dir, 0700, "daemon.state_dir", manager_.take("state-lock")),
        keys_(config_.daemon.state_dir, clock_),
        leases_(config_.daemon.runtime_dir / "leases"),
        audit_(config_.audit.file, clock_),
        tls_({config_.proxy.tls_certificate, config_.proxy.tls_key, config_.proxy.tls_ca}),
        listeners_(proxy::listen_on(config_.proxy.listen, inherited_listeners())),
        broker_({.audience = config_.proxy.url.empty() ? own_url() : config_.proxy.url,
                 .token_ttl = config_.token.ttl,
                 .default_ttl = config_.lease.default_ttl,
                 .max_ttl = config_.lease.max_ttl,
                 .max_per_user = config_.lease.max_per_user,
                 .bind_cgroup = config_.lease.bind_cgroup},
                keys_, leases_, audit_, clock_, make_connectors(config_)),
        server_(config_.proxy, broker_, credentials_, log_, tls_, std::move(listeners_)),
        mount_(broker_, view(), mount_options()),
        watch_(context_, broker_),
        control_(
            context_, broker_, config_.daemon.runtime_dir / "control.sock", view(), [this] { return status(); },
            broker::ControlServer::Bounds(), manager_.take("control")),
        admin_(make_admin()),
        timer_(context_) {
    signals_.add(SIGUSR2);
    if (!predecessor_.exists()) keys_.rotate(clock_.now(), kKeyRotation, config_.lease.max_ttl);
    credentials_.load(*broker_.connectors());
    broker_.set_authorities(tls_.authorities());
    broker_.observe(watch_);
    broker_.observe(mount_);
    broker_.observe(server_);
    broker_.observe(job_credentials_);
    control_.serve_credentials(job_credentials_);
    control_.on_upgrade([this] { return upgrade(); });
  }

  // On trial nothing is ours to take away: the predecessor may go on with it.
  ~Daemon() {
    if (!predecessor_.watches()) return;
    server_.stop(true);
    tell_listeners(&broker::HttpServer::leave);
    mount_.leave();
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  void run() {
    predecessor_.tell(broker::kPrepared);
    predecessor_.expect(broker::kGo);
    const auto known =
        leases_.load(keys_, clock_.now(), [this](const std::string& sentence) { log_.warn("{}", sentence); });
    broker::restore(broker::CredentialHandover::read(manager_.take(kCredentials)), job_credentials_, broker_);
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
    keep_sockets();
    server_.start();
    watch_.adopt();
    tell_listeners(&broker::HttpServer::start);
    wait_for_signal();
    keep_house();
    log_.info("serving {} connectors: proxy {}, view {}", broker_.connectors()->size(), broker_.audience(),
              view().string());
    manager_.notify("READY=1");
    predecessor_.tell(broker::kServing);
    if (predecessor_.exists()) asio::co_spawn(context_, outlive_predecessor(), asio::detached);
    context_.run();
    drainer_.join();
    if (leaves_view_)
      mount_.leave();
    else
      mount_.stop();
    log_.info("stopped");
  }

  bool failed() const { return failed_; }

 private:
  std::filesystem::path view() const { return config_.daemon.runtime_dir / "fs"; }

  fs::Mount::Options mount_options() {
    return {.inherited = {.fuse = manager_.take("fuse"), .state = manager_.take("view")},
            .keep = [this](int fuse, int state) { keep_view(fuse, state); },
            .keeper_exchanges = manager_.exchanges_init(),
            .on_exit = [this] { asio::post(context_, [this] { mount_again(); }); }};
  }

  // Under the name that a mintfsd with one listener knew.
  static std::string listener_name(std::size_t index) {
    return index == 0 ? "proxy" : "proxy-" + std::to_string(index + 1);
  }

  std::vector<int> inherited_listeners() {
    std::vector<int> inherited;
    while (true) {
      const int descriptor = manager_.take(listener_name(inherited.size()));
      if (descriptor < 0) break;
      inherited.push_back(descriptor);
    }
    kept_listeners_ = inherited.size();
    return inherited;
  }

  std::string own_url() const {
    const auto is_tcp = [](const proxy::Listener& listener) { return !listener.address().is_unix(); };
    return std::find_if(listeners_.begin(), listeners_.end(), is_tcp)->url();
  }

  // Null where there is to be none.
  std::unique_ptr<proxy::AdminServer> make_admin() {
    const int inherited = manager_.take("admin");
    if (config_.admin.socket.empty() && config_.admin.host.empty()) {
      if (inherited >= 0) ::close(inherited);
      return nullptr;
    }
    return std::make_unique<proxy::AdminServer>(context_, proxy::listen_admin(config_.admin, inherited),
                                                proxy::Watched{.broker = broker_,
                                                               .server = server_,
                                                               .opens = mount_.opens(),
                                                               .view_mounted = [this] { return mount_.alive(); },
                                                               .stopping = [this] { return stopping_; }});
  }

  // The control socket and, where there is one, the admin listener.
  void tell_listeners(void (broker::HttpServer::*act)()) {
    (control_.*act)();
    if (admin_) (*admin_.*act)();
  }

  void keep_sockets() {
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

  void keep_view(int fuse, int state) {
    manager_.keep("view", state);
    manager_.keep("fuse", fuse);
    if (manager_.exchanges_init()) manager_.synchronise();
  }

  void wait_for_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      handle(signal);
      wait_for_signal();
    });
  }

  void handle(int signal) {
    if (signal == SIGUSR2) {
      asio::co_spawn(context_, upgrade(), asio::detached);
    } else if (handing_over_ && !stopping_) {
      deferred_.insert(signal);
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
  void reload() {
    manager_.notify("RELOADING=1");
    audit_.reopen();
    try {
      const auto connectors = make_connectors(broker::load_config(start_.config_file));
      credentials_.load(*connectors);
      broker_.replace_connectors(connectors);
      log_.info("reloaded {}: {} connectors", start_.config_file.string(), connectors->size());
    } catch (const std::exception& error) {
      log_.error("not reloaded, the former configuration stays: {}", error.what());
    }
    manager_.notify("READY=1");
  }

  void keep_house() {
    timer_.expires_after(kHousekeeping);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      const auto report = [this](const std::string& sentence) { log_.warn("{}", sentence); };
      if (handing_over_) {
        broker_.follow(report);  // cuts the transfers of leases that the successor has closed
      } else {
        broker_.close_expired();
        rotate_keys();
      }
      credentials_.refresh(report);
      if (tls_.refresh(report)) broker_.set_authorities(tls_.authorities());
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
      keep_house();
    });
  }

  void rotate_keys() {
    try {
      if (keys_.rotate(clock_.now(), kKeyRotation, config_.lease.max_ttl))
        log_.info("a new master key signs from now on");
    } catch (const std::exception& error) {
      log_.error("the master key is not rotated: {}", error.what());
    }
  }

  void mount_again() {
    if (stopping_ || handing_over_) return;
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

  // --- succession ----------------------------------------------------------------------------------

  // The answer to POST /v1/upgrade. This daemon serves on unless the new one has lived through its trial.
  asio::awaitable<broker::ControlAnswer> upgrade() {
    if (stopping_ || handing_over_)
      co_return broker::ControlApi::refuse(broker::Errc::too_many, "mintfsd is about to end.");
    handing_over_ = true;
    log_.info("starting {} to take over", start_.program);
    std::string failure;
    try {
      broker::Successor next(context_, succession());
      failure = co_await try_successor(next);
      if (failure.empty()) co_return hand_over(next);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    resume();
    log_.error("not upgraded, this mintfsd serves on: {}", failure);
    co_return broker::ControlApi::refuse(broker::Errc::upgrade_failed,
                                         "The new mintfsd failed and this one serves on: " + failure);
  }

  asio::awaitable<std::string> try_successor(broker::Successor& next) {
    std::string failure = co_await next.expect(broker::kPrepared, kStartTime);
    if (!failure.empty()) co_return failure;
    broker_.set_following(true);
    tell_listeners(&broker::HttpServer::pause);
    server_.pause();
    mount_.pause();
    if (job_credentials_.count() != 0 && !credentials_under_way_->write(broker::save(job_credentials_)))
      log_.warn("what jobs have stored is lost in this upgrade: the memory for it cannot be locked (ulimit -l)");
    next.tell(broker::kGo);
    failure = co_await next.expect(broker::kServing, kStartTime);
    if (failure.empty()) failure = co_await next.survives(kTrial);
    if (!failure.empty()) next.kill();  // before anything is taken back
    co_return failure;
  }

  broker::Successor::Start succession() {
    broker::Successor::Start start{.program = start_.program,
                                   .arguments = start_.arguments,
                                   .environment = manager_.environment(),
                                   .descriptors = {{"fuse", mount_.descriptor()},
                                                   {"view", mount_.state()},
                                                   {"control", control_.descriptor()},
                                                   {"runtime-lock", runtime_lock_.descriptor()},
                                                   {"state-lock", state_lock_.descriptor()}}};
    credentials_under_way_.emplace();
    if (const int memory = credentials_under_way_->descriptor(); memory >= 0)
      start.descriptors.emplace_back(kCredentials, memory);
    const auto listeners = server_.descriptors();
    for (std::size_t i = 0; i < listeners.size(); ++i) start.descriptors.emplace_back(listener_name(i), listeners[i]);
    if (admin_) start.descriptors.emplace_back("admin", admin_->descriptor());
    return start;
  }

  broker::ControlAnswer hand_over(broker::Successor& next) {
    const pid_t pid = next.pid();
    log_.info("process {} serves from now on; {} connections are finished here", pid, server_.connections());
    manager_.notify("MAINPID=" + std::to_string(pid));
    next.let_go();
    credentials_under_way_.reset();
    job_credentials_.erase_everything();
    runtime_lock_.release();
    state_lock_.release();
    for (const int signal : std::exchange(deferred_, {})) ::kill(pid, signal);
    tell_listeners(&broker::HttpServer::leave);
    stop(true);
    return {.status = 200, .body = boost::json::serialize(boost::json::object{{"pid", pid}}) + "\n"};
  }

  // The service manager must know whom it starts again. The predecessor says it, unless it was killed before.
  asio::awaitable<void> outlive_predecessor() {
    asio::posix::stream_descriptor channel(context_, ::dup(predecessor_.channel()));
    const auto error = co_await broker::wait_readable(channel);
    if (!error) manager_.notify("MAINPID=" + std::to_string(::getpid()));
  }

  void resume() {
    if (!std::exchange(handing_over_, false)) return;
    credentials_under_way_.reset();
    broker_.follow([this](const std::string& sentence) { log_.warn("{}", sentence); });
    broker_.set_following(false);
    watch_.adopt();
    // The new one may have given others under these names.
    keep_sockets();
    keep_view(mount_.descriptor(), mount_.state());
    mount_.resume();
    server_.resume();
    tell_listeners(&broker::HttpServer::resume);
    for (const int signal : std::exchange(deferred_, {})) handle(signal);
  }

  // --- the end -------------------------------------------------------------------------------------

  // Jobs whose transfers are under way may still read the view and close their leases meanwhile.
  void stop(bool leaves_view) {
    stopping_ = true;
    leaves_view_ = leaves_view;
    if (!handing_over_) manager_.notify("STOPPING=1");
    log_.info("stopping: transfers under way get {} s", config_.proxy.drain_timeout.count());
    drainer_ = std::thread([this] {
      server_.stop(leaves_view_);
      asio::post(context_, [this] {
        tell_listeners(leaves_view_ ? &broker::HttpServer::leave : &broker::HttpServer::stop);
        control_.when_idle([this] { context_.stop(); });
      });
    });
  }

  std::string status() const {
    return boost::json::serialize(boost::json::object{{"mount_alive", mount_.alive()},
                                                      {"connections", server_.connections()},
                                                      {"admin", admin_ ? admin_->where() : "none"}});
  }

  broker::Config config_;
  Start start_;
  broker::ServiceManager& manager_;
  const broker::Predecessor& predecessor_;
  spdlog::logger& log_;
  asio::io_context context_{1};
  asio::signal_set signals_{context_, SIGTERM, SIGINT, SIGHUP};  // caught until all else is taken down
  broker::SystemClock clock_;
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
  std::optional<broker::CredentialHandover> credentials_under_way_;
  broker::Broker broker_;
  proxy::Server server_;
  fs::Mount mount_;
  broker::ProcessWatch watch_;
  broker::ControlServer control_;
  std::unique_ptr<proxy::AdminServer> admin_;
  asio::steady_timer timer_;
  std::uint64_t audit_lost_ = 0;
  std::size_t lease_files_left_ = 0;
  std::thread drainer_;
  bool handing_over_ = false;
  std::set<int> deferred_;  // signals that came meanwhile, for who serves then
  bool leaves_view_ = false;
  bool stopping_ = false;
  bool failed_ = false;
};

int run(int argc, char** argv) {
  CLI::App app("mintfsd: serves short-lived Git credentials as files and proxies what they allow.");
  std::string config_file = "/etc/mintfs/mintfs.toml";
  app.add_option("--config", config_file, "Configuration file (mintfs.toml(5))")->capture_default_str();
  app.set_version_flag("--version", "mintfsd " MINTFS_VERSION);
  app.footer(
      "Example: mintfsd --config /etc/mintfs/mintfs.toml\n"
      "SIGHUP reads connectors and secrets again, SIGUSR2 starts the program anew without a gap, SIGTERM ends.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  protect_memory();
  std::signal(SIGPIPE, SIG_IGN);
  ::umask(077);
  broker::ServiceManager manager;
  const broker::Predecessor predecessor(manager.take(broker::Predecessor::kChannel));
  try {
    broker::Config config = broker::load_config(config_file);
    const auto log = make_log(config.log.level);
    raise_descriptor_limit(config, *log);
    Start start{.program = std::filesystem::read_symlink("/proc/self/exe"),
                .arguments = {argv, argv + argc},
                .config_file = std::filesystem::absolute(config_file)};
    bool failed = false;
    {
      Daemon daemon(std::move(config), std::move(start), manager, predecessor, *log);
      daemon.run();
      failed = daemon.failed();
    }
    // It has ended in good order; a signal that comes late does not change that.
    for (const int late : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) std::signal(late, SIG_IGN);
    return failed ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mintfsd: %s\n", error.what());
    predecessor.tell(std::string(broker::kFailed) + error.what());
    return 1;
  }
}

}  // namespace
}  // namespace mintfs

int main(int argc, char** argv) { return mintfs::run(argc, argv); }
