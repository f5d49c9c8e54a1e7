#include "mintfs/lease_request.h"

#include "broker/config.h"
#include "broker/job_place.h"
#include "broker/policy.h"
#include "broker/system_helper.h"

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include <pwd.h>

namespace mintfs::cli {
namespace {

namespace json = boost::json;

uid_t user_id(const std::string& text) {
  uid_t uid = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, uid);
  if (error == std::errc() && stop == end) return uid;
  const passwd* entry = ::getpwnam(text.c_str());
  if (entry == nullptr) throw UsageError("--uid: there is no user '" + text + "'");
  return entry->pw_uid;
}

pid_t process_id(const std::string& text) {
  pid_t pid = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, pid);
  if (error != std::errc() || stop != end || pid <= 0)
    throw UsageError("--pid: '" + text + "' is not a process's number");
  return pid;
}

json::object labels(const std::vector<std::string>& options) {
  json::object object;
  for (const auto& option : options) {
    const std::size_t equals = option.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == option.size())
      throw UsageError("--label: '" + option + "' is not KEY=VALUE");
    if (object.contains(option.substr(0, equals)))
      throw UsageError("--label: '" + option.substr(0, equals) + "' is given twice");
    object[option.substr(0, equals)] = option.substr(equals + 1);
  }
  return object;
}

// "a,b" and "c" are three. Whether there is such a configuration is the daemon's to say.
json::array names(const std::vector<std::string>& lists) {
  json::array array;
  for (const std::string_view list : lists)
    for (std::size_t at = 0; at <= list.size();) {
      const std::size_t end = std::min(list.find(',', at), list.size());
      if (end == at)
        throw UsageError("--configuration: '" + std::string(list) + "' is not a list such as gitconfig,npmrc");
      array.emplace_back(json::string_view(list.data() + at, end - at));
      at = end + 1;
    }
  return array;
}

}  // namespace

std::string keeping_lease(const std::string& id) {
  const char* keeper = std::getenv("MINTFS_LEASE");
  if (keeper == nullptr || *keeper == '\0' || keeper == id)
    throw UsageError(
        "--keep: MINTFS_LEASE does not name the job's own lease; open one first, with 'mintfs lease open'");
  return keeper;
}

LeaseView lease_view(const json::object& lease) {
  LeaseView view{.path = std::string(lease.at("path").as_string()), .id = std::string(lease.at("id").as_string())};
  if (const auto* list = lease.if_contains("configurations")) {  // a daemon that knows none has but the default
    view.configurations.clear();
    for (const auto& name : list->as_array()) view.configurations.emplace_back(name.as_string());
  }
  if (const auto* variables = lease.if_contains("variables"))
    for (const auto& [name, value] : variables->as_object()) view.own.emplace_back(name, value.as_string());
  if (const auto* seen_at = lease.if_contains("seen_at"))
    view.here = std::exchange(view.path, std::string(seen_at->as_string()));
  std::error_code error;
  view.authorities = std::filesystem::exists(view.place() / "ca.crt", error);
  return view;
}

json::object lease_request(const LeaseOptions& options) {
  json::object request;
  for (const auto& name : options.connectors)
    if (!broker::ConnectorName::parse(name))
      throw UsageError("-c: '" + name + "' is not a connector's name; 'mintfs connector list' shows those there are");
  request["connectors"] = json::array(options.connectors.begin(), options.connectors.end());
  if (!options.uid.empty()) request["uid"] = user_id(options.uid);
  if (!options.ttl.empty()) {
    if (!broker::parse_duration(options.ttl))
      throw UsageError("--ttl: '" + options.ttl + "' is not a duration such as 30m, 2h or 1h30m");
    request["ttl"] = options.ttl;
  }
  if (!options.labels.empty()) request["labels"] = labels(options.labels);
  if (!options.pid.empty()) request["pid"] = process_id(options.pid);
  if (!options.cgroup.empty()) {
    if (options.cgroup != "self" && options.cgroup.find('/') == std::string::npos)
      throw UsageError("--cgroup: '" + options.cgroup + "' is neither 'self' nor a cgroup such as '/ci/job-42'");
    request["cgroup"] = options.cgroup;
  }
  if (!options.origins.empty()) request["origins"] = json::array(options.origins.begin(), options.origins.end());
  if (!options.configurations.empty()) request["configurations"] = names(options.configurations);
  if (options.exact_protocol) request["exact_protocol"] = true;
  if (!options.credential_store.empty()) {
    if (!broker::is_credential_store(options.credential_store))
      throw UsageError("--credential-store: '" + options.credential_store + "' is not " +
                       std::string(broker::kCredentialStores));
    request["credential_store"] = options.credential_store;
  }
  if (!options.proxy_url.empty()) {
    if (!broker::Address::parse(options.proxy_url))
      throw UsageError("--proxy-url: '" + options.proxy_url + "' is not a URL such as http://10.88.0.1:8418");
    request["proxy_url"] = options.proxy_url;
  }
  if (!options.seen_at.empty()) {
    if (!broker::is_seen_path(options.seen_at))
      throw UsageError("--seen-at: '" + options.seen_at +
                       "' is not an absolute path such as /run/git of letters, digits and '-._~@+'");
    request["seen_at"] = options.seen_at;
  }
  if (options.read_only) request["operations"] = json::array{"fetch"};
  for (const auto& pattern : options.repositories)
    if (!broker::RepositoryPattern::is_valid(pattern))
      throw UsageError("--repository: '" + pattern + "' is not a pattern like 'owner/name' or 'owner/*'");
  if (!options.repositories.empty())
    request["repositories"] = json::array(options.repositories.begin(), options.repositories.end());
  for (const auto& pattern : options.references)
    if (!broker::ReferencePattern::is_valid(pattern))
      throw UsageError("--ref: '" + pattern + "' is not a full name with at most one '*', like 'refs/heads/bot/*'");
  if (!options.references.empty()) request["refs"] = json::array(options.references.begin(), options.references.end());
  return request;
}

}  // namespace mintfs::cli
