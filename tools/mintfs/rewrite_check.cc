#include "mintfs/rewrite_check.h"

#include "mintfs/program_output.h"
#include "mintfs/rewrites.h"

#include <cstdio>

namespace mintfs::cli {
namespace {

std::string to_place(const std::string& origin) {
  return origin.starts_with("command line") ? "the environment (GIT_CONFIG_COUNT)" : origin;
}

}  // namespace

std::vector<Finding> check_rewrites(const std::filesystem::path& view, Via via,
                                    const std::vector<std::string>& environment) {
  const std::string output = output_of(
      {"git", "config", "--null", "--show-origin", "--get-regexp", R"(^url\..*\.(push)?insteadof$)"}, environment);
  std::vector<Finding> findings;
  for (const auto& line : overruling(parse_rewrites(output), view))
    findings.push_back({.state = Finding::State::warn,
                        .subject = "gitconfig",
                        .sentence = std::string("the line '") + (line.push ? "pushInsteadOf" : "insteadOf") + " = " +
                                    line.spelling + "' in " + to_place(line.origin) + " wins over the lease: " +
                                    (line.push ? "such a push goes" : "git then goes") + " past mintfs",
                        .remedy = via == Via::global ? "remove it" : "remove it, or use --via global"});
  return findings;
}

void warn_of_rewrites(const std::filesystem::path& view, Via via, const std::vector<std::string>& environment) {
  for (const auto& finding : check_rewrites(view, via, environment))
    std::fprintf(stderr, "mintfs: %s; %s\n", finding.sentence.c_str(), finding.remedy.c_str());
}

}  // namespace mintfs::cli
