#include "proxy/git_service.h"

#include "proxy/message.h"

#include <algorithm>
#include <optional>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Operation;
using Kind = ServiceRequest::Kind;

bool take_suffix(std::string_view& path, std::string_view suffix) {
  if (!path.ends_with(suffix)) return false;
  path.remove_suffix(suffix.size());
  return true;
}

// Takes the last segment and its slash off `path`.
std::string_view take_last(std::string_view& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {};
  const auto segment = path.substr(slash + 1);
  path = path.substr(0, slash);
  return segment;
}

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }

bool is_object_id(std::string_view text) { return text.size() == 64 && is_hex(text); }

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Whether `segment`, followed by `next`, begins a service's part of a path.
bool begins_service(std::string_view segment, std::string_view next) {
  if (iequals(segment, ".git") || segment == "git-upload-pack" || segment == "git-receive-pack" ||
      segment == "git-upload-archive")
    return true;
  if (segment == "info") return next == "refs" || next == "lfs";
  if (segment == "gitlab-lfs") return next == "objects";
  if (segment == "objects")
    return next == "info" || next == "pack" || (next.size() == 2 && is_hex(next)) || is_object_id(next);
  return false;
}

// `path` is what stands before the service's part: "/acme/app.git".
error_code set_repository(std::string_view path, ServiceRequest& out) {
  out.repository = broker::canonical_repository(path);
  if (out.repository.empty() || path.ends_with('/')) return Errc::request_malformed;
  // As the policy sees it: "/acme/.git.git" is asked for as "acme/.git", "/acme/...git" as "acme/..".
  for (std::string_view rest = out.repository; !rest.empty();) {
    const auto segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(segment.size() + 1, rest.size()));
    if (segment == "." || segment == "..") return Errc::request_malformed;
    if (begins_service(segment, rest.substr(0, rest.find('/')))) return Errc::request_malformed;
  }
  out.base = path;
  out.reach = broker::Reach::repository;
  return {};
}

struct Form {
  Kind kind = Kind::other;
  std::string_view repository;  // before canonical_repository
};

// git-http-backend's list of plain files.
bool is_dumb(std::string_view& path) {
  if (take_suffix(path, "/HEAD")) return true;
  for (const auto name : {"/objects/info/packs", "/objects/info/alternates", "/objects/info/http-alternates"})
    if (take_suffix(path, name)) return true;
  std::string_view rest = path;
  std::string_view file = take_last(rest);
  const auto directory = take_last(rest);
  if (!take_suffix(rest, "/objects")) return false;
  bool found = false;
  if (directory == "pack") {
    found = (take_suffix(file, ".pack") || take_suffix(file, ".idx")) && file.starts_with("pack-");
    if (found) file.remove_prefix(5);
    found = found && (file.size() == 40 || file.size() == 64) && is_hex(file);
  } else {
    found = directory.size() == 2 && is_hex(directory) && (file.size() == 38 || file.size() == 62) && is_hex(file);
  }
  if (found) path = rest;
  return found;
}

// ".../info/lfs/locks", ".../locks/verify", ".../locks/<id>/unlock"
bool is_locks(std::string_view& path) {
  if (take_suffix(path, "/info/lfs/locks") || take_suffix(path, "/info/lfs/locks/verify")) return true;
  std::string_view rest = path;
  if (take_last(rest) != "unlock" || take_last(rest).empty() || !take_suffix(rest, "/info/lfs/locks")) return false;
  path = rest;
  return true;
}

// "(/info/lfs|/gitlab-lfs)?/objects/<oid>(/<size>)?(/verify)?" and ".../info/lfs/verify"
bool is_lfs_object(std::string_view& path) {
  if (take_suffix(path, "/info/lfs/verify")) return true;
  std::string_view rest = path;
  take_suffix(rest, "/verify");
  std::string_view last = take_last(rest);
  if (is_number(last) && !is_object_id(last)) last = take_last(rest);
  if (!is_object_id(last) || !take_suffix(rest, "/objects")) return false;
  if (!take_suffix(rest, "/info/lfs")) take_suffix(rest, "/gitlab-lfs");
  path = rest;
  return true;
}

Form recognise(std::string_view path) {
  if (take_suffix(path, "/info/refs")) return {Kind::advertise, path};
  if (take_suffix(path, "/git-upload-pack")) return {Kind::upload_pack, path};
  if (take_suffix(path, "/git-receive-pack")) return {Kind::receive_pack, path};
  if (take_suffix(path, "/info/lfs/objects/batch")) return {Kind::lfs_batch, path};
  if (is_locks(path)) return {Kind::lfs_locks, path};
  if (is_lfs_object(path)) return {Kind::lfs_object, path};
  if (is_dumb(path)) return {Kind::dumb, path};
  return {Kind::other, {}};
}

// The operation of info/refs; changes the kind where the client is a dumb one.
error_code read_service(const Target& target, ServiceRequest& out) {
  if (!target.has_query) {
    out.kind = Kind::dumb;
  } else if (target.query == "service=git-receive-pack") {
    out.operation = Operation::push;
  } else if (target.query != "service=git-upload-pack") {
    return Errc::request_malformed;
  }
  return {};
}

// The operation of a method on a resource; nothing where the resource does not have the method.
std::optional<Operation> operation_of(Kind kind, Method method) {
  const bool reads = method == Method::get || method == Method::head;
  const bool posts = method == Method::post;
  const auto fetch = std::optional(Operation::fetch), push = std::optional(Operation::push);
  switch (kind) {
    case Kind::advertise:
    case Kind::dumb:
    case Kind::artifact:
    case Kind::other:
      return reads ? fetch : std::nullopt;
    case Kind::upload_pack:
    case Kind::lfs_batch:
      return posts ? fetch : std::nullopt;
    case Kind::receive_pack:
      return posts ? push : std::nullopt;
    case Kind::lfs_locks:
      return reads ? fetch : posts ? push : std::nullopt;
    case Kind::lfs_object:
      return reads ? fetch : posts || method == Method::put ? push : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

bool is_lfs(Kind kind) {
  switch (kind) {
    case Kind::lfs_batch:
    case Kind::lfs_locks:
    case Kind::lfs_object:
      return true;
    case Kind::advertise:
    case Kind::upload_pack:
    case Kind::receive_pack:
    case Kind::dumb:
    case Kind::artifact:
    case Kind::other:
      return false;
  }
  return false;
}

error_code classify(Method method, const Target& target, ServiceRequest& out) {
  const Form form = recognise(target.path);
  out = {.kind = form.kind};
  if (form.kind != Kind::other)
    if (const auto error = set_repository(form.repository, out)) return error;
  const auto operation = operation_of(form.kind, method);
  if (!operation) return Errc::operation_denied;
  out.operation = *operation;
  if (form.kind == Kind::advertise) return read_service(target, out);
  const bool queries = form.kind == Kind::lfs_locks || form.kind == Kind::lfs_object || form.kind == Kind::other;
  if (target.has_query && !queries) return Errc::request_malformed;
  return {};
}

}  // namespace mintfs::proxy
