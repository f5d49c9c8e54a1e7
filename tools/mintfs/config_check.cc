#include "mintfs/address_check.h"
#include "mintfs/allow_check.h"
#include "mintfs/commands.h"
#include "mintfs/secret_check.h"

#include <boost/json.hpp>

#include <algorithm>
#include <cstdio>

namespace mintfs::cli {
namespace {

std::string proxy_of(const broker::Config& config) {
  return config.proxy.url.empty() ? config.proxy.listen.front().text() : config.proxy.url;
}

int print_report(const std::filesystem::path& file, const broker::Config& config, const std::vector<Finding>& findings,
                 bool good) {
  for (const auto& finding : findings)
    if (finding.state != Finding::State::ok)
      std::fprintf(stderr, "mintfs: %s: %s: %s\n", to_string(finding.state), finding.subject.c_str(),
                   finding.sentence.c_str());
  if (!good) return 1;
  print(file.string() + ": ok, " + std::to_string(config.connectors.size()) +
        (config.connectors.size() == 1 ? " connector" : " connectors") + ", proxy at " + proxy_of(config) + "\n");
  return 0;
}

}  // namespace

int config_check(const std::filesystem::path& file, Format format) {
  std::vector<Finding> findings;
  broker::Config config;
  try {
    config = broker::load_config(file);
  } catch (const broker::ConfigError& error) {
    if (format != Format::json) throw;  // it says all there is to say
    findings.push_back({Finding::State::fail, "configuration", error.what()});
  }
  for (auto& finding : check_named_files(config)) findings.push_back(std::move(finding));
  for (auto& finding : check_allowed(config)) findings.push_back(std::move(finding));
  for (auto& finding : check_addresses(config)) findings.push_back(std::move(finding));
  const auto failed = [](const Finding& finding) { return finding.state == Finding::State::fail; };
  const bool good = std::none_of(findings.begin(), findings.end(), failed);
  if (format != Format::json) return print_report(file, config, findings, good);

  boost::json::array checks;
  for (const auto& finding : findings) checks.push_back(to_json(finding));
  print(boost::json::object{{"ok", good}, {"connectors", config.connectors.size()}, {"checks", std::move(checks)}});
  return good ? 0 : 1;
}

}  // namespace mintfs::cli
