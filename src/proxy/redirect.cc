#include "proxy/redirect.h"

#include "proxy/message.h"
#include "proxy/path.h"

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>

namespace mintfs::proxy {
namespace {

namespace urls = boost::urls;

bool is_same_origin(const urls::url& url, const broker::Address& upstream) {
  if (url.has_userinfo() || !iequals(url.scheme(), upstream.scheme)) return false;
  if (!iequals(url.host_address(), upstream.host)) return false;
  if (!url.has_port() || url.port().empty()) return upstream.port == (upstream.tls() ? 443 : 80);
  return url.port_number() == upstream.port;
}

// Boost.URL decodes "%2e" and "%2f" before it removes dot segments; no two servers agree there.
bool is_plain(std::string_view path) {
  std::string segment, canonical;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    segment.assign("/").append(path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (segment != "/." && segment != "/.." && normalise(segment, canonical)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> resolve_redirect(const broker::Address& upstream, std::string_view current_path,
                                            std::string_view location) {
  if (location.empty() || location.size() > kMaxPath + kMaxQuery) return std::nullopt;
  const std::string base_text = upstream.text() + std::string(current_path);
  const auto base = urls::parse_uri(base_text);
  const auto reference = urls::parse_uri_reference(location);
  urls::url url;
  if (!base || !reference || !is_plain(std::string_view(reference->encoded_path()))) return std::nullopt;
  if (!urls::resolve(*base, *reference, url)) return std::nullopt;
  if (!is_same_origin(url, upstream)) return std::nullopt;

  std::string resource(url.encoded_path());
  if (resource.empty()) resource = "/";
  if (url.has_query()) resource.append("?").append(std::string_view(url.encoded_query()));
  Target target;
  std::string prefix;
  if (parse_target(resource, target)) return std::nullopt;
  if (!upstream.prefix.empty() && normalise(upstream.prefix, prefix)) return std::nullopt;

  // "/git" is below "/git", "/github" is not.
  std::string_view below = target.path;
  if (!below.starts_with(prefix)) return std::nullopt;
  below.remove_prefix(prefix.size());
  if (below.empty()) below = "/";
  if (!below.starts_with('/')) return std::nullopt;
  std::string out(below);
  if (target.has_query) out.append("?").append(target.query);
  return out;
}

std::optional<broker::Address> foreign_origin(const broker::Address& upstream, std::string_view link) {
  const std::string base_text = upstream.origin() + "/";
  const auto base = urls::parse_uri(base_text);
  const auto reference = urls::parse_uri_reference(link);
  urls::url url;
  if (!base || !reference || !urls::resolve(*base, *reference, url) || url.has_userinfo()) return std::nullopt;
  if (is_same_origin(url, upstream)) return std::nullopt;
  return broker::Address::parse(std::string(url.scheme()) + "://" +
                                std::string(std::string_view(url.encoded_authority())));
}

}  // namespace mintfs::proxy
