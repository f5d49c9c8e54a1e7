#include "mintfs/service_checks.h"

#include "client/http.h"
#include "mintfs/environment.h"
#include "mintfs/probe.h"
#include "mintfs/rewrite_check.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/json.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::cli {
namespace {

using State = Finding::State;
using client::text;

constexpr long kFuseMagic = 0x65735546;  // statfs(2)
constexpr int kMountDeadline = 5'000;    // milliseconds
constexpr std::chrono::seconds kServerDeadline{10};

enum class MountState { fuse, other, missing, dead, denied, hangs };

MountState look_at(const char* mount) {
  struct statfs status {};
  if (::statfs(mount, &status) == 0) return status.f_type == kFuseMagic ? MountState::fuse : MountState::other;
  switch (errno) {
    case ENOENT:
      return MountState::missing;
    case EACCES:
    case EPERM:
      return MountState::denied;
    default:
      return MountState::dead;
  }
}

// In a process of its own: where a daemon hangs, whoever asks its mount hangs too.
MountState look_with_deadline(const std::filesystem::path& mount) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(static_cast<int>(look_at(mount.c_str())));
  if (child < 0) return look_at(mount.c_str());
  pollfd ended{.fd = static_cast<int>(::syscall(SYS_pidfd_open, child, 0)), .events = POLLIN, .revents = 0};
  const bool in_time = ended.fd < 0 || ::poll(&ended, 1, kMountDeadline) == 1;
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (ended.fd >= 0) ::close(ended.fd);
  return in_time && WIFEXITED(status) ? static_cast<MountState>(WEXITSTATUS(status)) : MountState::hangs;
}

// Whether mintfsd may reach servers by an egress proxy; which of them, it alone decides.
bool may_have_way_out(const broker::Config& config) {
  if (config.proxy.egress != "environment") return config.proxy.egress != "none";
  constexpr const char* kVariables[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"};
  return std::any_of(std::begin(kVariables), std::end(kVariables), [](const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr && *value != '\0';
  });
}

}  // namespace

std::optional<broker::Config> check_configuration(const std::filesystem::path& file, std::vector<Finding>& findings) {
  std::error_code error;
  if (!std::filesystem::exists(file, error) && !error) {
    findings.push_back({State::warn, "configuration", file.string() + " is not there",
                        "name yours with --config FILE; docs/configuration.md describes it"});
    return std::nullopt;
  }
  try {
    auto config = broker::load_config(file);
    findings.push_back({State::ok, "configuration", file.string() + " is well-formed"});
    return config;
  } catch (const broker::ConfigError& wrong) {
    findings.push_back(
        {State::fail, "configuration", wrong.what(), "correct it, then: mintfs config check " + file.string()});
    return std::nullopt;
  }
}

DaemonAnswer check_daemon(const client::ControlClient& client, std::vector<Finding>& findings) {
  try {
    auto status = client.status();
    findings.push_back({State::ok, "mintfsd",
                        "runs (version " + text(status, "version") + ", pid " + text(status, "pid") + ") at " +
                            client.socket().string()});
    if (text(status, "version") != MINTFS_VERSION)
      findings.push_back({State::warn, "version", std::string("this is mintfs " MINTFS_VERSION), "restart mintfsd"});
    if (text(status, "audit_lost") != "0")
      findings.push_back({State::fail, "audit log", text(status, "audit_lost") + " lines could not be written",
                          "make room on the disk that holds it (audit.file): df -h"});
    return {.status = std::move(status), .silent = false};
  } catch (const client::Silent& silence) {
    findings.push_back({State::fail, "mintfsd", silence.what(), "systemctl restart mintfs"});
    return {.status = std::nullopt, .silent = true};
  } catch (const std::exception& error) {
    findings.push_back({State::fail, "mintfsd", error.what(), "systemctl start mintfs, or: mintfsd --config FILE"});
    return {};
  }
}

