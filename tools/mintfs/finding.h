// The result of one check.
#pragma once

#include <string>

namespace mintfs::cli {

struct Finding {
  enum class State { ok, warn, fail };
  State state = State::ok;
  std::string subject;   // what was looked at, in a word or two
  std::string sentence;  // what was found
  std::string remedy{};  // what to do or to type; empty where there is nothing to do
};

inline const char* to_string(Finding::State state) {
  switch (state) {
    case Finding::State::ok:
      return "ok";
    case Finding::State::warn:
      return "warn";
    case Finding::State::fail:
      return "fail";
  }
  return "fail";
}

}  // namespace mintfs::cli
