#include "mintfs/probe.h"

#include "broker/config.h"
#include "broker/policy.h"
#include "client/http.h"
#include "mintfs/gitconfig.h"
#include "mintfs/probe_answer.h"

#include <boost/json.hpp>
#include <boost/system/system_error.hpp>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>

namespace mintfs::cli {
namespace {

namespace json = boost::json;
using client::text;

constexpr std::chrono::seconds kDeadline{30};
constexpr std::size_t kAnswerSize = 64 * 1024;  // the beginning tells

std::vector<std::string> patterns_of(const json::object& connector) {
  std::vector<std::string> patterns;
  if (const auto* value = connector.if_contains("repositories"); value != nullptr && value->is_array())
    for (const auto& each : value->get_array()) patterns.emplace_back(each.as_string());
  return patterns;
}

Finding failure(const std::string& name, std::string sentence, std::string remedy) {
  return {.state = Finding::State::fail,
          .subject = "connector " + name,
          .sentence = std::move(sentence),
          .remedy = std::move(remedy)};
}

Finding ask_proxy(const std::string& name, const std::string& repository, const std::filesystem::path& gitconfig) {
  std::ifstream file(gitconfig);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  if (content.empty()) return failure(name, "the file " + gitconfig.string() + " cannot be read", "mintfs doctor");
  const auto access = find_proxy_access(content);
  const auto url = access ? broker::Address::parse(access->url) : std::nullopt;
  if (!url) return failure(name, "the generated gitconfig names no proxy", "compare versions: mintfs status");
  const auto authorities = gitconfig.parent_path() / "ca.crt";
  std::error_code missing;
  try {
    const auto answer = client::ask(
        *url, {.target = url->prefix + "/" + repository + ".git/info/refs?service=git-upload-pack",
               .authorization = access->authorization,
               .ca_file = std::filesystem::exists(authorities, missing) ? authorities : std::filesystem::path(),
               .deadline = kDeadline,
               .answer_size = kAnswerSize});
    return interpret_probe(name, repository, answer.status, answer.body);
  } catch (const boost::system::system_error& error) {
    return failure(name, "the proxy at " + url->origin() + " cannot be asked: " + error.code().message(),
                   "check proxy.listen and proxy.url in mintfs.toml");
  }
}

}  // namespace

Finding probe(const client::ControlClient& client, const json::object& connector, std::string repository) {
  const std::string name = text(connector, "name");
  const auto connector_class = broker::parse_connector_class(text(connector, "class"));
  if (connector_class && !broker::serves_git(*connector_class))
    return {.state = Finding::State::warn,
            .subject = "connector " + name,
            .sentence = "was not asked: of class " + text(connector, "class") +
                        ", which has no request that all servers answer",
            .remedy = "ask with its own client: mintfs run -c " + name + " -- ..."};
  if (repository.empty()) repository = repository_to_probe(patterns_of(connector));
  repository = broker::canonical_repository(repository);
  json::object lease;
  try {
    lease = client.open_lease({{"connectors", {name}},
                               {"operations", {"fetch"}},
                               {"repositories", {repository}},
                               {"ttl", 120},
                               {"labels", {{"purpose", "check"}}},
                               {"pid", "self"}});
  } catch (const client::Refused& refusal) {
    return failure(name, refusal.what(),
                   refusal.reason() == "repository-denied"
                       ? "'mintfs connector list' shows what it gives; name one of these with --repository"
                       : "");
  }
  Finding finding = ask_proxy(name, repository, std::filesystem::path(text(lease, "path")) / ".gitconfig");
  client.close_lease(text(lease, "id"));
  return finding;
}

}  // namespace mintfs::cli
