// mintfs-csi: the CSI driver of one node, between kubelet and the node's mintfsd.
//
// It runs as root in the foreground until SIGTERM. It knows no key and mints nothing; what a pod may have, the
// daemon decides.
#include "broker/config.h"
#include "client/control_client.h"
#include "csi/endpoint.h"
#include "csi/identity.h"
#include "csi/node.h"
#include "csi/probe.h"
#include "csi/registration.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::csi {
namespace {

constexpr int kMaxMessage = 256 * 1024;  // tokens of a few audiences, and room
constexpr int kMaxCalls = 64;            // at the same time; kubelet is told to come again
constexpr std::chrono::seconds kPatience{20};
constexpr std::chrono::seconds kDrain{10};
constexpr std::chrono::seconds kProbe{8};

struct Options {
  std::string endpoint;
  std::filesystem::path registration;
  std::string socket;
  std::string log_level = "info";
  bool probe = false;
  Settings settings;
};

// Requests carry ServiceAccount tokens: no core dump, and no variable makes gRPC print what passes.
void protect_memory() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  for (const char* variable : {"GRPC_TRACE", "GRPC_VERBOSITY"}) ::unsetenv(variable);
}

void add_options(CLI::App& app, Options& options) {
  Settings& settings = options.settings;
  app.add_option("--endpoint", options.endpoint, "Socket to serve at: unix:///path/csi.sock")->required();
  app.add_option("--node-id", settings.node, "Name of this node in the cluster; needed to serve");
  app.add_option("--driver-name", settings.driver, "Name of the CSIDriver object")->capture_default_str();
  app.add_option("--registration-dir", options.registration,
                 "Make the driver known to kubelet by a socket in this directory (/var/lib/kubelet/plugins_registry)");
  app.add_option("--socket", options.socket,
                 "Control socket of mintfsd (default: MINTFS_SOCKET, or the default place)");
  app.add_option("--kubelet-dir", settings.kubelet, "kubelet's --root-dir")->capture_default_str();
  app.add_option("--shared-namespace", settings.shared_namespaces,
                 "A namespace whose connectors pods of every namespace may use, '*' for all; may be repeated");
  app.add_option("--lease-ttl", settings.lease_ttl, "How long a lease lives that kubelet renews no more")
      ->capture_default_str();
  app.add_option("--token-audience", settings.token_audience,
                 "Audience of the pod's token by which mintfsd --role node asks the gateways")
      ->capture_default_str();
  app.add_option("--pod-cgroups", settings.cgroups,
                 "Bind each lease to its pod's control group, looked for below this directory (/sys/fs/cgroup)");
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_flag("--probe", options.probe, "Only ask whether the driver at --endpoint answers: 0, or 1 and why not");
  app.set_version_flag("--version", "mintfs-csi " MINTFS_VERSION);
  app.footer(
      "Example: mintfs-csi --endpoint unix:///csi/csi.sock --node-id \"$NODE_NAME\"\nSIGTERM ends it; what is "
      "published stays. See mintfs-csi(8).");
}

void check(const Options& options) {
  const Settings& settings = options.settings;
  const auto is_name = [](const std::string& text, std::size_t most) {
    return !text.empty() && text.size() <= most &&
           text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
               std::string::npos;
  };
  if (!is_name(settings.driver, 63)) throw std::runtime_error("--driver-name is 1 to 63 letters, digits, '-' and '.'");
  if (!is_name(settings.node, 253)) throw std::runtime_error("--node-id is 1 to 253 letters, digits, '-' and '.'");
  if (!broker::parse_duration(settings.lease_ttl)) throw std::runtime_error("--lease-ttl is a duration such as '12h'");
  const std::string kubelet = settings.kubelet.string();
  if (!kubelet.starts_with('/') || kubelet.size() > 128 || kubelet.ends_with('/'))
    throw std::runtime_error("--kubelet-dir is an absolute path of at most 128 characters without a trailing '/'");
  if (!settings.cgroups.empty() && !std::filesystem::is_directory(settings.cgroups))
    throw std::runtime_error("--pod-cgroups: there is no directory " + settings.cgroups.string());
  const auto& registration = options.registration;
  if (!registration.empty() && (!registration.is_absolute() || !std::filesystem::is_directory(registration)))
    throw std::runtime_error("--registration-dir is an absolute path; there is no directory " + registration.string());
}

// All services at both sockets: only root comes to either.
std::unique_ptr<grpc::Server> serve(const Endpoint& endpoint, const std::optional<Endpoint>& known,
                                    std::initializer_list<grpc::Service*> services) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(endpoint.address(), grpc::InsecureServerCredentials());
  if (known) builder.AddListeningPort(known->address(), grpc::InsecureServerCredentials());
  for (grpc::Service* each : services) builder.RegisterService(each);
  builder.SetMaxReceiveMessageSize(kMaxMessage);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
  builder.SetResourceQuota(grpc::ResourceQuota("calls").SetMaxThreads(kMaxCalls));
  auto server = builder.BuildAndStart();
  if (!server) throw std::runtime_error("cannot listen at " + endpoint.path().string() + "; is its directory there?");
  return server;
}

void run(Options& options) {
  check(options);
  const auto log = spdlog::stderr_color_mt("mintfs-csi");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  log->set_level(spdlog::level::from_str(options.log_level));

  sigset_t ends;
  sigemptyset(&ends);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&ends, signal);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);  // before there is another thread

  const Settings& settings = options.settings;
  const client::ControlClient control(
      options.socket.empty() ? client::default_socket() : std::filesystem::path(options.socket), kPatience);
  const Mounter mounter(settings.kubelet);
  Endpoint endpoint(options.endpoint);
  std::optional<Endpoint> known;
  if (!options.registration.empty()) known.emplace(options.registration / (settings.driver + "-reg.sock"));
  Identity identity(settings.driver);
  Node node(control, mounter, settings, *log);
  Registration registration(
      settings.driver, endpoint.path(), [] { ::kill(::getpid(), SIGTERM); }, *log);
  const auto server = serve(endpoint, known, {&identity, &node, &registration});
  endpoint.publish();
  if (known) known->publish();  // last: kubelet calls at once
  log->info("{} of node {} serves at {}, with mintfsd at {}", settings.driver, settings.node, endpoint.path().string(),
            control.socket().string());
  int signal = 0;
  ::sigwait(&ends, &signal);
  log->info("stopping; what is published stays");
  known.reset();  // first: kubelet begins nothing new
  server->Shutdown(std::chrono::system_clock::now() + kDrain);
  if (const std::string why = registration.refusal(); !why.empty())
    throw std::runtime_error("kubelet does not take the driver: " + why);
}

int start(int argc, char** argv) {
  CLI::App app("mintfs-csi: publishes views of mintfs for the pods of one node.");
  Options options;
  add_options(app, options);
  try {
    app.parse(argc, argv);
    if (!options.probe && options.settings.node.empty()) throw CLI::RequiredError("--node-id");
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "mintfs-csi: %s; see 'mintfs-csi --help'\n", error.what());
    return 2;
  }
  protect_memory();
  std::signal(SIGPIPE, SIG_IGN);
  ::umask(077);
  try {
    options.probe ? probe(endpoint_path(options.endpoint), kProbe) : run(options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mintfs-csi: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace mintfs::csi

int main(int argc, char** argv) { return mintfs::csi::start(argc, argv); }
