// A Python package index: the simple API (PEP 503, 691), files, uploads as twine makes them.
//
// A repository is a project by its normalised name (PEP 503): lower case, '-' for every run of "-_.".
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

// Empty where it is no name.
std::string normalised(std::string_view name) {
  std::string out;
  if (name.empty() || !is_letter_or_digit(name.front()) || !is_letter_or_digit(name.back())) return out;
  for (const char c : name) {
    if (is_letter_or_digit(c)) {
      out += broker::to_lower(c);
    } else if (c != '-' && c != '_' && c != '.') {
      return {};
    } else if (out.back() != '-') {
      out += '-';
    }
  }
  return out;
}

bool starts_with_digit(std::string_view text) { return !text.empty() && text.front() >= '0' && text.front() <= '9'; }

bool take_end(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

// The project that a distribution file belongs to; empty where the file's name does not tell.
std::string project_of(std::string_view file) {
  for (const std::string_view beside : {".metadata", ".asc", ".provenance"})
    if (take_end(file, beside)) break;
  if (take_end(file, ".whl") || take_end(file, ".egg")) {
    // In these no '-' is part of a name (PEP 427); where one is, the second part would be no version.
    const std::size_t dash = file.find('-');
    if (dash == std::string_view::npos || !starts_with_digit(file.substr(dash + 1))) return {};
    return normalised(file.substr(0, dash));
  }
  bool source = false;
  for (const std::string_view end : {".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz"})
    if (!source) source = take_end(file, end);
  const std::size_t dash = file.rfind('-');
  if (!source || dash == std::string_view::npos || !starts_with_digit(file.substr(dash + 1))) return {};
  return normalised(file.substr(0, dash));
}

// ".../simple/<project>" and ".../pypi/<project>/json", ".../pypi/<project>/<version>/json"
std::string project_page(std::string_view path, Links& links) {
  std::string_view rest = path;
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const std::string_view last = take_last(rest);
  if (rest.ends_with("/simple") || rest.ends_with("/+simple")) {
    links = Links::index;
    return normalised(last);
  }
  if (last != "json") return {};
  for (int i = 0; i < 2; ++i)
    if (const std::string_view name = take_last(rest); rest.ends_with("/pypi")) return normalised(name);
  return {};
}

error_code classify_read(std::string_view path, ServiceRequest& out) {
  out.operation = Operation::fetch;
  out.reach = Reach::repository;
  if (path == "/simple" || path.ends_with("/simple/") || path == "/+simple/") {
    out.reach = Reach::everything;  // the names of all projects
    return {};
  }
  out.named = project_page(path, out.links);
  if (out.named.empty() && out.links == Links::none) {
    std::string_view rest = path;
    out.named = project_of(take_last(rest));
  }
  return out.named.empty() ? Errc::operation_denied : error_code();
}

}  // namespace

error_code classify_pypi(Method method, std::string_view path, ServiceRequest& out) {
  out = {};
  out.kind = ServiceRequest::Kind::artifact;
  if (reads(method)) return classify_read(path, out);
  // Which project it is stands in the form that is posted.
  constexpr std::array<std::string_view, 5> kUploads = {"/", "/legacy", "/legacy/", "/simple", "/simple/"};
  if (method != Method::post || std::find(kUploads.begin(), kUploads.end(), path) == kUploads.end())
    return Errc::operation_denied;
  out.operation = Operation::push;
  out.reach = Reach::everything;
  return {};
}

}  // namespace mintfs::proxy
