// A registry of images (OCI distribution specification). A repository is an image's name: "acme/app".
//
// Nothing beside "/v2/<name>/..." is let through: a registry's token service would hand out a token of the
// stored account.
#include "proxy/services/segments.h"
#include "proxy/services/service.h"

#include <algorithm>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Reach;

bool is_word(std::string_view text) {
  const auto good = [](char c) {
    return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '=' || c == ':' || c == '+';
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), good);
}

// Lower-case components; none that could be taken for the part behind a name.
bool is_image(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.ends_with('/')) return false;
  while (!name.empty()) {
    const std::string_view component = take_first(name);
    const auto good = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    };
    if (component.empty() || !is_letter_or_digit(component.front()) ||
        !std::all_of(component.begin(), component.end(), good))
      return false;
    for (const std::string_view own : {"manifests", "blobs", "tags", "referrers"})
      if (component == own) return false;
  }
  return true;
}

bool take_end(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

// Takes what stands behind the image's name off `path`; false where it is none of the known endpoints.
bool take_endpoint(std::string_view& path, bool& reads_only) {
  reads_only = false;
  if (take_end(path, "/blobs/uploads/") || take_end(path, "/blobs/uploads")) return true;
  reads_only = true;
  if (take_end(path, "/tags/list")) return true;
  std::string_view rest = path;
  const std::string_view last = take_last(rest);
  if (!is_word(last)) return false;
  path = rest;
  if (take_end(path, "/referrers")) return true;
  reads_only = false;
  return take_end(path, "/manifests") || take_end(path, "/blobs/uploads") || take_end(path, "/blobs");
}

}  // namespace

bool mounts(const Target& target) noexcept {
  if (!target.has_query || !(target.path.ends_with("/blobs/uploads/") || target.path.ends_with("/blobs/uploads")))
    return false;
  for (std::string_view rest = target.query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const std::string_view name = pair.substr(0, pair.find('='));
    // Any spelling that is none of those that upload at once: "digest", "digest-algorithm".
    if (!name.starts_with("digest")) return true;
  }
  return false;
}

error_code classify_oci(Method method, const Target& target, ServiceRequest& out) {
  out = {};
  const auto operation = usual_operation(method);
  std::string_view path = target.path;
  if (!path.starts_with("/v2/") || !operation) return Errc::operation_denied;
  out.kind = ServiceRequest::Kind::artifact;
  out.links = Links::location;
  out.operation = *operation;
  path.remove_prefix(3);
  bool reads_only = true;
  if (path == "/") {
    out.reach = Reach::protocol;
  } else if (path == "/_catalog") {
    out.reach = Reach::everything;
  } else {
    if (!take_endpoint(path, reads_only)) return Errc::operation_denied;
    out.repository = path.substr(std::min<std::size_t>(1, path.size()));
    out.reach = Reach::repository;
    if (!is_image(out.repository)) return Errc::request_malformed;
  }
  return reads_only && !reads(method) ? Errc::operation_denied : error_code();
}

}  // namespace mintfs::proxy
