// What another program says.
#pragma once

#include <string>
#include <vector>

namespace mintfs::cli {

// Runs `command` (found in PATH) with `environment`, without input and with its errors unseen, and waits for its end.
// What it prints; empty when it cannot be run.
std::string output_of(const std::vector<std::string>& command, const std::vector<std::string>& environment);

}  // namespace mintfs::cli
