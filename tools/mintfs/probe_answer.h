// What the proxy's answer to a probe tells about a connector. Pure.
#pragma once

#include "mintfs/finding.h"

#include <string>
#include <string_view>
#include <vector>

namespace mintfs::cli {

// A repository to ask for when none was named: one that the patterns give, if possible one that is there.
std::string repository_to_probe(const std::vector<std::string>& patterns);

// `body` of an error of the proxy itself is "mintfs: <reason-word>: <sentence>".
Finding interpret_probe(std::string_view connector, std::string_view repository, unsigned status,
                        std::string_view body);

}  // namespace mintfs::cli