Finding check_mount(const std::filesystem::path& mount, bool serving) {
  const std::string name = mount.string();
  switch (look_with_deadline(mount)) {
    case MountState::fuse:
      if (serving) return {State::ok, "mount", name + " answers"};
      return {State::warn, "mount", name + " is mounted and answers, but its mintfsd cannot be asked",
              "name its socket with --socket"};
    case MountState::other:
    case MountState::missing:
      if (!serving) return {State::ok, "mount", "nothing is mounted at " + name + " yet"};
      return {State::fail, "mount", "nothing is mounted at " + name, "restart mintfsd; its log says why"};
    case MountState::denied:
      return {State::warn, "mount", name + " is closed to you",
              "run as the user of mintfsd, or set user_allow_other in /etc/fuse.conf and restart it"};
    case MountState::dead:
      return {State::fail, "mount", name + " is dead: its mintfsd was killed",
              "fusermount3 -u -z " + name + " (root: umount -l " + name + "), then start mintfsd"};
    case MountState::hangs:
      return {State::fail, "mount", name + " does not answer", "restart mintfsd: systemctl restart mintfs"};
  }
  return {State::fail, "mount", name + " is in an unknown state"};
}

Finding check_port(const broker::ListenAddress& address) {
  const std::string port = std::to_string(address.port);
  const std::string where = address.host + ":" + port;
  boost::asio::io_context context(1);
  boost::asio::ip::tcp::acceptor acceptor(context);
  boost::system::error_code error;
  const boost::asio::ip::tcp::endpoint endpoint(boost::asio::ip::make_address(address.host), address.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(boost::asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1, error);
  if (!error) return {State::ok, "port", where + " is free"};
  if (error.value() == EADDRINUSE)
    return {State::fail, "port", where + " is taken by another program",
            "ss -ltnp 'sport = :" + port + "' shows which; or choose another proxy.listen"};
  return {State::fail, "port", where + " cannot be listened on: " + error.message(), "choose another proxy.listen"};
}

void check_connectors(const client::ControlClient& client, std::vector<Finding>& findings) {
  try {
    for (const auto& value : client.list_connectors()) {
      const auto& connector = value.as_object();
      if (text(connector, "allowed") == "true")
        findings.push_back(probe(client, connector, ""));
      else
        findings.push_back({State::warn, "connector " + text(connector, "name"), "you may not use it",
                            "ask for your user or group in its 'allow'"});
    }
  } catch (const std::exception& error) {
    findings.push_back({State::fail, "connectors", error.what()});
  }
}

void check_gitconfig(const client::ControlClient& client, std::vector<Finding>& findings) try {
  constexpr std::size_t kMostConnectors = 32;  // of one lease
  boost::json::array names;
  for (const auto& value : client.list_connectors())
    if (const auto& connector = value.as_object();
        text(connector, "allowed") == "true" && names.size() < kMostConnectors)
      names.emplace_back(text(connector, "name"));
  if (names.empty()) return;
  lease_variables({.path = "/", .id = ""}, Via::env,
                  own_variable);  // refuses a bad inherited variable before anything is opened
  const auto lease = client.open_lease(
      {{"connectors", std::move(names)}, {"ttl", 120}, {"labels", {{"purpose", "check"}}}, {"pid", "self"}});
  const std::string view = text(lease, "path");
  auto warnings = check_rewrites(view, Via::env,
                                 merged(environ, lease_variables({.path = view, .id = ""}, Via::env, own_variable)));
  client.close_lease(text(lease, "id"));
  if (warnings.empty()) warnings.push_back({State::ok, "gitconfig", "has no line that wins over a lease"});
  findings.insert(findings.end(), warnings.begin(), warnings.end());
} catch (const std::exception& error) {
  findings.push_back({State::warn, "gitconfig", std::string("is not looked at: ") + error.what()});
}

void check_servers(const broker::Config& config, std::vector<Finding>& findings) {
  for (const auto& connector : config.connectors) {
    const std::string subject = "connector " + connector.name.text();
    try {
      client::try_connect(connector.address, kServerDeadline);
      findings.push_back({State::ok, subject, connector.address.origin() + " can be reached"});
    } catch (const boost::system::system_error& error) {
      const std::string why = ": " + error.code().message();
      if (may_have_way_out(config))
        findings.push_back({State::warn, subject,
                            connector.address.origin() + " cannot be reached without the egress proxy" + why,
                            "start mintfsd, then: mintfs doctor"});
      else
        findings.push_back({State::fail, subject, connector.address.origin() + " cannot be reached" + why,
                            "check 'address', name resolution and the firewall"});
    }
  }
}

}  // namespace mintfs::cli
