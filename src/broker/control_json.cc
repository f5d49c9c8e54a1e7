#include "broker/control_json.h"

#include "broker/job_place.h"
#include "broker/secret_json.h"
#include "broker/system_helper.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>

namespace mintfs::broker {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMostSeconds = 10LL * 365 * 86'400;  // as parse_duration
constexpr std::size_t kQuotedSize = 64;                     // how much of an unknown name is repeated

std::string text(const json::string& value) { return {value.data(), value.size()}; }

// As in RFC 6750 section 2.1, and no longer than the gateways take.
bool is_bearer(std::string_view token) {
  constexpr std::size_t kMaxToken = 16 * 1024;
  return !token.empty() && token.size() <= kMaxToken && std::all_of(token.begin(), token.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~+/=").find(c) != std::string_view::npos;
  });
}

std::optional<std::int64_t> integer(const json::value& value, std::int64_t least, std::int64_t most) {
  const auto* number = value.if_int64();
  if (number == nullptr || *number < least || *number > most) return std::nullopt;
  return *number;
}

std::optional<std::vector<std::string>> texts(const json::value& value) {
  const auto* array = value.if_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> list;
  for (const auto& element : *array) {
    if (!element.is_string()) return std::nullopt;
    list.push_back(text(element.get_string()));
  }
  return list;
}

std::optional<std::chrono::seconds> duration(const json::value& value) {
  if (const auto* written = value.if_string()) return parse_duration(text(*written));
  if (const auto seconds = integer(value, 1, kMostSeconds)) return std::chrono::seconds(*seconds);
  return std::nullopt;
}

bool read_connectors(const json::value& value, const Caller&, LeaseRequest& request) {
  auto list = texts(value);
  if (list) request.connectors = std::move(*list);
  return list.has_value();
}

bool read_uid(const json::value& value, const Caller&, LeaseRequest& request) {
  // The largest uid_t means "no user" in every system call.
  const auto uid = integer(value, 0, std::numeric_limits<uid_t>::max() - 1LL);
  if (uid) request.uid = static_cast<uid_t>(*uid);
  return uid.has_value();
}

bool read_ttl(const json::value& value, const Caller&, LeaseRequest& request) {
  request.ttl = duration(value);
  return request.ttl.has_value();
}

bool read_labels(const json::value& value, const Caller&, LeaseRequest& request) {
  const auto* object = value.if_object();
  if (object == nullptr) return false;
  for (const auto& label : *object) {
    if (!label.value().is_string()) return false;
    request.labels[std::string(label.key())] = text(label.value().get_string());
  }
  return true;
}

bool read_operations(const json::value& value, const Caller&, LeaseRequest& request) {
  const auto list = texts(value);
  if (!list) return false;
  Operations operations;
  for (const auto& name : *list) {
    if (name == "fetch")
      operations = operations | Operations::only(Operation::fetch);
    else if (name == "push")
      operations = operations | Operations::only(Operation::push);
    else
      return false;
  }
  request.operations = operations;
  return !operations.empty();
}

bool read_repositories(const json::value& value, const Caller&, LeaseRequest& request) {
  auto list = texts(value);
  // An empty list would read as "none" and mean "all".
  if (!list || list->empty()) return false;
  request.repositories = std::move(*list);
  return true;
}

bool read_references(const json::value& value, const Caller&, LeaseRequest& request) {
  auto list = texts(value);
  if (!list || list->empty()) return false;
  request.references = std::move(*list);
  return true;
}

bool read_pid(const json::value& value, const Caller& caller, LeaseRequest& request) {
  if (const auto* word = value.if_string()) {
    request.pid = caller.pid;
    return *word == "self";
  }
  const auto pid = integer(value, 1, std::numeric_limits<pid_t>::max());
  if (pid) request.pid = static_cast<pid_t>(*pid);
  return pid.has_value();
}

bool read_cgroup(const json::value& value, const Caller&, LeaseRequest& request) {
  if (!value.is_string()) return false;
  request.cgroup = text(value.get_string());
  return !request.cgroup->empty();
}

