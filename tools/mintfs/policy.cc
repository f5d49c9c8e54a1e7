#include "mintfs/commands.h"
#include "mintfs/table.h"

#include <boost/json.hpp>

namespace mintfs::cli {
namespace {

namespace json = boost::json;
using client::text;

json::object to_json(const PolicyOptions& options) {
  json::object question = {
      {"connector", options.connector}, {"repository", options.repository}, {"operation", options.operation}};
  if (!options.lease.empty()) question["lease"] = options.lease;
  if (!options.reference.empty()) question["ref"] = options.reference;
  if (!options.change.empty()) question["change"] = options.change;
  return question;
}

std::string describe(const json::object& answer, bool allowed) {
  std::string said = allowed ? "allowed\n" : "refused: " + text(answer, "detail") + "\n";
  if (text(answer, "refs_open") == "true") said += "Which references may be changed is restricted; name one to ask.\n";
  std::vector<Row> rows = {{"RULE", "ANSWER", "PATTERN"}};
  for (const auto& value : answer.at("steps").as_array()) {
    const auto& step = value.as_object();
    rows.push_back({text(step, "rule"), text(step, "allowed") == "true" ? "yes" : "no", text(step, "pattern")});
  }
  return said + format_table(rows);
}

}  // namespace

int policy_test(const ControlClient& client, const PolicyOptions& options, Format format) {
  const json::object answer = client.test_policy(to_json(options));
  const bool allowed = text(answer, "allowed") == "true";
  print(format == Format::json ? json::serialize(answer) + "\n" : describe(answer, allowed));
  return allowed ? 0 : 1;
}

}  // namespace mintfs::cli
