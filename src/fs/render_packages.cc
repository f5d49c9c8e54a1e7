// The files of package managers.
//
// Where a tool has one registry for all and others for a part, a connector whose repositories are all of
// the form "@scope/..." is for its scopes (npm, yarn), and the first of the others is for all.
#include "broker/claims.h"
#include "fs/render.h"
#include "fs/text.h"

#include <algorithm>
#include <set>

namespace mintfs::fs {
namespace {

// "acme" of "@acme/*" and "@acme/app"; empty where one of the patterns is of another form.
std::vector<std::string> scopes_of(const Scene& scene, const Target& target) {
  const auto& rights = broker::repository_rights(scene.lease.rights, target.connector);
  std::vector<std::string> scopes;
  for (const auto& pattern : rights.repositories) {
    const std::string_view text = pattern.text();
    const std::size_t slash = text.find('/');
    if (!text.starts_with('@') || slash == std::string_view::npos || slash < 2) return {};
    std::string scope(text.substr(1, slash - 1));
    if (scope.find('*') != std::string::npos) return {};
    if (std::find(scopes.begin(), scopes.end(), scope) == scopes.end()) scopes.push_back(std::move(scope));
  }
  return scopes;
}

// The URL with name and token: "http://github:...@127.0.0.1:8418/namespaces/...".
void url_with_token(Text& out, const Proxy& proxy, const Target& target, std::string_view path) {
  out.plain(proxy.scheme).raw("://").plain(target.label).raw(":").token(target.index, target.token_size).raw("@");
  out.plain(std::string_view(target.url).substr(proxy.scheme.size() + 3)).raw(path);
}

// Cargo knows names of letters, digits, '-' and '_' only.
std::vector<std::string> cargo_names(const Targets& targets) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const Target& target : targets) {
    std::string name = target.label;
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '.' || c == '+'; }, '-');
    while (!taken.insert(name).second) name += "-" + std::to_string(target.index);
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

void render_npmrc(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets) {
  bool has_default = false;
  for (const Target& target : targets) {
    const auto scopes = scopes_of(scene, target);
    for (const auto& scope : scopes) out.raw("@").plain(scope).raw(":registry=").plain(target.url).raw("\n");
    if (scopes.empty() && !std::exchange(has_default, true)) out.raw("registry=").plain(target.url).raw("\n");
    out.plain(std::string_view(target.url).substr(proxy.scheme.size() + 1)).raw(":_authToken=");
    out.token(target.index, target.token_size).raw("\n");
  }
}

void render_yarnrc(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets) {
  const auto server = [](const Target& target) {
    return std::string_view(target.url).substr(0, target.url.size() - 1);
  };
  const auto is_default = [&](const Target& target) { return scopes_of(scene, target).empty(); };
  const auto found = std::find_if(targets.begin(), targets.end(), is_default);
  if (found != targets.end()) out.raw("npmRegistryServer: ").quoted(server(*found)).raw("\n");
  bool begun = false;
  for (const Target& target : targets)
    for (const auto& scope : scopes_of(scene, target)) {
      if (!std::exchange(begun, true)) out.raw("npmScopes:\n");
      out.raw("  ").quoted(scope).raw(":\n    npmRegistryServer: ").quoted(server(target)).raw("\n");
    }
  if (!targets.empty()) out.raw("npmRegistries:\n");
  for (const Target& target : targets) {
    out.raw("  ").quoted(server(target)).raw(":\n    npmAlwaysAuth: true\n    npmAuthToken: \"");
    out.token(target.index, target.token_size).raw("\"\n");
  }
  if (!proxy.tls())
    out.raw("unsafeHttpWhitelist:\n  - ").quoted(proxy.host).raw("\n");
  else if (!scene.authorities.empty())
    out.raw("networkSettings:\n  ")
        .quoted(proxy.host)
        .raw(":\n    httpsCaFilePath: ")
        .quoted(scene.authorities)
        .raw("\n");
}

void render_pip(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets) {
  out.raw("[global]\n");
  for (std::size_t i = 0; i < targets.size(); ++i) {
    out.raw(i == 0 ? "index-url = " : i == 1 ? "extra-index-url =\n    " : "    ");
    url_with_token(out, proxy, targets[i], "simple/");
    out.raw("\n");
  }
  // Over http pip takes nothing from elsewhere than this machine, unless told so.
  if (!proxy.tls()) out.raw("trusted-host = ").plain(proxy.authority).raw("\n");
  if (proxy.tls() && !scene.authorities.empty()) out.raw("cert = ").plain(scene.authorities).raw("\n");
}

void render_pypirc(Text& out, const Targets& targets) {
  out.raw("[distutils]\nindex-servers =\n");
  for (const Target& target : targets) out.raw("    ").plain(target.label).raw("\n");
  for (const Target& target : targets) {
    out.raw("[").plain(target.label).raw("]\nrepository = ").plain(target.url).raw("\n");
    out.raw("username = ").plain(target.label).raw("\npassword = ");
    out.token(target.index, target.token_size).raw("\n");
  }
}

// The first connector stands for every repository that a build names; the others are repositories of their own.
// Each has a mirror, since Maven 3.8.1 refuses http for a repository but not for a mirror of it.
void render_maven(Text& out, const Targets& targets) {
  out.raw("<settings xmlns=\"http://maven.apache.org/SETTINGS/1.0.0\">\n  <servers>\n");
  for (const Target& target : targets) {
    out.raw("    <server><id>").xml(target.label).raw("</id><username>").xml(target.label);
    out.raw("</username><password>").token(target.index, target.token_size).raw("</password></server>\n");
  }
  out.raw("  </servers>\n  <mirrors>\n");
  for (const Target& target : targets) {
    const bool first = &target == &targets.front();
    out.raw("    <mirror><id>").xml(target.label).raw("</id><mirrorOf>");
    if (!first) out.xml(target.label);
    if (first) out.raw("*");
    for (const Target& other : targets)
      if (first && &other != &target) out.raw(",!").xml(other.label);
    out.raw("</mirrorOf><url>").xml(target.url).raw("</url></mirror>\n");
  }
  out.raw("  </mirrors>\n");
  if (targets.size() > 1) {
    out.raw("  <profiles>\n    <profile>\n      <id>mintfs</id>\n      <repositories>\n");
    for (std::size_t i = 1; i < targets.size(); ++i)
      out.raw("        <repository><id>")
          .xml(targets[i].label)
          .raw("</id><url>")
          .xml(targets[i].url)
          .raw("</url></repository>\n");
    out.raw("      </repositories>\n    </profile>\n  </profiles>\n");
    out.raw("  <activeProfiles><activeProfile>mintfs</activeProfile></activeProfiles>\n");
  }
  out.raw("</settings>\n");
}

void render_cargo_credentials(Text& out, const Targets& targets) {
  const auto names = cargo_names(targets);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    out.raw("[registries.").quoted(names[i]).raw("]\ntoken = \"Bearer ");
    out.token(targets[i].index, targets[i].token_size).raw("\"\n");
  }
}

void render_cargo_config(Text& out, const Targets& targets) {
  // Git dependencies go through git itself, which the gitconfig serves.
  out.raw("[net]\ngit-fetch-with-cli = true\n[registry]\nglobal-credential-providers = [\"cargo:token\"]\n");
  const auto names = cargo_names(targets);
  for (std::size_t i = 0; i < targets.size(); ++i)
    out.raw("[registries.").quoted(names[i]).raw("]\nindex = ").quoted("sparse+" + targets[i].url).raw("\n");
}

}  // namespace mintfs::fs
