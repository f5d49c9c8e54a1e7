#include "fs/render.h"

#include "fs/package_place.h"
#include "fs/text.h"

namespace mintfs::fs {
namespace {

using broker::ConnectorClass;

bool is_for_packages(ConnectorClass own, ConnectorClass connector_class) {
  return connector_class == own || broker::keeps_formats(connector_class);
}

Proxy parse_proxy(std::string_view url) {
  Proxy proxy;
  while (url.ends_with('/')) url.remove_suffix(1);
  proxy.url = url;
  const std::size_t colon = url.find("://");
  proxy.scheme = url.substr(0, colon);
  proxy.rest = colon == std::string_view::npos ? std::string_view() : url.substr(colon + 3);
  proxy.authority = proxy.rest.substr(0, proxy.rest.find('/'));
  const std::size_t end = proxy.authority.rfind(':');
  const bool port = end != std::string_view::npos && proxy.authority.find(']', end) == std::string_view::npos;
  proxy.host = port ? proxy.authority.substr(0, end) : proxy.authority;
  return proxy;
}

// Those that have no place in the file are left out, and `left_out` is set.
template <class Wanted>
Targets targets_of(Content content, const Scene& scene, const Proxy& proxy, const Wanted& is_wanted, bool& left_out) {
  Targets targets;
  for (std::uint32_t index = 0; index < scene.lease.connectors.size(); ++index) {
    const broker::ConnectorName& name = scene.lease.connectors[index];
    const auto found = scene.connectors.find(name);
    if (found == scene.connectors.end() || !is_wanted(found->second.connector_class)) continue;
    const auto place = package_place(content, scene.lease.rights, found->second);
    left_out = left_out || !place;
    if (!place) continue;
    targets.push_back(
        {.index = index,
         .connector = found->second,
         .url = std::string(proxy.url) + "/namespaces/" + name.space + "/connectors/" + name.name + "/" + *place,
         .label = name.space == "default" ? name.name : name.space + "+" + name.name,
         .token_size = scene.token_size(name)});
  }
  return targets;
}

// JSON has no comments, nor does every reader of git's credentials and of netrc know them.
bool has_comments(Content content) {
  return content != Content::docker && content != Content::git_credentials && content != Content::netrc;
}

// For who looks why a tool does not find its connector.
void say(Text& out, Content content, std::string_view why) {
  const bool xml = content == Content::maven;
  out.raw(xml ? "<!-- " : "# ").raw(why).raw(xml ? " -->\n" : "\n");
}

}  // namespace

bool is_for(Content content, ConnectorClass connector_class) noexcept {
  switch (content) {
    case Content::gitconfig:
    case Content::git_credentials:
      return broker::serves_git(connector_class);
    case Content::netrc:
      return true;
    case Content::npmrc:
    case Content::yarnrc:
      return is_for_packages(ConnectorClass::npm, connector_class);
    case Content::pip:
    case Content::pypirc:
      return is_for_packages(ConnectorClass::pypi, connector_class);
    case Content::maven:
      return is_for_packages(ConnectorClass::maven, connector_class);
    case Content::docker:
    case Content::buildkitd:
      return broker::serves_oci(connector_class);
    case Content::cargo_credentials:
    case Content::cargo_config:
      return broker::keeps_formats(connector_class);
    case Content::gh_hosts:
      return connector_class == ConnectorClass::github;
    case Content::glab:
      return connector_class == ConnectorClass::gitlab;
    case Content::sonar:
      return connector_class == ConnectorClass::sonarqube;
    case Content::kubeconfig:
      return connector_class == ConnectorClass::k8s;
    case Content::gh_config:
    case Content::authorities:
    case Content::user:
      return false;
  }
  return false;
}

broker::Result<Template> render(Content content, const Scene& scene) {
  const Proxy proxy = parse_proxy(scene.proxy_url);
  bool left_out = false;
  const Targets targets = targets_of(
      content, scene, proxy, [&](ConnectorClass connector_class) { return is_for(content, connector_class); },
      left_out);
  Text out;
  if (left_out)
    say(out, content, "Left out: a connector whose 'formats' name no repository for this file that the lease may use.");
  else if (targets.empty() && content != Content::gh_config && has_comments(content))
    say(out, content, "No connector of the lease is of a class that this file is for.");
  switch (content) {
    case Content::gitconfig:
      render_gitconfig(out, scene, proxy, targets);
      break;
    case Content::git_credentials:
      render_git_credentials(out, proxy, targets);
      break;
    case Content::netrc:
      render_netrc(out, proxy, targets);
      break;
    case Content::npmrc:
      render_npmrc(out, scene, proxy, targets);
      break;
    case Content::yarnrc:
      render_yarnrc(out, scene, proxy, targets);
      break;
    case Content::pip:
      render_pip(out, scene, proxy, targets);
      break;
    case Content::pypirc:
      render_pypirc(out, targets);
      break;
    case Content::maven:
      render_maven(out, targets);
      break;
    case Content::docker:
      render_docker(out, proxy, targets);
      break;
    case Content::buildkitd:
      render_buildkitd(out, scene, proxy, targets);
      break;
    case Content::cargo_credentials:
      render_cargo_credentials(out, targets);
      break;
    case Content::cargo_config:
      render_cargo_config(out, targets);
      break;
    case Content::gh_config:
      render_gh_config(out);
      break;
    case Content::gh_hosts:
      render_gh_hosts(out, proxy, targets);
      break;
    case Content::glab:
      render_glab(out, scene, proxy, targets);
      break;
    case Content::sonar:
      render_sonar(out, targets);
      break;
    case Content::kubeconfig:
      render_kubeconfig(out, scene, targets);
      break;
    case Content::authorities:
    case Content::user:
      return broker::Errc::internal;
  }
  return out.take(scene.lease.id);
}

broker::Result<Template> render(const broker::FileConfig& file, const Scene& scene) {
  const Proxy proxy = parse_proxy(scene.proxy_url);
  Text out;
  bool left_out = false;
  const auto is_wanted = [&](ConnectorClass connector_class) { return file.is_for(connector_class); };
  render_user(out, file, scene, proxy, targets_of(Content::user, scene, proxy, is_wanted, left_out));
  return out.take(scene.lease.id);
}

}  // namespace mintfs::fs
