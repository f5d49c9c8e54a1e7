// SonarQube's API, as its scanners use it. A repository is a project by its key, which stands in the query.
//
// Only parameters that an endpoint is known to obey name a project: one that it ignores would open it for all.
#include "proxy/services/segments.h"
#include "proxy/services/service.h"

#include <algorithm>
#include <array>
#include <optional>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Operation;
using broker::Reach;

struct Endpoint {
  std::string_view path;
  std::string_view project{};  // the parameter that names it; empty: none does
  bool required = true;        // without it the answer is about no project
};

constexpr std::array<Endpoint, 24> kEndpoints = {{
    {"/api/server/version"},
    {"/api/system/status"},
    {"/api/authentication/validate"},
    {"/api/v2/analysis/version"},
    {"/api/v2/analysis/engine"},
    {"/api/plugins/installed"},
    {"/api/plugins/download"},
    {"/api/metrics/search"},
    {"/api/languages/list"},
    {"/api/features/list"},
    {"/api/editions/is_valid_license"},
    {"/api/rules/search"},
    {"/api/rules/list"},
    {"/api/rules/list.protobuf"},
    {"/batch/index"},
    {"/batch/file"},
    {"/api/settings/values", "component", false},
    {"/api/settings/values.protobuf", "component", false},
    {"/api/qualityprofiles/search", "project", false},
    {"/api/qualityprofiles/search.protobuf", "project", false},
    {"/api/new_code_periods/show", "project"},
    {"/api/project_branches/list", "project"},
    {"/api/project_pull_requests/list", "project"},
    {"/api/measures/component", "component"},
}};
constexpr std::array<Endpoint, 6> kMore = {{
    {"/api/new_code_periods/show.protobuf", "project"},
    {"/api/qualitygates/project_status", "projectKey", false},  // an analysis has an id that nobody guesses
    {"/api/ce/component", "component"},
    {"/api/ce/task"},  // the same
    {"/batch/project", "key"},
    {"/batch/project.protobuf", "key"},
}};
constexpr Endpoint kSubmit = {"/api/ce/submit", "projectKey"};

const Endpoint* find(std::string_view path) {
  for (const auto& each : kEndpoints)
    if (each.path == path) return &each;
  for (const auto& each : kMore)
    if (each.path == path) return &each;
  return nullptr;
}

int digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

// The key of a project: letters, digits, "-_.:"; empty where it is anything else.
std::string decoded_key(std::string_view value) {
  std::string key;
  for (std::size_t i = 0; i < value.size(); ++i) {
    char c = value[i];
    if (c == '%' && i + 2 < value.size()) {
      c = static_cast<char>(digit(value[i + 1]) << 4 | digit(value[i + 2]));
      i += 2;
    }
    if (!is_letter_or_digit(c) && c != '-' && c != '_' && c != '.' && c != ':') return {};
    key += c;
  }
  return key;
}

// The project that `parameter` names. Nothing where it is ambiguous: named twice, or by another parameter
// that some version of the server obeys: that of a former name, where both are given, before its own.
std::optional<std::string> project_in(std::string_view query, std::string_view parameter) {
  std::string found;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::string_view name = pair.substr(0, pair.find('='));
    if (pair.find(';') != std::string_view::npos || name.find_first_of("%+") != std::string_view::npos)
      return std::nullopt;
    if (name != parameter) {
      for (const std::string_view other :
           {"componentId", "componentKey", "projectId", "projectKey", "baseComponentId", "baseComponentKey"})
        if (name == other) return std::nullopt;
      continue;
    }
    std::string key = decoded_key(pair.substr(std::min(name.size() + 1, pair.size())));
    if (key.empty() || !found.empty()) return std::nullopt;
    found = std::move(key);
  }
  return found;
}

}  // namespace

error_code classify_sonarqube(Method method, const Target& target, ServiceRequest& out) {
  out = {};
  out.kind = ServiceRequest::Kind::artifact;
  const bool submits = method == Method::post && target.path == kSubmit.path;
  if (!submits && !reads(method)) return Errc::operation_denied;
  out.operation = submits ? Operation::push : Operation::fetch;
  const bool file = target.path.starts_with("/deploy/plugins/") || target.path.starts_with("/api/v2/analysis/jres");
  const Endpoint* const endpoint = submits ? &kSubmit : find(target.path);
  if (endpoint == nullptr) {
    out.kind = file ? ServiceRequest::Kind::artifact : ServiceRequest::Kind::other;
    out.reach = file ? Reach::protocol : Reach::page;
    return {};
  }
  out.reach = Reach::protocol;
  if (endpoint->project.empty()) return {};
  auto project = project_in(target.query, endpoint->project);
  if (!project || (project->empty() && endpoint->required)) return Errc::request_malformed;
  out.named = std::move(*project);
  if (!out.named.empty()) out.reach = Reach::repository;
  return {};
}

}  // namespace mintfs::proxy
