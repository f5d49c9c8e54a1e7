#include "mintfs/commands.h"
#include "mintfs/helper_check.h"
#include "mintfs/rewrite_check.h"
#include "mintfs/table.h"

#include <boost/json.hpp>

#include <csignal>

#include <pwd.h>
#include <unistd.h>

namespace mintfs::cli {
namespace {

namespace json = boost::json;
using client::text;

// "a, b"; of an object "k=v, ...".
std::string joined(const json::value* value) {
  std::string list;
  const auto add = [&](const std::string& each) { list += (list.empty() ? "" : ", ") + each; };
  if (value == nullptr) return list;
  if (const auto* array = value->if_array())
    for (const auto& each : *array) add(each.is_string() ? std::string(each.get_string()) : json::serialize(each));
  if (const auto* object = value->if_object())
    for (const auto& [key, each] : *object) add(std::string(key) + "=" + text(*object, key));
  return list;
}

std::string repositories(const json::object& lease) {
  const std::string list = joined(lease.if_contains("repositories"));
  return list.empty() ? "all of the connector" : list;
}

std::string references(const json::object& lease) {
  const std::string list = joined(lease.if_contains("refs"));
  return list.empty() ? "all of the connector" : list;
}

std::string describe(const json::object& lease) {
  return format_table({{"id", text(lease, "id")},
                       {"path", text(lease, "path")},
                       {"uid", text(lease, "uid")},
                       {"subject", text(lease, "subject")},
                       {"connectors", joined(lease.if_contains("connectors"))},
                       {"operations", joined(lease.if_contains("operations"))},
                       {"repositories", repositories(lease)},
                       {"refs", references(lease)},
                       {"labels", joined(lease.if_contains("labels"))},
                       {"configurations", joined(lease.if_contains("configurations"))},
                       {"opened", text(lease, "opened")},
                       {"expires", text(lease, "expires")},
                       {"pid", text(lease, "pid")},
                       {"cgroup", text(lease, "cgroup")},
                       {"origins", joined(lease.if_contains("origins"))},
                       {"credential store", text(lease, "credential_store")},
                       {"proxy url", text(lease, "proxy_url")},
                       {"seen at", text(lease, "seen_at")}});
}

std::string to_environment(const ControlClient& client, const json::object& lease, Via via) {
  const LeaseView view = lease_view(lease);
  Variables variables = lease_variables(view, via, own_variable);
  if (lease.contains("credential_store")) add_only_helper(variables, own_helper(), own_variable);
  add_socket(variables, client.socket(), client::default_socket());
  // Another user's git is configured elsewhere, and its view is closed to us.
  if (view.has("gitconfig") && text(lease, "uid") == std::to_string(::geteuid()))
    warn_of_rewrites(view.place(), via, merged(environ, variables));
  return export_lines(variables);
}

gid_t group_of(uid_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry == nullptr ? static_cast<gid_t>(uid) : entry->pw_gid;
}

// Quoted words of one line, for: eval "podman run $(...) IMAGE"
std::string to_container(const json::object& lease, Via via, Engine engine) {
  if (lease.contains("credential_store")) throw UsageError(kHelperIsOutside);
  const auto uid = lease.at("uid").to_number<uid_t>();
  const ContainerLease inside{.view = lease_view(lease), .uid = uid, .gid = group_of(uid)};
  std::string line;
  for (const auto& option : container_options(inside, via, engine == Engine::podman && ::geteuid() != 0))
    line.append(line.empty() ? "" : " ").append(shell_quoted(option));
  return line + "\n";
}

std::string to_text(const ControlClient& client, const json::object& lease, Via via, Format format) {
  switch (format) {
    case Format::text:
      return text(lease, "path") + "\n";
    case Format::env:
      return to_environment(client, lease, via);
    case Format::podman:
      return to_container(lease, via, Engine::podman);
    case Format::docker:
      return to_container(lease, via, Engine::docker);
    case Format::json:
      return json::serialize(lease) + "\n";
  }
  return {};
}

}  // namespace

int lease_open(const ControlClient& client, const LeaseOptions& options, Via via, Format format) {
  const json::object lease = client.open_lease(lease_request(options));
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error to handle, not the end of this process
  try {
    if (!options.credential_store.empty()) warn_of_missing_helper(options.credential_store, merged(environ, {}));
    print(to_text(client, lease, via, format));
  } catch (...) {
    client.close_lease(text(lease, "id"));  // nobody would know of it
    throw;
  }
  return 0;
}

int lease_close(const ControlClient& client, const std::string& id, bool keep) {
  if (keep) client.hand_over_credentials(id, keeping_lease(id));
  client.close_lease(id);
  return 0;
}

int lease_list(const ControlClient& client, Format format) {
  json::array leases = client.list_leases();
  if (format == Format::json) {
    print(json::object{{"leases", std::move(leases)}});
    return 0;
  }
  std::vector<Row> rows = {{"ID", "UID", "CONNECTORS", "OPERATIONS", "EXPIRES", "LABELS"}};
  for (const auto& value : leases) {
    const auto& lease = value.as_object();
    rows.push_back({text(lease, "id"), text(lease, "uid"), joined(lease.if_contains("connectors")),
                    joined(lease.if_contains("operations")), text(lease, "expires"),
                    joined(lease.if_contains("labels"))});
  }
  print(format_table(rows));
  return 0;
}

int lease_show(const ControlClient& client, const std::string& id, Via via, Format format) {
  const json::object lease = client.show_lease(id);
  print(format == Format::text ? describe(lease) : to_text(client, lease, via, format));
  return 0;
}

}  // namespace mintfs::cli
