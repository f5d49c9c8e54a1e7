// What a fuzzer asserts: the end of the process where it does not hold, in every build.
#pragma once

#include <cstdlib>

namespace mintfs {

inline void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace mintfs
