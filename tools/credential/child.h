// A child process that is given a text and whose answer is read, both bounded.
#pragma once

#include "broker/secret.h"

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace mintfs::credential {

struct Answered {
  bool ended = false;  // by itself, in time
  int status = 0;      // of exit(3); -1 for a signal
  broker::Secret output{};
};

// `command[0]` is looked for in PATH. The child has `environment` ("NAME=value") and our standard error, and is killed
// when it takes longer than `patience`, says more than `most` bytes, or we end. Throws std::system_error.
Answered ask_child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                   const broker::Secret& input, std::size_t most, std::chrono::seconds patience);

}  // namespace mintfs::credential
