// A lease on disk: one JSON object per file, with the version of the format in it.
#pragma once

#include "broker/lease.h"

#include <filesystem>

namespace mintfs::broker {

// Everything but the key; of a lease that gateways have granted, that too. Throws std::system_error.
void write_lease_file(const std::filesystem::path& file, const Lease& lease);

// Throws std::runtime_error with a clause that says what is wrong: another version, a missing or
// malformed member, a file that is over 64 KiB or not the daemon's own.
Lease read_lease_file(const std::filesystem::path& file);

}  // namespace mintfs::broker
