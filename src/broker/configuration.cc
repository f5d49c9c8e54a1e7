#include "broker/configuration.h"

#include <algorithm>

namespace mintfs::broker {

std::string_view to_string(Configuration configuration) noexcept {
  switch (configuration) {
    case Configuration::gitconfig:
      return "gitconfig";
    case Configuration::git_credentials:
      return "git-credentials";
    case Configuration::netrc:
      return "netrc";
    case Configuration::npmrc:
      return "npmrc";
    case Configuration::yarnrc:
      return "yarnrc";
    case Configuration::pip:
      return "pip";
    case Configuration::pypirc:
      return "pypirc";
    case Configuration::maven:
      return "maven";
    case Configuration::docker:
      return "docker";
    case Configuration::buildkitd:
      return "buildkitd";
    case Configuration::cargo:
      return "cargo";
    case Configuration::gh:
      return "gh";
    case Configuration::glab:
      return "glab";
    case Configuration::sonar:
      return "sonar";
    case Configuration::kubeconfig:
      return "kubeconfig";
  }
  return "unknown";
}

std::optional<Configuration> parse_configuration(std::string_view name) noexcept {
  for (const Configuration each : kConfigurations)
    if (name == to_string(each)) return each;
  return std::nullopt;
}

bool is_configuration_name(std::string_view name) noexcept {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 63 && alphanumeric(name.front()) && alphanumeric(name.back()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '-' || c == '.' || c == '_'; });
}

const std::vector<std::string>& default_configurations() {
  static const std::vector<std::string> list = {std::string(to_string(Configuration::gitconfig))};
  return list;
}

}  // namespace mintfs::broker
