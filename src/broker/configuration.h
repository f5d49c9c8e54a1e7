// Which files a lease's view holds, by the names under which a lease asks for them.
//
// What is in each and where it lies is src/fs/; beside these there are those that the administrator
// defines. The numbers of the enumeration are kept nowhere.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

enum class Configuration : std::uint8_t {
  gitconfig,        // .gitconfig
  git_credentials,  // .git-credentials: git credential-store, and tools that read its file
  netrc,            // .netrc: curl, Go, Python requests
  npmrc,            // .npmrc: npm, pnpm, yarn 1
  yarnrc,           // .yarnrc.yml: yarn 2 and newer
  pip,              // pip.conf
  pypirc,           // .pypirc: twine
  maven,            // settings.xml
  docker,           // config.json: docker, podman, skopeo, buildah
  buildkitd,        // buildkitd.toml
  cargo,            // credentials.toml and config.toml
  gh,               // hosts.yml of GitHub's command line
  glab,             // config.yml of GitLab's command line
  sonar,            // sonar-project.properties
  kubeconfig,       // kubectl, helm
};

inline constexpr std::array kConfigurations = {
    Configuration::gitconfig, Configuration::git_credentials, Configuration::netrc,
    Configuration::npmrc,     Configuration::yarnrc,          Configuration::pip,
    Configuration::pypirc,    Configuration::maven,           Configuration::docker,
    Configuration::buildkitd, Configuration::cargo,           Configuration::gh,
    Configuration::glab,      Configuration::sonar,           Configuration::kubeconfig,
};

// Where their files are in a view, and ca.crt; src/fs/layout.cc says which is which.
inline constexpr std::array<std::string_view, 24> kOwnPaths = {
    ".gitconfig",
    "git/config",
    ".git-credentials",
    ".netrc",
    ".npmrc",
    ".yarnrc.yml",
    "pip/pip.conf",
    ".config/pip/pip.conf",
    ".pypirc",
    ".m2/settings.xml",
    ".docker/config.json",
    "buildkit/buildkitd.toml",
    ".config/buildkit/buildkitd.toml",
    ".cargo/credentials.toml",
    ".cargo/config.toml",
    "gh/hosts.yml",
    ".config/gh/hosts.yml",
    "gh/config.yml",
    ".config/gh/config.yml",
    "glab-cli/config.yml",
    ".config/glab-cli/config.yml",
    "sonar-project.properties",
    ".kube/config",
    "ca.crt",
};

inline constexpr std::size_t kMaxConfigurations = 32;  // of one lease

// As a lease names it: "git-credentials".
std::string_view to_string(Configuration configuration) noexcept;
std::optional<Configuration> parse_configuration(std::string_view name) noexcept;

// Whether a name can be one of a configuration at all: 1 to 63 of [a-z0-9._-], ends with a letter or digit.
bool is_configuration_name(std::string_view name) noexcept;

// What a lease has that names none.
const std::vector<std::string>& default_configurations();

}  // namespace mintfs::broker
