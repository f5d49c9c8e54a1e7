#include "fs/package_place.h"

#include "broker/claims.h"

#include <string_view>

namespace mintfs::fs {
namespace {

using broker::ConnectorClass;
using broker::PackageFormat;

std::optional<PackageFormat> format_of(Content content) {
  switch (content) {
    case Content::npmrc:
    case Content::yarnrc:
      return PackageFormat::npm;
    case Content::pip:
    case Content::pypirc:
      return PackageFormat::pypi;
    case Content::maven:
      return PackageFormat::maven;
    case Content::cargo_credentials:
    case Content::cargo_config:
      return PackageFormat::cargo;
    case Content::gitconfig:
    case Content::git_credentials:
    case Content::netrc:
    case Content::docker:
    case Content::buildkitd:
    case Content::gh_config:
    case Content::gh_hosts:
    case Content::glab:
    case Content::sonar:
    case Content::kubeconfig:
    case Content::authorities:
    case Content::user:
      return std::nullopt;
  }
  return std::nullopt;
}

bool gives(const broker::Rights& rights, std::string_view repository, broker::LetterCase letters) {
  return !rights.restricts_repositories() || rights.giving(repository, letters) != nullptr;
}

// Empty where nobody says.
std::string repository_of(PackageFormat format, const broker::Rights& lease, const broker::ConnectorConfig& connector) {
  std::string name;
  if (!connector.formats.empty()) {
    const auto found = connector.formats.find(format);
    if (found != connector.formats.end()) name = found->second;
  } else if (const auto& rights = broker::repository_rights(lease, connector); rights.repositories.size() == 1) {
    name = rights.repositories.front().text();
  }
  const bool good = broker::is_repository_key(name) && gives(lease, name, connector.letter_case) &&
                    gives(connector.rights, name, connector.letter_case);
  return good ? name : std::string();
}

// The paths are those that Artifactory's documents give to each client: npm and cargo's index with a slash at their
// end, an upload of a Python package without.
std::string below_artifactory(Content content, PackageFormat format, const std::string& repository) {
  switch (format) {
    case PackageFormat::npm:
      return "api/npm/" + repository + "/";
    case PackageFormat::pypi:
      return "api/pypi/" + repository + (content == Content::pypirc ? "" : "/");
    case PackageFormat::maven:
      return repository + "/";
    case PackageFormat::cargo:
      return "api/cargo/" + repository + "/index/";
  }
  return {};
}

}  // namespace

std::optional<std::string> package_place(Content content, const broker::Rights& lease,
                                         const broker::ConnectorConfig& connector) {
  const auto format = format_of(content);
  if (!format || !broker::keeps_formats(connector.connector_class)) return std::string();
  const std::string repository = repository_of(*format, lease, connector);
  if (repository.empty()) return std::nullopt;
  if (connector.connector_class == ConnectorClass::nexus) return "repository/" + repository + "/";
  const bool below = connector.address.prefix.ends_with("/artifactory");
  return (below ? "" : "artifactory/") + below_artifactory(content, *format, repository);
}

}  // namespace mintfs::fs
