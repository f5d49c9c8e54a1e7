// The files of clients of one service each: machines, registries of images, forges, clusters.
#include "fs/render.h"
#include "fs/text.h"

namespace mintfs::fs {
namespace {

// Where a repository of an OCI registry is at the proxy: clients put "/v2/" between host and name.
std::string image_prefix(const Proxy& proxy, const Target& target) {
  return std::string(proxy.authority) + target.url.substr(proxy.url.size(), target.url.size() - proxy.url.size() - 1);
}

std::string_view without_slash(const Target& target) {
  return std::string_view(target.url).substr(0, target.url.size() - 1);
}

}  // namespace

// By host alone for curl and Python, by host and port for Go. Of several connectors the first serves who names
// no user; the others' user is the connector's label.
void render_netrc(Text& out, const Proxy& proxy, const Targets& targets) {
  std::string_view host = proxy.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  for (const std::string_view machine : {host, proxy.authority}) {
    if (machine == proxy.authority && proxy.authority == host) break;
    for (const Target& target : targets) {
      out.raw("machine ").plain(machine).raw(" login ").plain(target.label).raw(" password ");
      out.token(target.index, target.token_size).raw("\n");
    }
  }
}

// Docker looks for the host, where the first connector is; podman, skopeo and buildah for the longest name.
void render_docker(Text& out, const Proxy& proxy, const Targets& targets) {
  const auto entry = [&](std::string_view key, const Target& target) {
    out.raw("\t\t").quoted(key).raw(": {\"auth\": \"");
    out.token(target.index, target.token_size, Template::Form::named_basic).raw("\"}");
  };
  out.raw("{\n\t\"auths\": {");
  if (!targets.empty()) {
    out.raw("\n");
    entry(proxy.authority, targets.front());
    for (const Target& target : targets) {
      out.raw(",\n");
      entry(image_prefix(proxy, target), target);
    }
    out.raw("\n\t");
  }
  out.raw("}\n}\n");
}

// No token is in it: buildkitd asks who builds for one. What it pulls of a registry it pulls from the proxy.
void render_buildkitd(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets) {
  std::vector<std::string> registries;
  for (const Target& target : targets) {
    std::string host = target.connector.address.authority();
    // The hub that images without a host come from answers there, and is named without it.
    constexpr std::string_view kHub = "registry-1.";
    if (host.starts_with(kHub)) host.erase(0, kHub.size());
    registries.push_back(std::move(host));
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (std::find(registries.begin(), registries.begin() + i, registries[i]) != registries.begin() + i) continue;
    out.raw("[registry.").quoted(registries[i]).raw("]\n  mirrors = [");
    for (std::size_t j = i; j < targets.size(); ++j)
      if (registries[j] == registries[i]) out.raw(j == i ? "" : ", ").quoted(image_prefix(proxy, targets[j]));
    out.raw("]\n");
  }
  out.raw("[registry.").quoted(proxy.authority).raw("]\n");
  if (!proxy.tls()) out.raw("  http = true\n");
  if (proxy.tls() && !scene.authorities.empty()) out.raw("  ca = [").quoted(scene.authorities).raw("]\n");
}

void render_gh_config(Text& out) {
  // The version of the format: gh would rewrite an older file.
  out.raw("version: \"1\"\ngit_protocol: https\nprompt: disabled\n");
}

void render_gh_hosts(Text& out, const Proxy& proxy, const Targets& targets) {
  const auto entry = [&](std::string_view host, const Target& target) {
    out.quoted(host).raw(":\n    user: ").quoted(target.label).raw("\n    git_protocol: https\n    oauth_token: \"");
    out.token(target.index, target.token_size).raw("\"\n");
  };
  if (targets.empty()) return out.raw("{}\n"), void();
  // gh looks for the token by the host that it talks to, and for the host by what GH_HOST says.
  entry(proxy.authority, targets.front());
  for (const Target& target : targets)
    entry(std::string_view(target.url).substr(proxy.scheme.size() + 3, target.url.size() - proxy.scheme.size() - 4),
          target);
}

void render_glab(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets) {
  out.raw("git_protocol: https\ncheck_update: false\nno_prompt: true\n");
  if (!targets.empty()) out.raw("host: ").quoted(targets.front().connector.address.authority()).raw("\nhosts:\n");
  std::vector<std::string> known;
  for (const Target& target : targets) {
    const std::string host = target.connector.address.authority();
    if (std::find(known.begin(), known.end(), host) != known.end()) continue;
    known.push_back(host);
    out.raw("    ").quoted(host).raw(":\n        api_protocol: ").quoted(proxy.scheme).raw("\n        api_host: ");
    out.quoted(
        std::string_view(target.url).substr(proxy.scheme.size() + 3, target.url.size() - proxy.scheme.size() - 4));
    out.raw("\n        git_protocol: https\n");
    if (proxy.tls() && !scene.authorities.empty()) out.raw("        ca_cert: ").quoted(scene.authorities).raw("\n");
    out.raw("        token: \"").token(target.index, target.token_size).raw("\"\n");
  }
}

// The scanner's own token would be sent as a user name; as a password it is where the proxy looks for it.
void render_sonar(Text& out, const Targets& targets) {
  if (targets.empty()) return;
  const Target& target = targets.front();
  out.raw("sonar.host.url=").plain(without_slash(target)).raw("\nsonar.login=").plain(target.label);
  out.raw("\nsonar.password=").token(target.index, target.token_size).raw("\n");
}

// kubectl sends no token over http, so the proxy has to be an https one.
void render_kubeconfig(Text& out, const Scene& scene, const Targets& targets) {
  out.raw("apiVersion: v1\nkind: Config\npreferences: {}\n");
  if (!targets.empty()) out.raw("current-context: ").quoted(targets.front().label).raw("\n");
  out.raw(targets.empty() ? "clusters: []\n" : "clusters:\n");
  for (const Target& target : targets) {
    out.raw("- name: ").quoted(target.label).raw("\n  cluster:\n    server: ").quoted(without_slash(target)).raw("\n");
    if (!scene.authorities.empty()) out.raw("    certificate-authority: ").quoted(scene.authorities).raw("\n");
  }
  out.raw(targets.empty() ? "users: []\n" : "users:\n");
  for (const Target& target : targets) {
    out.raw("- name: ").quoted(target.label).raw("\n  user:\n    token: \"");
    out.token(target.index, target.token_size).raw("\"\n");
  }
  out.raw(targets.empty() ? "contexts: []\n" : "contexts:\n");
  for (const Target& target : targets) {
    out.raw("- name: ").quoted(target.label).raw("\n  context:\n    cluster: ").quoted(target.label);
    out.raw("\n    user: ").quoted(target.label).raw("\n");
  }
}

}  // namespace mintfs::fs
