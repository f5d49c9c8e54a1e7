#include "broker/lease_request.h"

#include "broker/claims.h"
#include "broker/helper_stores.h"
#include "broker/job_place.h"
#include "broker/process_watch.h"

#include <algorithm>
#include <utility>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxConnectorsPerLease = 32;
constexpr std::size_t kMaxPatterns = 64;
constexpr std::size_t kMaxLabels = 32;
constexpr std::size_t kMaxLabel = 128;
constexpr std::chrono::seconds kShortestToken{30};  // git reads its configuration once and may take a while

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabel &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

// "namespace/name" as Kubernetes names pods: labels of DNS, so that it can stand in a token as it is.
bool is_pod(std::string_view text) {
  const auto slash = text.find('/');
  const auto is_name = [](std::string_view name, std::size_t most) {
    return !name.empty() && name.size() <= most && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    });
  };
  return slash != std::string_view::npos && is_name(text.substr(0, slash), 63) && is_name(text.substr(slash + 1), 253);
}

// What the opener asks for must be given by each connector; what is left is the lease's rights.
Errc narrow(const ConnectorConfig& connector, const LeaseRequest& request, std::string& detail) {
  if (request.operations && (connector.rights.operations & *request.operations).empty()) {
    detail = "The connector '" + connector.name.text() + "' gives none of the operations asked for.";
    return Errc::operation_denied;
  }
  for (const auto& asked : request.references) {
    const ReferencePattern pattern(asked);
    const auto& given = connector.rights.references.allow;
    if (given.empty() ||
        std::any_of(given.begin(), given.end(), [&](const auto& each) { return each.covers(pattern); }))
      continue;
    detail = "The connector '" + connector.name.text() + "' does not give '" + asked + "'.";
    return Errc::reference_denied;
  }
  if (!connector.rights.restricts_repositories()) return Errc{};
  for (const auto& asked : request.repositories) {
    const RepositoryPattern pattern(asked);
    const auto& given = connector.rights.repositories;
    if (std::none_of(given.begin(), given.end(),
                     [&](const auto& each) { return each.covers(pattern, connector.letter_case); })) {
      detail = "The connector '" + connector.name.text() + "' does not give '" + asked + "'.";
      return Errc::repository_denied;
    }
  }
  return Errc{};
}

// One sentence where a name is none of a configuration's.
std::string unknown_configuration(const std::vector<std::string>& asked, const FileConfigs& files) {
  std::string known;
  const auto add = [&](std::string_view name) { known.append(known.empty() ? "" : ", ").append(name); };
  for (const Configuration each : kConfigurations) add(to_string(each));
  for (const auto& file : files) add(file.first);
  for (const auto& name : asked)
    if (!parse_configuration(name) && !files.contains(name))
      return "No configuration is named '" + (is_configuration_name(name) ? name : std::string("(malformed)")) +
             "'; known are " + known + ".";
  return {};
}

// Counts and characters only; what the values mean is asked later.
bool is_well_formed(const LeaseRequest& request, std::string& detail) {
  if (request.connectors.empty() || request.connectors.size() > kMaxConnectorsPerLease)
    detail = "A lease names 1 to 32 connectors.";
  else if (request.repositories.size() > kMaxPatterns)
    detail = "A lease names at most 64 repository patterns.";
  else if (request.references.size() > kMaxPatterns)
    detail = "A lease names at most 64 patterns of references.";
  else if (request.labels.size() > kMaxLabels)
    detail = "A lease has at most 32 labels.";
  else if (request.operations && request.operations->empty())
    detail = "A lease needs at least one operation.";
  else if (request.pid && *request.pid <= 0)
    detail = "The process to bind to is not visible to the daemon.";
  if (request.pod && !is_pod(*request.pod)) detail = "A pod is named 'namespace/name'.";
  if (request.pod && request.uid) detail = "A pod's lease is for whoever runs in it; leave 'uid' out.";
  if (!request.seen_at.empty() && !is_seen_path(request.seen_at))
    detail = "A view is seen at an absolute path such as '/run/git' of letters, digits and '-._~@+'.";
  if (request.origins.size() > kMaxPatterns) detail = "A lease names at most 64 origins.";
  if (request.configurations.size() > kMaxConfigurations) detail = "A lease names at most 32 configurations.";
  for (const auto& [key, value] : request.labels)
    if (!is_label(key) || !is_label(value)) detail = "A label is 1 to 128 printable characters, and so is its value.";
  for (const auto& pattern : request.repositories)
    if (!RepositoryPattern::is_valid(pattern))
      detail = "'owner/name' or 'owner/*' is a repository pattern; one given is not.";
  for (const auto& pattern : request.references)
    if (!ReferencePattern::is_valid(pattern))
      detail = "'refs/heads/main' or 'refs/heads/bot/*' is a pattern of references; one given is not.";
  for (const auto& origin : request.origins)
    if (!OriginPattern::parse(origin)) detail = "'10.88.0.5', '10.88.0.0/16' or 'unix' is an origin; one given is not.";
  return detail.empty();
}

