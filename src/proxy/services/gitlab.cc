// GitLab: git's own protocol, and of its REST API what is read of a project that the path names.
//
// An API of a project by its number, and all else, is a page of the host: a number tells nothing of whose project it
// is, and who may see all projects may ask. What is named is held to the rights of the lease, where the answer is about
// that project alone and hands out nothing that opens more: no variables of CI, no triggers, deploy tokens or runners.
#include "proxy/git_service.h"
#include "proxy/message.h"
#include "proxy/services/segments.h"
#include "proxy/services/service.h"

#include <algorithm>
#include <array>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::Reach;

// What stands behind a project's name.
constexpr std::array<std::string_view, 13> kOwn = {
    "issues",    "jobs",     "labels",         "languages",  "merge_requests", "milestones", "packages",
    "pipelines", "releases", "protected_tags", "repository", "snippets",       "wikis",
};
// Behind one of these, a credential or another project's.
constexpr std::array<std::string_view, 7> kForeign = {
    "variables", "authenticate", "links", "related_merge_requests", "closed_by", "closes_issues", "bridges",
};

bool is_own(std::string_view rest) {
  if (rest.empty()) return true;
  const std::string_view first = take_first(rest);
  if (std::find(kOwn.begin(), kOwn.end(), first) == kOwn.end()) return false;
  while (!rest.empty()) {
    const std::string_view word = take_first(rest);
    if (std::find(kForeign.begin(), kForeign.end(), word) != kForeign.end()) return false;
  }
  return true;
}

// Whether a parameter is called so that it names no other project, as "from_project_id" does, nor another user. Of
// what may be encoded, the brackets of a list are.
bool is_harmless(std::string_view name) {
  for (std::size_t at = 0; (at = name.find_first_of("%+;", at)) != std::string_view::npos; at += 3) {
    const std::string_view code = name.substr(at, 3);
    if (!iequals(code, "%5B") && !iequals(code, "%5D")) return false;
  }
  return name.find("project") == std::string_view::npos && name.find("sudo") == std::string_view::npos;
}

bool are_harmless(std::string_view query) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.find(';') != std::string_view::npos || !is_harmless(pair.substr(0, pair.find('=')))) return false;
  }
  return true;
}

}  // namespace

error_code classify_gitlab(Method method, const Target& target, ServiceRequest& out) {
  if (target.folded.kind != Folded::Kind::project) return classify(method, target, out);
  out = {};
  if (!reads(method)) return Errc::operation_denied;
  const std::string_view path = target.path;
  std::string_view rest = path.substr(target.folded.end);
  if (!rest.empty()) rest.remove_prefix(1);
  if (!is_own(rest) || !are_harmless(target.query)) return {};
  out.repository = path.substr(target.folded.begin, target.folded.end - target.folded.begin);
  out.reach = Reach::own_page;
  return {};
}

}  // namespace mintfs::proxy