bool read_origins(const json::value& value, const Caller&, LeaseRequest& request) {
  auto list = texts(value);
  if (!list || list->empty()) return false;
  request.origins = std::move(*list);
  return true;
}

bool read_configurations(const json::value& value, const Caller&, LeaseRequest& request) {
  auto list = texts(value);
  if (!list || list->empty()) return false;
  request.configurations = std::move(*list);
  return true;
}

bool read_exact_protocol(const json::value& value, const Caller&, LeaseRequest& request) {
  if (value.is_bool()) request.exact_protocol = value.get_bool();
  return value.is_bool();
}

bool read_pod(const json::value& value, const Caller&, LeaseRequest& request) {
  if (!value.is_string()) return false;
  request.pod = text(value.get_string());
  return true;
}

bool read_pod_token(const json::value& value, const Caller&, LeaseRequest& request) {
  if (!value.is_string()) return false;
  const auto& written = value.get_string();
  request.pod_token = Secret(std::string_view(written.data(), written.size()));
  return is_bearer(request.pod_token.reveal());
}

bool read_token_ttl(const json::value& value, const Caller&, LeaseRequest& request) {
  request.token_ttl = duration(value);
  return request.token_ttl.has_value();
}

bool read_credential_store(const json::value& value, const Caller&, LeaseRequest& request) {
  if (!value.is_string()) return false;
  request.credential_store = text(value.get_string());
  return is_credential_store(request.credential_store);
}

bool read_proxy_url(const json::value& value, const Caller&, LeaseRequest& request) {
  if (!value.is_string()) return false;
  request.proxy_url = text(value.get_string());
  return Address::parse(request.proxy_url).has_value();
}

bool read_seen_at(const json::value& value, const Caller&, LeaseRequest& request) {
  if (!value.is_string()) return false;
  request.seen_at = text(value.get_string());
  return is_seen_path(request.seen_at);
}

struct Member {
  std::string_view name;
  bool (*read)(const json::value& value, const Caller& caller, LeaseRequest& request);
  std::string_view expected;
};

constexpr std::array kMembers = {
    Member{"connectors", read_connectors, "a list of names such as [\"github\"]"},
    Member{"uid", read_uid, "a user id"},
    Member{"ttl", read_ttl, "a duration such as \"2h\" or a number of seconds"},
    Member{"labels", read_labels, "an object of strings"},
    Member{"operations", read_operations, "a list of \"fetch\", \"push\" or both"},
    Member{"repositories", read_repositories, "a list of patterns such as [\"acme/*\"]; leave it out for all"},
    Member{"refs", read_references, "a list of patterns such as [\"refs/heads/bot/*\"]; leave it out for all"},
    Member{"origins", read_origins, "a list such as [\"10.88.0.0/16\", \"unix\"]; leave it out for everywhere"},
    Member{"pid", read_pid, "a process id or \"self\""},
    Member{"cgroup", read_cgroup, "a cgroup such as \"/ci/job-42\", or \"self\""},
    Member{"configurations", read_configurations, "a list such as [\"gitconfig\", \"npmrc\"]"},
    Member{"exact_protocol", read_exact_protocol, "true or false"},
    Member{"pod", read_pod, "a pod's \"namespace/name\""},
    Member{"pod_token", read_pod_token, "the pod's service account token"},
    Member{"token_ttl", read_token_ttl, "a duration such as \"10m\" or a number of seconds"},
    Member{"credential_store", read_credential_store, kCredentialStores},
    Member{"proxy_url", read_proxy_url, "a URL of the proxy's such as \"http://10.88.0.1:8418\""},
    Member{"seen_at", read_seen_at, "an absolute path such as \"/run/git\" of letters, digits and \"-._~@+\""},
};

// All of them are strings.
struct QuestionMember {
  std::string_view name;
  std::string PolicyQuestion::*field;
};

