#include "proxy/services/segments.h"

#include <algorithm>

namespace mintfs::proxy {

using broker::Operation;

std::optional<Operation> usual_operation(Method method) noexcept {
  switch (method) {
    case Method::get:
    case Method::head:
      return Operation::fetch;
    case Method::post:
    case Method::put:
    case Method::patch:
    case Method::del:
      return Operation::push;
    case Method::other:
      return std::nullopt;
  }
  return std::nullopt;
}

std::string_view take_first(std::string_view& path) noexcept {
  const std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(std::min(segment.size() + 1, path.size()));
  return segment;
}

std::string_view take_last(std::string_view& path) noexcept {
  const std::size_t slash = path.rfind('/');
  const std::string_view segment = slash == std::string_view::npos ? path : path.substr(slash + 1);
  path.remove_suffix(slash == std::string_view::npos ? path.size() : segment.size() + 1);
  return segment;
}

}  // namespace mintfs::proxy
