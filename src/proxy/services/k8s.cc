// The API of Kubernetes. A repository is a namespace; what is in none is for who has the right to all.
//
// What would give the job a credential that outlives its lease is refused whatever the rights: tokens of
// service accounts, certificates. Commands in pods come as GET and change what they like: they are pushes.
#include "proxy/services/segments.h"
#include "proxy/services/service.h"

#include <algorithm>
#include <vector>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Operation;
using broker::Reach;

using Segments = std::vector<std::string_view>;

Segments split(std::string_view path) {
  Segments segments;
  path.remove_prefix(1);
  if (path.ends_with('/')) path.remove_suffix(1);
  while (!path.empty()) segments.push_back(take_first(path));
  return segments;
}

bool is_namespace(std::string_view name) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), good);
}

// What a client asks to learn what the server can do.
bool is_discovery(const Segments& path) {
  const std::string_view first = path.empty() ? std::string_view() : path[0];
  if (first == "version" || first == "healthz" || first == "livez" || first == "readyz") return true;
  if (first == "openapi") return true;
  return (first == "api" && path.size() <= 2) || (first == "apis" && path.size() <= 3);
}

bool commands(std::string_view subresource) {
  return subresource == "exec" || subresource == "attach" || subresource == "portforward" || subresource == "proxy";
}

// "selfsubjectaccessreviews": what the stored account may do.
bool asks_about_itself(const Segments& path) {
  return path.size() == 4 && path[0] == "apis" && path[1] == "authorization.k8s.io" &&
         path[3].starts_with("selfsubject");
}

}  // namespace

error_code classify_k8s(Method method, std::string_view path, ServiceRequest& out) {
  out = {};
  const auto operation = usual_operation(method);
  if (!operation) return Errc::operation_denied;
  out.kind = ServiceRequest::Kind::artifact;
  out.operation = *operation;
  out.reach = Reach::everything;
  const Segments segments = split(path);
  if (reads(method) && is_discovery(segments)) {
    out.reach = Reach::protocol;
    return {};
  }
  if (method == Method::post && asks_about_itself(segments)) {
    out.operation = Operation::fetch;
    out.reach = Reach::protocol;
    return {};
  }
  const bool core = segments.size() > 1 && segments[0] == "api";
  const bool group = segments.size() > 2 && segments[0] == "apis";
  if (!core && !group) return Errc::operation_denied;
  if (group && !reads(method) && (segments[1] == "certificates.k8s.io" || segments[1] == "authentication.k8s.io"))
    return Errc::operation_denied;
  // ".../namespaces/<name>/<resource>/<name>/<subresource>"
  const std::size_t at = core ? 2 : 3;
  if (segments.size() <= at + 1 || segments[at] != "namespaces") {
    // "nodes/<name>/proxy" leads to whatever listens there.
    if (segments.size() > at + 2 && commands(segments[at + 2])) out.operation = Operation::push;
    return {};
  }
  out.repository = segments[at + 1];
  if (!is_namespace(out.repository)) return Errc::request_malformed;
  out.reach = Reach::repository;
  if (segments.size() <= at + 4) return {};
  if (segments[at + 2] == "serviceaccounts") return Errc::operation_denied;
  if (commands(segments[at + 4])) out.operation = Operation::push;
  return {};
}

}  // namespace mintfs::proxy
