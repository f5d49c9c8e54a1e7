#include "broker/config.h"

#include "broker/config_section.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxConfigFile = 4 * 1024 * 1024;

// Empty where there is none, as default_runtime_dir().
std::filesystem::path default_state_dir() {
  if (geteuid() == 0) return "/var/lib/mintfs";
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
    return std::filesystem::path(state) / "mintfs";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::filesystem::path(home) / ".local/state/mintfs";
  return {};
}

std::string read_file(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error)
    throw ConfigError(file.string() + ": cannot be read: " + error.message() +
                      "; name the configuration that is there, or write it: mintfs.toml(5)");
  if (size > kMaxConfigFile) throw ConfigError(file.string() + ": is over 4 MiB; share its connectors among daemons");
  std::ifstream stream(file, std::ios::binary);
  std::string text(size, '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(size)))
    throw ConfigError(file.string() + ": cannot be read; it must be readable for the daemon's user");
  return text;
}

toml::table parse_toml(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& failure) {
    const auto& begin = failure.source().begin;
    std::ostringstream message;
    message << name << ':' << begin.line << ':' << begin.column << ": syntax: " << failure.description();
    throw ConfigError(message.str());
  }
}

std::string as_one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

}  // namespace

ConfigError::ConfigError(std::string message) : std::runtime_error(as_one_line(std::move(message))) {}

std::filesystem::path default_runtime_dir() {
  if (geteuid() == 0) return "/run/mintfs";
  if (const char* directory = std::getenv("XDG_RUNTIME_DIR"); directory != nullptr && *directory == '/')
    return std::filesystem::path(directory) / "mintfs";
  return {};
}

Config load_config(const std::filesystem::path& file) { return parse_config(read_file(file), file.string()); }

Config parse_config(std::string_view text, const std::string& name) {
  const toml::table table = parse_toml(text, name);
  Config config;
  config.daemon.runtime_dir = default_runtime_dir();
  config.daemon.state_dir = default_state_dir();

  Section root(name, table, "");
  root.section("daemon", [&](Section& section) {
    section.path("runtime_dir", config.daemon.runtime_dir);
    section.path("state_dir", config.daemon.state_dir);
  });
  root.section("token", [&](Section& section) { section.duration("ttl", config.token.ttl); });
  root.section("lease", [&](Section& section) {
    section.duration("default_ttl", config.lease.default_ttl);
    section.duration("max_ttl", config.lease.max_ttl);
    section.count("max_per_user", config.lease.max_per_user, 1, 1'000'000);
    std::string bind = "uid";
    section.text("bind", bind);
    if (bind != "uid" && bind != "cgroup") section.fail_at("bind", "must be uid or cgroup");
    config.lease.bind_cgroup = bind == "cgroup";
  });
  config.lease.default_ttl = std::min(config.lease.default_ttl, config.lease.max_ttl);
  root.section("proxy", [&](Section& section) { read_proxy(section, config); });
  config.admin.socket = config.daemon.runtime_dir / "admin.sock";
  root.section("admin", [&](Section& section) { read_admin(section, config); });
  config.audit.file = config.daemon.state_dir / "audit.log";
  root.section("audit", [&](Section& section) { section.path("file", config.audit.file); });
  root.section("log", [&](Section& section) {
    section.text("level", config.log.level);
    static const std::set<std::string> levels = {"trace", "debug", "info", "warn", "error"};
    if (!levels.contains(config.log.level)) section.fail_at("level", "must be trace, debug, info, warn or error");
  });
  root.section("kubernetes", [&](Section& section) { read_kubernetes(section, config); });
  root.section("node", [&](Section& section) { read_node(section, config); });
  std::set<ConnectorName> names;
  root.sections("connector", [&](Section& section) {
    config.connectors.push_back(read_connector(section));
    const auto& connector = config.connectors.back();
    if (!names.insert(connector.name).second) section.fail_at("name", "'" + connector.name.text() + "' is there twice");
  });
  root.sections("file", [&](Section& section) {
    auto file = std::make_shared<const FileConfig>(read_file(section));
    if (config.files.size() >= kMaxFileConfigs) section.fail_at("name", "is one too many; there may be 256");
    for (const auto& [known, other] : config.files) {
      if (known == file->name) section.fail_at("name", "'" + known + "' is there twice");
      if (are_in_each_others_way(file->path, other->path))
        section.fail_at("path", "is in the way of '" + other->path + "'");
    }
    config.files.emplace(file->name, std::move(file));
  });
  root.finish();
  return config;
}

}  // namespace mintfs::broker
