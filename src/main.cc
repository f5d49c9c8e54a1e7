// mintfsd: reads the command line and the configuration, protects the process, and runs the daemon.
#include "daemon.h"
#include "gateway.h"

#include "broker/config.h"
#include "broker/service_manager.h"
#include "broker/succession.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace mintfs {
namespace {

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

std::shared_ptr<spdlog::logger> make_log(const std::string& level) {
  auto log = spdlog::stderr_color_mt("mintfsd");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  log->set_level(spdlog::level::from_str(level));
  return log;
}

int run(int argc, char** argv) {
  CLI::App app("mintfsd: serves short-lived Git credentials as files and proxies what they allow.");
  std::string config_file = "/etc/mintfs/mintfs.toml";
  app.add_option("--config", config_file, "Configuration file (mintfs.toml(5))")->capture_default_str();
  std::string role = "machine";
  app.add_option("--role", role,
                 "machine: view and proxy of one machine; gateway: proxy of a Kubernetes cluster; "
                 "node: views of its pods")
      ->check(CLI::IsMember({"machine", "gateway", "node"}))
      ->capture_default_str();
  app.set_version_flag("--version", "mintfsd " MINTFS_VERSION);
  app.footer(
      "Example: mintfsd --config /etc/mintfs/mintfs.toml\n"
      "SIGHUP reads connectors and secrets again, SIGUSR2 starts the program anew without a gap, SIGTERM ends.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "mintfsd: %s; see 'mintfsd --help'\n", error.what());
    return 2;
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
    Daemon::Start start{.program = std::filesystem::read_symlink("/proc/self/exe"),
                        .arguments = {argv, argv + argc},
                        .config_file = std::filesystem::absolute(config_file),
                        .is_node = role == "node"};
    if (start.is_node) ClusterNode::check(config);
    bool failed = false;
    if (role == "gateway") {
      Gateway(std::move(config), manager, *log).run();
    } else {
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
