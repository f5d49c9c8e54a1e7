// Where a job finds what is served to it, when that is not where this machine does: in a container, or in another
// network.
#pragma once

#include "broker/config.h"

#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

// Whether a view may be said to be seen at this path: absolute, in its one spelling, not the root, up to 255 of
// letters, digits and "-._~@+/", which every format and every shell takes as they are.
bool is_seen_path(std::string_view path) noexcept;

// The URLs beside the proxy's own that a lease may name: those of [proxy] other_urls, and where the proxy
// listens. Not an address that stands for all: to a client it is none.
std::vector<std::string> other_urls(const std::vector<std::string>& configured,
                                    const std::vector<ListenAddress>& listen);

}  // namespace mintfs::broker
