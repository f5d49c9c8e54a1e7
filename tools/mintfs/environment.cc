#include "mintfs/environment.h"

#include "mintfs/tool_variables.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace mintfs::cli {
namespace {

// As git reads it: unset and empty are none.
int entries(const std::optional<std::string>& count) {
  if (!count || count->empty()) return 0;
  int value = 0;
  const char* const end = count->data() + count->size();
  const auto [stop, error] = std::from_chars(count->data(), end, value);
  if (error != std::errc() || stop != end || value < 0 || value >= std::numeric_limits<int>::max() - 1)
    throw std::runtime_error("GIT_CONFIG_COUNT is set to '" + *count +
                             "', which git refuses; type: unset GIT_CONFIG_COUNT");
  return value;
}

// What git takes for false (git_parse_maybe_bool in its config.c); all else is true or an error to it.
bool is_false(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower.empty() || lower == "false" || lower == "no" || lower == "off" || lower == "0";
}

void add_settings(Variables& variables, const Variables& settings, int count) {
  variables.emplace_back("GIT_CONFIG_COUNT", std::to_string(count + static_cast<int>(settings.size())));
  for (const auto& [key, value] : settings) {
    const std::string index = std::to_string(count++);
    variables.emplace_back("GIT_CONFIG_KEY_" + index, key);
    variables.emplace_back("GIT_CONFIG_VALUE_" + index, value);
  }
}

[[noreturn]] void refuse(const std::string& name) {
  throw std::runtime_error(name + " is set, so git would not look at the view; use --via env, or type: unset " + name);
}

}  // namespace

bool LeaseView::has(std::string_view configuration) const {
  return std::find(configurations.begin(), configurations.end(), configuration) != configurations.end();
}

Variables lease_variables(const LeaseView& lease, Via via, const Inherited& inherited) {
  const std::string gitconfig = (lease.path / ".gitconfig").string();
  Variables variables, settings;  // settings: for GIT_CONFIG_COUNT
  switch (via) {
    case Via::env:
      if (lease.has("gitconfig")) settings.emplace_back("include.path", gitconfig);
      break;
    case Via::global:
      if (lease.has("gitconfig")) variables = {{"GIT_CONFIG_GLOBAL", gitconfig}};
      break;
    case Via::xdg:
      if (inherited("GIT_CONFIG_GLOBAL")) refuse("GIT_CONFIG_GLOBAL");
      variables = {{"XDG_CONFIG_HOME", lease.path.string()}};
      break;
    case Via::system:
      if (!is_false(inherited("GIT_CONFIG_NOSYSTEM").value_or(""))) refuse("GIT_CONFIG_NOSYSTEM");
      if (lease.has("gitconfig")) variables = {{"GIT_CONFIG_SYSTEM", gitconfig}};
      break;
  }
  // Behind the gitconfig, which resets the list of helpers for the proxy.
  if (lease.has("git-credentials")) settings.emplace_back("credential.helper", credential_helper(lease.path));
  if (!settings.empty()) add_settings(variables, settings, entries(inherited("GIT_CONFIG_COUNT")));
  add_tool_variables(variables, lease, inherited);
  variables.insert(variables.end(), lease.own.begin(), lease.own.end());
  variables.emplace_back("MINTFS_LEASE", lease.id);
  return variables;
}

void add_only_helper(Variables& variables, const std::string& helper, const Inherited& inherited) {
  auto count = std::find_if(variables.begin(), variables.end(),
                            [](const auto& variable) { return variable.first == "GIT_CONFIG_COUNT"; });
  const int first = entries(count == variables.end() ? inherited("GIT_CONFIG_COUNT") : count->second);
  if (count == variables.end()) count = variables.emplace(count, "GIT_CONFIG_COUNT", "");
  count->second = std::to_string(first + 2);
  const std::string values[] = {"", helper};  // an empty one forgets those before
  for (int i = 0; i < 2; ++i) {
    const std::string index = std::to_string(first + i);
    variables.emplace_back("GIT_CONFIG_KEY_" + index, "credential.helper");
    variables.emplace_back("GIT_CONFIG_VALUE_" + index, values[i]);
  }
}

std::string own_helper() {
  std::error_code error;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", error).replace_filename("git-credential-mintfs");
  if (error || !std::filesystem::exists(beside, error)) return "mintfs";
  // git has a shell read it, and takes what does not begin with a slash for a name.
  const std::string path = beside.string();
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("/._+-", c);
  };
  return std::all_of(path.begin(), path.end(), is_plain) ? path : "!" + shell_quoted(path);
}

void add_socket(Variables& variables, const std::filesystem::path& socket, const std::filesystem::path& own) {
  if (socket != own) variables.emplace_back("MINTFS_SOCKET", std::filesystem::absolute(socket).string());
}

std::vector<std::string> merged(const char* const* environment, const Variables& changes) {
  std::vector<std::string> result;
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry(*environment);
    const std::string_view name = entry.substr(0, entry.find('='));
    const auto replaces = [&](const auto& change) { return change.first == name; };
    if (std::none_of(changes.begin(), changes.end(), replaces)) result.emplace_back(entry);
  }
  for (const auto& [name, value] : changes) result.emplace_back(name).append("=").append(value);
  return result;
}

std::string shell_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  return quoted + "'";
}

std::string export_lines(const Variables& variables) {
  std::string lines;
  for (const auto& [name, value] : variables)
    lines.append("export ").append(name).append("=").append(shell_quoted(value)).append("\n");
  return lines;
}

std::optional<std::string> own_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace mintfs::cli