constexpr std::array kQuestionMembers = {
    QuestionMember{"connector", &PolicyQuestion::connector},   QuestionMember{"lease", &PolicyQuestion::lease},
    QuestionMember{"repository", &PolicyQuestion::repository}, QuestionMember{"operation", &PolicyQuestion::operation},
    QuestionMember{"ref", &PolicyQuestion::reference},         QuestionMember{"change", &PolicyQuestion::change},
};

// The names of an array of members, for who wrote another.
template <class Members>
std::string names_of(const Members& members) {
  std::string list;
  for (const auto& member : members) list.append(list.empty() ? "" : ", ").append(member.name);
  return list;
}

template <class Members>
std::string unknown_member(std::string_view name, const Members& members) {
  return "The member '" + std::string(name.substr(0, kQuotedSize)) + "' is unknown; known are " + names_of(members) +
         ".";
}

// It may hold a pod's token.
std::optional<json::object> parse_object(std::string_view body, std::string& detail) {
  auto value = parse_secret_json(body);
  if (value && value->is_object()) return std::move(value->get_object());
  detail = "The body is not a JSON object.";
  return std::nullopt;
}

json::object to_json(const Decision& decision) {
  const std::string_view rule = to_string(decision.rule);
  json::object object = {{"rule", json::string_view(rule.data(), rule.size())}, {"allowed", decision.allowed()}};
  if (!decision.pattern.empty())
    object["pattern"] = json::string_view(decision.pattern.data(), decision.pattern.size());
  return object;
}

json::array to_array(const std::vector<std::string_view>& names) {
  json::array array;
  for (const auto name : names) array.emplace_back(json::string_view(name.data(), name.size()));
  return array;
}

template <class Pattern>
json::array to_array(const std::vector<Pattern>& patterns) {
  json::array array;
  for (const auto& pattern : patterns) array.emplace_back(pattern.text());
  return array;
}

}  // namespace

std::optional<LeaseRequest> parse_lease_request(std::string_view body, const Caller& caller, std::string& detail) {
  const auto object = parse_object(body, detail);
  if (!object) return std::nullopt;
  LeaseRequest request;
  for (const auto& member : *object) {
    const std::string_view name(member.key().data(), member.key().size());
    const auto* const known =
        std::find_if(kMembers.begin(), kMembers.end(), [&](const Member& each) { return each.name == name; });
    if (known == kMembers.end()) {
      detail = unknown_member(name, kMembers);
      return std::nullopt;
    }
    if (!known->read(member.value(), caller, request)) {
      detail = "'" + std::string(name) + "' must be " + std::string(known->expected) + ".";
      return std::nullopt;
    }
  }
  return request;
}

std::optional<Renewal> parse_renewal(std::string_view body, std::string& detail) {
  const auto object = parse_object(body, detail);
  if (!object) return std::nullopt;
  LeaseRequest read;
  bool good = object->contains("ttl");
  for (const auto& member : *object)
    good = good && ((member.key() == "ttl" && read_ttl(member.value(), {}, read)) ||
                    (member.key() == "pod_token" && read_pod_token(member.value(), {}, read)));
  if (good) return Renewal{.ttl = *read.ttl, .pod_token = std::move(read.pod_token)};
  detail =
      "A renewal is an object with the member 'ttl', such as \"2h\" or a number of seconds, and of a pod's lease with "
      "'pod_token' where gateways have granted it.";
  return std::nullopt;
}

std::optional<PolicyQuestion> parse_policy_question(std::string_view body, std::string& detail) {
  const auto object = parse_object(body, detail);
  if (!object) return std::nullopt;
  PolicyQuestion question;
  for (const auto& member : *object) {
    const std::string_view name(member.key().data(), member.key().size());
    const auto* const known = std::find_if(kQuestionMembers.begin(), kQuestionMembers.end(),
                                           [&](const QuestionMember& each) { return each.name == name; });
    if (known == kQuestionMembers.end()) {
      detail = unknown_member(name, kQuestionMembers);
      return std::nullopt;
    }
    if (!member.value().is_string()) {
      detail = "'" + std::string(name) + "' must be a string.";
      return std::nullopt;
    }
    question.*(known->field) = text(member.value().get_string());
  }
  return question;
}

