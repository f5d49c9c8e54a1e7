// A canonical path is its own canonical form and holds nothing that two servers read differently; a
// repository that is told from it has no dot segment and no empty one.
#include "proxy/git_service.h"
#include "proxy/path.h"
#include "proxy/rewrite.h"
#include "proxy/services/service.h"
#include "require.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

using namespace mintfs::proxy;
using mintfs::require;

namespace {

bool holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

void check_path(const std::string& path) {
  std::string again;
  require(!normalise(path, again) && again == path && path.size() <= kMaxPath);
  require(path.starts_with('/') && !holds(path, "//") && !holds(path + "/", "/../") && !holds(path + "/", "/./"));
  require(path.find_first_of(std::string_view("\\#;?\0 ", 6)) == std::string::npos);
  for (std::size_t i = path.find('%'); i != std::string::npos; i = path.find('%', i + 1)) {
    const int byte = std::stoi(path.substr(i + 1, 2), nullptr, 16);
    require(byte > 0x20 && byte < 0x7f &&
            std::string_view("/\\.%#;?").find(static_cast<char>(byte)) == std::string_view::npos);
  }
}

void check_repository(const Target& target) {
  ServiceRequest request;
  for (const Method method : {Method::get, Method::head, Method::post, Method::put}) {
    if (classify(method, target, request) || !request.repository_known()) continue;
    const std::string repository = "/" + std::string(request.repository) + "/";
    require(repository != "//" && !holds(repository, "//") && !holds(repository, "/../"));
    require(!holds(repository, "/.git/") && !holds(repository, "/info/refs/"));
  }
}

// A folded segment is a whole one of two or more, and what goes on is read as the same again.
void check_folded(const Target& target) {
  const Folded& folded = target.folded;
  require(folded.begin > 0 && folded.begin < folded.end && folded.end <= target.path.size());
  require(target.path[folded.begin - 1] == '/');
  require(folded.end == target.path.size() || target.path[folded.end] == '/');
  const std::string segment = target.path.substr(folded.begin, folded.end - folded.begin);
  require(holds(segment, "/") && !segment.ends_with('/') && !holds("/" + segment + "/", "/../"));
  const bool is_scope = folded.kind == Folded::Kind::scope;
  require(is_scope ? segment.starts_with('@') : target.path.substr(0, folded.begin) == "/api/v4/projects/");

  std::string head;
  write_request_head(
      {}, {.method = "GET", .prefix = {}, .path = target.path, .folded = folded, .query = {}, .authority = "h"}, head);
  const std::string sent = head.substr(4, head.find(' ', 4) - 4);
  Routed again;
  // What is in front may have been encoded otherwise than it goes on, and a scope stands with no other '%'.
  if (is_scope && std::count(sent.begin(), sent.end(), '%') != 1) return;
  const std::string whole = "/namespaces/a/connectors/b" + sent;
  require(!route(whole, again) && again.target.path == target.path && again.target.folded.begin == folded.begin &&
          again.target.folded.end == folded.end && again.target.folded.kind == folded.kind);
  ServiceRequest request;
  if (!is_scope && !classify_gitlab(Method::get, target, request) && !request.repository.empty())
    require(request.repository == segment && request.reach == mintfs::broker::Reach::own_page);
}

// What the router takes off the front and what it leaves is the whole; all that it may add is the "/v2" that
// registries of images have in front of the rest, all that it may read otherwise is a folded segment.
void check_routed(const Routed& routed, const std::string& whole) {
  const std::string& rest = routed.target.path;
  const std::string lead = routed.registry ? "/v2" : "";
  if (routed.registry && routed.name.empty()) return require(routed.space.empty() && rest == "/v2/");
  require(!routed.space.empty() && !routed.name.empty() && rest.starts_with(lead + "/"));
  check_path(rest.substr(lead.size()));
  check_repository(routed.target);
  if (routed.target.folded.kind != Folded::Kind::none) return check_folded(routed.target);
  const std::string names = "/namespaces/" + std::string(routed.space) + "/connectors/" + std::string(routed.name);
  require(lead + names + rest.substr(lead.size()) == whole);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Target target;
  Routed routed;
  const bool is_good = !parse_target(text, target), is_routed = !route(text, routed);
  // The bound is that of what is left; what is before it has at most 153 characters.
  require(is_good || !is_routed || routed.target.folded.kind != Folded::Kind::none ||
          routed.target.path.size() + 153 > kMaxPath || text.size() > kMaxPath);
  if (is_good) {
    check_path(target.path);
    for (const char c : target.query) require(c > 0x20 && c < 0x7f && c != '#');
    check_repository(target);
  }
  if (!is_routed) return 0;
  if (is_good) require(routed.target.query == target.query && routed.target.has_query == target.has_query);
  if (is_good || routed.target.folded.kind != Folded::Kind::none) check_routed(routed, target.path);
  return 0;
}
