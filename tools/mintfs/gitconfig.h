// What a program that speaks to the proxy itself needs of a generated gitconfig.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mintfs::cli {

struct ProxyAccess {
  std::string url;            // of the first connector on the proxy, with a trailing slash
  std::string authorization;  // the value of its Authorization header: a secret of the lease
};

// Reads the first [http "URL"] section with an Authorization header; nothing when there is none.
std::optional<ProxyAccess> find_proxy_access(std::string_view gitconfig);

}  // namespace mintfs::cli
