// Files of a view that the administrator defines: a Mustache template, expanded for a lease.
//
// Mustache (https://mustache.github.io, the header-only library of Debian's libkainjow-mustache-dev) because it
// has no logic: a template names what it is given, loops over connectors, and can call, read and include
// nothing. What it is given is what the job may see anyway; no real credential is among it. Which names there
// are is checked when the configuration is read, so a misspelt one is an error then and not an empty place.
#pragma once

#include "broker/connector_class.h"
#include "broker/error.h"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

// How {{name}} is written; {{{name}}} is as it is.
enum class Escape { none, json, xml };

struct FileConfig {
  std::string name;                     // as a lease names it
  std::string path;                     // in the view: "dir/file"
  std::string text;                     // the template
  std::string variable;                 // of the environment, points at the file; or empty
  std::vector<ConnectorClass> classes;  // for connectors of these alone; empty: of all
  Escape escape = Escape::none;

  bool is_for(ConnectorClass connector_class) const;
};

using FileConfigPtr = std::shared_ptr<const FileConfig>;
using FileConfigs = std::map<std::string, FileConfigPtr>;  // by name
using FileConfigsPtr = std::shared_ptr<const FileConfigs>;

inline constexpr std::size_t kMaxFileConfigs = 256;
inline constexpr std::size_t kMaxTemplate = 64 * 1024;
inline constexpr std::size_t kMaxExpanded = 128 * 1024;

// What is wrong with a template, as a clause; nothing where it is good.
std::optional<std::string> find_fault(std::string_view text);

// Where a file may not be: up to 7 names of letters, digits, '.', '_' and '-', and nobody else's place.
std::optional<std::string> find_fault_in_path(std::string_view path);
// Whether one of two files would have to be a directory, or both are the same.
bool are_in_each_others_way(std::string_view path, std::string_view other);

struct FileScene {
  struct Connector {
    std::string name, space, label, class_name, url, address, host;
    std::string token, basic;  // stand for what is filled in later; never escaped
  };
  std::string proxy_url, proxy_host, lease, authorities;
  std::vector<Connector> connectors;
};

// `too_many` where it is over kMaxExpanded. `is_mark` tells the values that are never escaped.
Result<std::string> expand(const FileConfig& file, const FileScene& scene,
                           const std::function<bool(std::string_view)>& is_mark);

}  // namespace mintfs::broker
