#include "broker/package_format.h"

#include <algorithm>

namespace mintfs::broker {

std::string_view to_string(PackageFormat format) noexcept {
  switch (format) {
    case PackageFormat::npm:
      return "npm";
    case PackageFormat::pypi:
      return "pypi";
    case PackageFormat::maven:
      return "maven";
    case PackageFormat::cargo:
      return "cargo";
  }
  return "unknown";
}

bool is_repository_key(std::string_view name) noexcept {
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const auto good = [&](char c) { return word(c) || c == '-' || c == '_' || c == '.'; };
  return !name.empty() && name.size() <= 255 && word(name.front()) && std::all_of(name.begin(), name.end(), good);
}

}  // namespace mintfs::broker