// Whom it is for.
Errc describe_owner(const Caller& caller, const LeaseRequest& request, Lease& lease, std::string& detail) {
  lease.opener = caller.uid;
  lease.uid = request.uid.value_or(caller.uid);
  if (lease.uid != caller.uid && !is_administrator(caller.uid)) {
    detail = "Only root may open a lease for another user.";
    return Errc::lease_denied;
  }
  if (request.pod && !is_administrator(caller.uid)) {
    detail = "Only root may open a lease for a pod.";
    return Errc::lease_denied;
  }
  if (!request.pod && !request.pod_token.empty()) {
    detail = "A pod's token goes with 'pod'.";
    return Errc::lease_malformed;
  }
  lease.pod = request.pod.has_value();
  lease.subject = request.pod ? "pod:" + *request.pod : "uid:" + std::to_string(lease.uid);
  return Errc{};
}

// Which processes may use it, and whose end is its own.
Errc describe_bounds(const Caller& caller, const LeaseRequest& request, bool bind_cgroup, Lease& lease,
                     std::string& detail) {
  if (const auto named = request.cgroup.value_or(bind_cgroup ? "self" : ""); !named.empty()) {
    auto group = named == "self" ? cgroup_of(caller.pid) : Cgroup::parse(named);
    if (group) lease.cgroup = std::make_shared<const Cgroup>(std::move(*group));
    if (!lease.cgroup) {
      detail = named == "self"
                   ? "You are in the root cgroup, which admits everybody; start the job in a cgroup of its own."
                   : "A cgroup is named as in /proc/PID/cgroup: '/ci/job-42', or 'pids:/job-42' for version 1.";
      return Errc::lease_malformed;
    }
  }
  if (!request.origins.empty()) {
    OriginPatterns origins;
    for (const auto& origin : request.origins) origins.push_back(*OriginPattern::parse(origin));
    lease.origins = std::make_shared<const OriginPatterns>(std::move(origins));
  }
  if (!request.pid) return Errc{};
  lease.process = {*request.pid, process_start_time(*request.pid)};
  if (lease.process.start_time == 0) {
    detail = "There is no process " + std::to_string(*request.pid) + ".";
    return Errc::lease_malformed;
  }
  return Errc{};
}

// Where the job finds the proxy and its view.
Errc describe_place(const LeaseRequest& request, const LeaseTerms& terms, Lease& lease, std::string& detail) {
  lease.seen_at = request.seen_at;
  if (request.proxy_url.empty()) return Errc{};
  const auto url = Address::parse(request.proxy_url);
  if (url && url->text() == terms.audience) return Errc{};
  if (url && std::find(terms.other_urls.begin(), terms.other_urls.end(), url->text()) != terms.other_urls.end()) {
    lease.proxy_url = url->text();
    return Errc{};
  }
  detail = "The proxy is not known by that URL; known are " + terms.audience;
  for (const auto& each : terms.other_urls)
    if (each != terms.audience) detail.append(", ").append(each);
  detail += ", and what the administrator adds to proxy.other_urls.";
  return Errc::lease_malformed;
}