json::object to_json(const PolicyAnswer& answer) {
  json::object object = to_json(answer.decision);
  if (!answer.decision.allowed()) {
    const std::string_view reason = reason_word(answer.decision.error);
    object["reason"] = json::string_view(reason.data(), reason.size());
    object["detail"] = refusal_sentence(answer.decision);
  }
  object["refs_open"] = answer.references_open;
  json::array steps;
  for (const auto& step : answer.steps) steps.push_back(to_json(step));
  object["steps"] = std::move(steps);
  return object;
}

json::object to_json(const Lease& lease, const std::filesystem::path& mount, const FileConfigs& files) {
  json::array connectors;
  for (const auto& name : lease.connectors) connectors.emplace_back(name.text());
  json::object labels;
  for (const auto& [key, value] : lease.labels) labels[key] = value;
  json::object object = {
      {"id", lease.id},
      {"path", (mount / lease.id).string()},
      {"uid", lease.uid},
      {"subject", lease.subject},
      {"connectors", std::move(connectors)},
      {"operations", to_array(lease.rights.operations.names())},
      {"repositories", to_array(lease.rights.repositories)},
      {"refs", to_array(lease.rights.references.allow)},
      {"labels", std::move(labels)},
      {"configurations", json::array(lease.view().begin(), lease.view().end())},
      {"opened", to_rfc3339(lease.opened)},
      {"expires", to_rfc3339(lease.expires)},
  };
  const std::filesystem::path seen_at =
      lease.seen_at.empty() ? mount / lease.id : std::filesystem::path(lease.seen_at.text());
  json::object variables;
  for (const auto& name : lease.view()) {
    const auto file = files.find(name);
    if (file != files.end() && !file->second->variable.empty())
      variables[file->second->variable] = (seen_at / file->second->path).string();
  }
  if (!variables.empty()) object["variables"] = std::move(variables);
  if (lease.process.pid != 0) object["pid"] = lease.process.pid;
  if (lease.origins) object["origins"] = to_array(*lease.origins);
  if (lease.cgroup) object["cgroup"] = lease.cgroup->text();
  if (lease.pod) object["pod"] = true;
  if (lease.token_ttl.count() != 0) object["token_ttl_seconds"] = lease.token_ttl.count();
  if (!lease.proxy_url.empty()) object["proxy_url"] = lease.proxy_url.text();
  if (!lease.seen_at.empty()) object["seen_at"] = lease.seen_at.text();
  if (lease.exact_protocol) object["exact_protocol"] = true;
  if (!lease.credential_store.empty()) object["credential_store"] = lease.credential_store;
  return object;
}

json::object to_json(const ConnectorConfig& connector, bool allowed) {
  const std::string_view connector_class = to_string(connector.connector_class);
  const ReferenceRules& references = connector.rights.references;
  return {
      {"name", connector.name.text()},
      {"class", json::string_view(connector_class.data(), connector_class.size())},
      {"address", connector.address.text()},
      {"operations", to_array(connector.rights.operations.names())},
      {"repositories", to_array(connector.rights.repositories)},
      {"refs",
       {{"allow", to_array(references.allow)},
        {"deny", to_array(references.deny)},
        {"deny_create", references.deny_create},
        {"deny_delete", references.deny_delete}}},
      {"allowed", allowed},
  };
}

std::string problem_document(unsigned status, std::string_view title, std::string_view detail,
                             std::string_view reason) {
  const auto view = [](std::string_view each) { return json::string_view(each.data(), each.size()); };
  const json::object object = {
      {"type", "about:blank"},  {"title", view(title)},   {"status", status},
      {"detail", view(detail)}, {"reason", view(reason)},
  };
  return json::serialize(object) + "\n";
}

std::string to_rfc3339(Time time) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> buffer;
  return {buffer.data(), std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace mintfs::broker
