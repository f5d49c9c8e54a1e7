#include "mintfs/output.h"

#include <boost/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace mintfs::cli {
namespace {

// https://no-color.org
bool shows_colours() {
  const char* refused = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && (refused == nullptr || *refused == '\0') && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

const char* colour(Finding::State state) {
  switch (state) {
    case Finding::State::ok:
      return "\033[32m";
    case Finding::State::warn:
      return "\033[33m";
    case Finding::State::fail:
      return "\033[31m";
  }
  return "";
}

}  // namespace

void print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) throw std::runtime_error("cannot write to standard output");
}

void print(const boost::json::object& object) { print(boost::json::serialize(object) + "\n"); }

void print(const Finding& finding) {
  std::string word = to_string(finding.state);
  const std::string gap(6 - word.size(), ' ');
  if (shows_colours()) word = colour(finding.state) + word + "\033[0m";
  std::string text = word + gap + finding.subject + ": " + finding.sentence + "\n";
  if (!finding.remedy.empty()) text += "      -> " + finding.remedy + "\n";
  print(text);
}

boost::json::object to_json(const Finding& finding) {
  return {{"state", to_string(finding.state)},
          {"subject", finding.subject},
          {"sentence", finding.sentence},
          {"remedy", finding.remedy}};
}

}  // namespace mintfs::cli