Errc describe_times(const LeaseRequest& request, const LeaseTerms& terms, Lease& lease, std::string& detail) {
  lease.opened = terms.now;
  const auto ttl = request.ttl.value_or(terms.default_ttl);
  if (ttl <= std::chrono::seconds::zero() || ttl > terms.max_ttl) {
    detail = "A lease lives for at most " + std::to_string(terms.max_ttl.count()) + " seconds here (lease.max_ttl).";
    return Errc::lease_malformed;
  }
  lease.expires = lease.opened + ttl;
  lease.token_ttl = request.token_ttl.value_or(std::chrono::seconds::zero());
  if (request.token_ttl && (lease.token_ttl < kShortestToken || lease.token_ttl > terms.token_ttl)) {
    detail = "A token lives for " + std::to_string(kShortestToken.count()) + " to " +
             std::to_string(terms.token_ttl.count()) + " seconds here (token.ttl).";
    return Errc::lease_malformed;
  }
  return Errc{};
}

}  // namespace

Result<Lease> describe_lease(const Caller& caller, const LeaseRequest& request, const LeaseTerms& terms,
                             std::string& detail) {
  if (!is_well_formed(request, detail)) return Errc::lease_malformed;
  Lease lease;
  if (const Errc error = describe_owner(caller, request, lease, detail); error != Errc{}) return error;
  if (const Errc error = describe_bounds(caller, request, terms.bind_cgroup, lease, detail); error != Errc{})
    return error;
  if (const Errc error = describe_times(request, terms, lease, detail); error != Errc{}) return error;
  if (const Errc error = describe_place(request, terms, lease, detail); error != Errc{}) return error;
  lease.exact_protocol = request.exact_protocol;
  lease.labels = request.labels;
  lease.credential_store = request.credential_store;
  if (detail = why_not_in_helper(lease); !detail.empty()) return Errc::lease_malformed;
  if (request.operations) lease.rights.operations = *request.operations;
  for (const auto& pattern : request.repositories) lease.rights.repositories.emplace_back(pattern);
  for (const auto& pattern : request.references) lease.rights.references.allow.emplace_back(pattern);

  if (detail = unknown_configuration(request.configurations, terms.files); !detail.empty())
    return Errc::lease_malformed;
  for (const auto& name : request.configurations)
    if (std::find(lease.configurations.begin(), lease.configurations.end(), name) == lease.configurations.end())
      lease.configurations.push_back(name);
  if (lease.configurations == default_configurations()) lease.configurations.clear();
  return lease;
}

Errc add_connectors(Lease& lease, const Caller& caller, const LeaseRequest& request, const Connectors& table,
                    std::string& detail) {
  for (const auto& text : request.connectors) {
    const auto name = ConnectorName::parse(text);
    const auto found = name ? table.find(*name) : table.end();
    if (found == table.end()) {
      detail = "No connector is named '" + (name ? name->text() : std::string("(malformed)")) +
               "'; 'mintfs connector list' shows those there are.";
      return Errc::connector_unknown;
    }
    if (!admits(found->second.allow, caller)) {
      detail = "User " + std::to_string(caller.uid) + " may not use the connector '" + name->text() +
               "'; ask for the user or a group of it in its 'allow'.";
      return Errc::connector_denied;
    }
    if (const Errc error = narrow(found->second, request, detail); error != Errc{}) return error;
    if (!lease.serves(*name)) lease.connectors.push_back(*name);
  }
  std::vector<const ConnectorConfig*> asked;
  asked.reserve(lease.connectors.size());
  for (const auto& name : lease.connectors) asked.push_back(&table.at(name));
  if (const auto clash = find_clash(lease.rights, asked)) {
    detail = "The connectors '" + clash->first->name.text() + "' and '" + clash->second->name.text() + "' both claim " +
             clash->spelling + "; name one of them, or give one a higher 'priority' in the configuration.";
    return Errc::lease_malformed;
  }
  return Errc{};
}

}  // namespace mintfs::broker
