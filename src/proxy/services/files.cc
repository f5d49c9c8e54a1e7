// Servers that keep files by path: Maven repositories, Nexus, Artifactory.
#include "broker/package_format.h"
#include "proxy/services/segments.h"
#include "proxy/services/service.h"

#include <algorithm>
#include <array>
#include <span>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Operation;
using broker::Reach;

// Whether what speaks at the repository, which `path` is below, is asked for what hands out a credential: the
// registry of npm, that of images, RubyGems or Conan's server.
bool asks_for_credential(std::string_view path) {
  if (path.ends_with('/')) path.remove_suffix(1);
  return path.starts_with("-/user") || path.starts_with("-/npm/v1/tokens") || path.starts_with("-/npm/v1/user") ||
         path == "v2/token" || path.starts_with("api/v1/api_key") || path.ends_with("/users/authenticate");
}

// `rest` is what stands behind the repository's name. What speaks there is known by its paths alone.
error_code classify_in(std::string_view repository, std::string_view rest, Method method, ServiceRequest& out) {
  if (!broker::is_repository_key(repository) || asks_for_credential(rest)) return Errc::operation_denied;
  const auto operation = usual_operation(method);
  if (!operation) return Errc::operation_denied;
  out.kind = ServiceRequest::Kind::artifact;
  out.reach = Reach::repository;
  out.repository = repository;
  out.operation = *operation;
  if (method == Method::post && rest.starts_with("-/npm/v1/security/")) out.operation = Operation::fetch;
  if (!reads(method)) return {};
  std::string_view package = rest;
  if (rest.starts_with("simple/")) {
    out.links = Links::index;
  } else if (!take_npm_package(package).empty() && package.find('/') == std::string_view::npos) {
    out.links = Links::packument;
  }
  return {};
}

// Formats whose API of Artifactory is "/api/<format>/<repository>/...". That of Docker hands out tokens.
constexpr std::array<std::string_view, 13> kFormats = {"npm",   "pypi", "go",  "nuget", "gems",  "conda",  "composer",
                                                       "cargo", "helm", "vcs", "swift", "maven", "storage"};
// At the root of a sparse index of cargo. Nexus has it at that of the repository, where it may be another's file.
constexpr std::string_view kIndexConfig = "config.json";
// What Artifactory serves beside its repositories.
constexpr std::array<std::string_view, 8> kOwn = {"api", "ui", "webapp", "access", "list", "router", "xray", "v2"};

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

error_code classify_maven(Method method, std::string_view path, ServiceRequest& out) {
  out = {};
  const auto operation = usual_operation(method);
  if (!operation) return Errc::operation_denied;
  out.kind = ServiceRequest::Kind::artifact;
  out.operation = *operation;
  std::string_view directory = path.substr(1);
  take_last(directory);
  out.repository = directory;
  out.reach = directory.empty() ? Reach::everything : Reach::repository;
  return {};
}

error_code classify_nexus(Method method, std::string_view path, ServiceRequest& out) {
  out = {};
  std::string_view rest = path.substr(1);
  if (take_first(rest) != "repository") return Errc::operation_denied;
  const std::string_view repository = take_first(rest);
  if (const auto error = classify_in(repository, rest, method, out)) return error;
  if (reads(method) && rest == kIndexConfig) out.links = Links::cargo;
  return {};
}

error_code classify_jfrog(Method method, std::string_view path, bool below_artifactory, ServiceRequest& out) {
  out = {};
  std::string_view rest = path.substr(1);
  if (!below_artifactory && take_first(rest) != "artifactory") return Errc::operation_denied;
  std::string_view first = take_first(rest);
  if (first != "api") return is_one_of(first, kOwn) ? Errc::operation_denied : classify_in(first, rest, method, out);
  const std::string_view format = take_first(rest);
  if (!is_one_of(format, kFormats)) return Errc::operation_denied;
  first = take_first(rest);
  // "/api/npm/auth" and "/api/npm/<repository>/auth/..." answer with the caller's own credential.
  if (first == "auth" || rest == "auth" || rest.starts_with("auth/")) return Errc::operation_denied;
  if (const auto error = classify_in(first, rest, method, out)) return error;
  if (reads(method) && format == "cargo" && take_first(rest) == "index" && rest == kIndexConfig)
    out.links = Links::cargo;
  return {};
}

}  // namespace mintfs::proxy
