#include "broker/config.h"
#include "mintfs/commands.h"
#include "mintfs/probe.h"
#include "mintfs/table.h"

#include <boost/json.hpp>

namespace mintfs::cli {
namespace {

namespace json = boost::json;
using client::text;

std::string joined(const json::object& object, std::string_view member) {
  std::string list;
  for (const auto& each : object.at(json::string_view(member.data(), member.size())).as_array())
    list.append(list.empty() ? "" : ", ").append(each.as_string());
  return list;
}

}  // namespace

int connector_list(const ControlClient& client, Format format) {
  json::array connectors = client.list_connectors();
  if (format == Format::json) {
    print(json::object{{"connectors", std::move(connectors)}});
    return 0;
  }
  std::vector<Row> rows = {{"NAME", "CLASS", "ADDRESS", "OPERATIONS", "REPOSITORIES", "FOR YOU"}};
  for (const auto& value : connectors) {
    const auto& connector = value.as_object();
    const std::string repositories = joined(connector, "repositories");
    rows.push_back({text(connector, "name"), text(connector, "class"), text(connector, "address"),
                    joined(connector, "operations"), repositories.empty() ? "all" : repositories,
                    text(connector, "allowed") == "true" ? "yes" : "no"});
  }
  print(format_table(rows));
  return 0;
}

int connector_check(const ControlClient& client, const std::string& name, const std::string& repository,
                    Format format) {
  const auto wanted = broker::ConnectorName::parse(name);
  if (!wanted) throw UsageError("'" + name + "' is not a connector's name; see 'mintfs connector list'");
  if (!repository.empty() &&
      (!broker::RepositoryPattern::is_valid(repository) || repository.find('*') != std::string::npos))
    throw UsageError("--repository: '" + repository + "' is not a repository like 'owner/name'");
  for (const auto& value : client.list_connectors()) {
    const auto& connector = value.as_object();
    if (text(connector, "name") != wanted->text()) continue;
    const Finding finding = probe(client, connector, repository);
    if (format == Format::json)
      print(to_json(finding));
    else
      print(finding);
    return finding.state == Finding::State::fail ? 1 : 0;
  }
  throw std::runtime_error("no connector is named '" + wanted->text() + "'; see 'mintfs connector list'");
}

}  // namespace mintfs::cli
