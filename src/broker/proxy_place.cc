#include "broker/proxy_place.h"

namespace mintfs::broker {
namespace {

// Takes "word/" from the front; false where something else stands there.
bool take(std::string_view& path, std::string_view word) {
  if (!path.starts_with(word) || path.substr(word.size()).empty() || path[word.size()] != '/') return false;
  path.remove_prefix(word.size() + 1);
  return true;
}

std::string_view take_segment(std::string_view& path) {
  const std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(std::min(path.size(), segment.size() + 1));
  return segment;
}

}  // namespace

bool is_at_proxy(std::string_view proxy, const CredentialPattern& where) {
  if (!where.protocol || !where.host) return false;
  const auto ours = Address::parse(proxy);
  const auto asked = Address::parse(*where.protocol + "://" + *where.host);
  // A port with more behind it ("8418.example") is read as the beginning of a path.
  return ours && asked && asked->prefix.empty() && ours->origin() == asked->origin();
}

std::optional<ConnectorName> connector_at(std::string_view proxy, const CredentialPattern& where, const Lease& lease) {
  if (!where.path || where.path->empty()) {
    if (lease.connectors.size() != 1) return std::nullopt;
    return lease.connectors.front();
  }
  std::string_view path = *where.path;
  const auto ours = Address::parse(proxy);
  if (!ours || (!ours->prefix.empty() && !take(path, std::string_view(ours->prefix).substr(1)))) return std::nullopt;
  if (!take(path, "namespaces")) return std::nullopt;
  const std::string space(take_segment(path));
  if (!take(path, "connectors")) return std::nullopt;
  auto name = ConnectorName::parse(space + "/" + std::string(take_segment(path)));
  if (!name || !lease.serves(*name)) return std::nullopt;
  return name;
}

}  // namespace mintfs::broker
