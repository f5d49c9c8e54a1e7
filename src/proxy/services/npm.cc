// The registry of npm, as npm, yarn and pnpm ask it. A repository is a package: "name" or "@scope/name".
#include "proxy/services/segments.h"
#include "proxy/services/service.h"

#include <algorithm>
#include <array>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Operation;
using broker::Reach;

constexpr std::size_t kMaxName = 214;

bool is_name(std::string_view name) {
  const auto good = [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '~'; };
  // What begins with one of these is the registry's own.
  return !name.empty() && name.size() <= kMaxName && std::string_view("-_.").find(name.front()) == name.npos &&
         std::all_of(name.begin(), name.end(), good);
}

error_code about(ServiceRequest& out, Reach reach, std::optional<Operation> operation) {
  if (!operation) return Errc::operation_denied;
  out.kind = ServiceRequest::Kind::artifact;
  out.reach = reach;
  out.operation = *operation;
  return {};
}

// What stands below "/-/".
error_code classify_own(Method method, std::string_view rest, ServiceRequest& out) {
  const auto fetch_if = [](bool good) { return good ? std::optional(Operation::fetch) : std::nullopt; };
  if (rest == "ping" || rest == "npm/v1/keys") return about(out, Reach::protocol, fetch_if(reads(method)));
  // An audit posts names and versions, and changes nothing.
  if (rest == "npm/v1/security/advisories/bulk" || rest == "npm/v1/security/audits" ||
      rest == "npm/v1/security/audits/quick")
    return about(out, Reach::protocol, fetch_if(method == Method::post));
  if (rest == "v1/search") return about(out, Reach::everything, fetch_if(reads(method)));
  constexpr std::string_view kPackage = "package/";
  if (!rest.starts_with(kPackage)) return Errc::operation_denied;  // users, tokens, organisations
  rest.remove_prefix(kPackage.size());
  out.repository = take_npm_package(rest);
  if (out.repository.empty()) return Errc::request_malformed;
  if (rest != "dist-tags" && (!rest.starts_with("dist-tags/") || std::count(rest.begin(), rest.end(), '/') != 1))
    return Errc::operation_denied;
  return about(out, Reach::repository, usual_operation(method));
}

// `rest` is what stands behind the package.
std::optional<Operation> operation_on(std::string_view rest, Method method, Links& links) {
  const bool removes = method == Method::del;
  const auto push_if = [](bool good) { return good ? std::optional(Operation::push) : std::nullopt; };
  if (rest.starts_with("-/")) return reads(method) ? Operation::fetch : push_if(removes);
  if (rest.starts_with("-rev/")) return push_if(removes || method == Method::put);
  if (rest.find('/') != std::string_view::npos) return std::nullopt;
  if (reads(method)) links = Links::packument;  // of the package, or of one version
  return reads(method) ? Operation::fetch : push_if(method == Method::put);
}

}  // namespace

std::string_view take_npm_package(std::string_view& path) noexcept {
  std::string_view rest = path;
  const std::string_view first = take_first(rest);
  std::size_t size = first.size();
  if (first.starts_with('@')) {
    const std::string_view second = take_first(rest);
    if (!is_name(first.substr(1)) || !is_name(second)) return {};
    size += 1 + second.size();
  } else if (!is_name(first)) {
    return {};
  }
  const std::string_view package = path.substr(0, size);
  if (path.size() == size + 1) return {};  // "name/"
  path = rest;
  return package;
}

error_code classify_npm(Method method, std::string_view path, ServiceRequest& out) {
  out = {};
  std::string_view rest = path.substr(1);
  if (rest.empty()) return about(out, Reach::protocol, reads(method) ? std::optional(Operation::fetch) : std::nullopt);
  if (rest.starts_with("-/")) return classify_own(method, rest.substr(2), out);
  // GitHub Packages keeps tarballs there; no version is called "@...".
  constexpr std::string_view kDownload = "download/";
  const bool download = rest.starts_with("download/@");
  if (download) rest.remove_prefix(kDownload.size());
  out.repository = take_npm_package(rest);
  if (out.repository.empty()) return Errc::request_malformed;
  if (download) return about(out, Reach::repository, reads(method) ? std::optional(Operation::fetch) : std::nullopt);
  return about(out, Reach::repository, operation_on(rest, method, out.links));
}

}  // namespace mintfs::proxy
