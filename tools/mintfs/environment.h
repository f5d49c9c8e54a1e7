// Which environment variables point git, and other tools, at the view of a lease.
//
// Pure: what is inherited comes in as a function, nothing is set here.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mintfs::cli {

enum class Via {
  env,     // GIT_CONFIG_COUNT with include.path: on top of the user's own configuration
  global,  // GIT_CONFIG_GLOBAL: instead of ~/.gitconfig
  xdg,     // XDG_CONFIG_HOME: instead of ~/.config
  system,  // GIT_CONFIG_SYSTEM: instead of /etc/gitconfig
};

using Variables = std::vector<std::pair<std::string, std::string>>;
using Inherited = std::function<std::optional<std::string>(const std::string& name)>;

// A lease as its programs need to know it.
struct LeaseView {
  std::filesystem::path path;  // as its job sees it
  std::string id;
  std::vector<std::string> configurations = {"gitconfig"};
  bool authorities = false;      // whether there is ca.crt
  Variables own{};               // of files that the administrator defines
  std::filesystem::path here{};  // where it is on this machine; empty: at `path`

  const std::filesystem::path& place() const { return here.empty() ? path : here; }
  bool has(std::string_view configuration) const;
};

// What is to be set for a lease; GIT_CONFIG_COUNT continues behind the entries that are inherited. Git is
// pointed at the view where that has a gitconfig.
// Throws std::runtime_error when the inherited count is none (git itself would refuse to run), and where
// git would not look at the view: Via::xdg with an inherited GIT_CONFIG_GLOBAL, Via::system with an
// inherited GIT_CONFIG_NOSYSTEM.
Variables lease_variables(const LeaseView& lease, Via via, const Inherited& inherited);

// Makes `helper` git's only credential helper, whatever files say: behind what `variables`, or else what is inherited,
// has in GIT_CONFIG_COUNT.
void add_only_helper(Variables& variables, const std::string& helper, const Inherited& inherited);
// Ours, as git is told: beside this program, else by name.
std::string own_helper();

// Where the job's programs find the daemon, when it is not where they would look by themselves.
void add_socket(Variables& variables, const std::filesystem::path& socket, const std::filesystem::path& own);

// The process environment with `changes` laid over it, as "NAME=value".
std::vector<std::string> merged(const char* const* environment, const Variables& changes);

// In single quotes, safe in every POSIX shell.
std::string shell_quoted(std::string_view text);

// One "export NAME='value'" line per variable.
std::string export_lines(const Variables& variables);

// Reads from this process.
std::optional<std::string> own_variable(const std::string& name);

}  // namespace mintfs::cli
