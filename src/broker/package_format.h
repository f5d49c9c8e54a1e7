// The formats of packages that a server of many keeps apart by repository (nexus, jfrog), as far as files of the
// view are for their clients.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mintfs::broker {

enum class PackageFormat : std::uint8_t { npm, pypi, maven, cargo };

inline constexpr std::array kPackageFormats = {PackageFormat::npm, PackageFormat::pypi, PackageFormat::maven,
                                               PackageFormat::cargo};

// As it is written in the configuration.
std::string_view to_string(PackageFormat format) noexcept;

// Whether it can name a repository of such a server: 1 to 255 letters, digits, '-', '_' and '.', a letter or
// digit first. So it is one segment of a path, and needs no quoting anywhere.
bool is_repository_key(std::string_view name) noexcept;

}  // namespace mintfs::broker
