// Arguments and environment as execve(2) takes them.
#pragma once

#include <string>
#include <vector>

namespace mintfs::broker {

// Null at the end; valid as long as `texts`, which nobody changes through it.
inline std::vector<char*> exec_vector(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace mintfs::broker
