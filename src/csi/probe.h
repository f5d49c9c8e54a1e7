// Whether a driver answers: the other side of its identity service, for who watches over it.
#pragma once

#include <chrono>
#include <filesystem>

namespace mintfs::csi {

// Returns when the driver at `socket` has answered, were it that it has too much to do. Throws std::runtime_error with
// the reason when nobody answers within `patience`.
void probe(const std::filesystem::path& socket, std::chrono::milliseconds patience);

}  // namespace mintfs::csi
