// The files of git. Several connectors keep the order of one: all `http` sections, `credential` once, all
// `url` sections, each in the order of the lease.
#include "broker/claims.h"
#include "fs/render.h"
#include "fs/text.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace mintfs::fs {
namespace {

bool needs_quotes(std::string_view value) {
  if (value.empty()) return false;
  if (value.front() == ' ' || value.back() == ' ') return true;
  return std::any_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '#' || c == ';';
  });
}

// Writes the syntax of git-config(1), which has two kinds of quoting.
class Writer {
 public:
  explicit Writer(Text& out) : out_(out) {}

  void comment(std::string_view text) {
    out_.refuse_if(text.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos);
    out_.raw("# ").raw(text).raw("\n");
  }

  // Subsections know no escape but \" and \\; a newline or NUL cannot be written at all.
  void section(std::string_view name, std::string_view subsection) {
    out_.refuse_if(subsection.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos);
    out_.raw("[").raw(name).raw(" \"");
    for (const char& c : subsection) {
      if (c == '"' || c == '\\') out_.raw("\\");
      out_.raw({&c, 1});
    }
    out_.raw("\"]\n");
  }

  void entry(std::string_view key, std::string_view value) {
    out_.refuse_if(value.find('\0') != std::string_view::npos);
    out_.raw("\t").raw(key).raw(value.empty() ? " =" : " = ");
    if (needs_quotes(value))
      quoted(value);
    else
      out_.raw(value);
    out_.raw("\n");
  }

 private:
  void quoted(std::string_view value) {
    out_.raw("\"");
    for (const char& c : value) {
      if (c == '\n')
        out_.raw("\\n");
      else if (c == '\t')
        out_.raw("\\t");
      else if (c == '\b')
        out_.raw("\\b");
      else if (c == '"' || c == '\\')
        out_.raw("\\").raw({&c, 1});
      else
        out_.raw({&c, 1});  // CR too: only one that ends a line would be dropped, and the quote ends this one
    }
    out_.raw("\"");
  }

  Text& out_;
};

// A spelling, and who claims it.
struct Claim {
  std::size_t target;
  std::int32_t priority;
  bool contested = false;  // by another of the same priority: then it is nobody's
};
using Claims = std::unordered_map<std::string, Claim>;

void claim(Claims& claims, const std::string& spelling, std::size_t target, std::int32_t priority) {
  const auto [found, is_first] = claims.try_emplace(spelling, Claim{target, priority});
  if (is_first || found->second.target == target || found->second.priority > priority) return;
  if (found->second.priority == priority)
    found->second.contested = true;
  else
    found->second = {target, priority};
}

std::vector<std::string> spellings_of(const Target& target, const std::string& prefix) {
  auto spellings = broker::http_spellings(target.connector.address, prefix);
  // ssh has its own port and knows nothing of the path under which HTTP is served.
  for (auto& each : broker::ssh_spellings(target.connector.address, prefix)) spellings.push_back(std::move(each));
  return spellings;
}

void rewrite(Writer& out, const Targets& targets, std::size_t index, const std::string& prefix, const Claims& claims) {
  bool begun = false;
  for (const std::string& spelling : spellings_of(targets[index], prefix)) {
    const Claim& claim = claims.at(spelling);
    if (claim.target != index || claim.contested) continue;
    if (!std::exchange(begun, true)) out.section("url", targets[index].url + prefix);
    out.entry("insteadOf", spelling);
  }
}

}  // namespace

void render_gitconfig(Text& text, const Scene& scene, const Proxy& proxy, const Targets& targets) {
  std::vector<std::vector<std::string>> prefixes;  // by target; none: the whole host
  std::size_t text_by_prefix = 0;
  for (const Target& target : targets) {
    prefixes.push_back(broker::prefixes_of(broker::repository_rights(scene.lease.rights, target.connector)));
    for (const auto& prefix : prefixes.back())
      text_by_prefix += target.url.size() + 4 * target.connector.address.text().size() + 5 * prefix.size() + 100;
  }
  if (text_by_prefix > kMaxTextByPrefix)
    for (auto& each : prefixes) each.clear();

  Writer out(text);
  out.comment("mintfs lease " + scene.lease.id + ": generated at each open, do not copy.");
  for (const Target& target : targets) {
    out.section("http", target.url);
    out.entry("extraHeader", "");
    text.raw("\textraHeader = Authorization: Basic ");
    text.token(target.index, target.token_size, Template::Form::basic).raw("\n");
    out.entry("followRedirects", "false");
    // Neither http.proxy nor http_proxy, ALL_PROXY and the like: the token goes to our proxy alone.
    out.entry("proxy", "");
  }
  if (!scene.authorities.empty()) {
    out.section("http", proxy.url);
    out.entry("sslCAInfo", scene.authorities);
  }
  out.section("credential", proxy.url);
  out.entry("helper", "");
  Claims claims;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (prefixes[i].empty()) prefixes[i].emplace_back();  // the whole host
    for (const auto& prefix : prefixes[i])
      for (const auto& spelling : spellings_of(targets[i], prefix))
        claim(claims, spelling, i, targets[i].connector.priority);
  }
  for (std::size_t i = 0; i < targets.size(); ++i)
    for (const auto& prefix : prefixes[i]) rewrite(out, targets, i, prefix, claims);
}

// A line names no path: git asks for one of its own, which no line has, where credential.useHttpPath is set.
void render_git_credentials(Text& out, const Proxy& proxy, const Targets& targets) {
  for (const Target& target : targets) {
    out.plain(proxy.scheme).raw("://").plain(target.label).raw(":").token(target.index, target.token_size);
    out.raw("@").plain(proxy.authority).raw("\n");
  }
}

}  // namespace mintfs::fs
