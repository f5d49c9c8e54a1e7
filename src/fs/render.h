// The text of each file of a view. Pure: no clock, no key, no file.
//
// A file holds what its tool can use: the connectors of the lease whose class speaks the tool's protocol, in
// the order of the lease. It names the proxy and never a connector's own server as the place where a token
// goes. No name or address can add a key or an element; what a format cannot hold is refused.
#pragma once

#include "broker/broker.h"
#include "broker/configuration.h"
#include "fs/template.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::fs {

class Text;

// A gitconfig whose prefixes would make more text than this is rendered in the whole-host form instead.
inline constexpr std::size_t kMaxTextByPrefix = 64 * 1024;

// What is in a file; a configuration may be several.
enum class Content : std::uint8_t {
  gitconfig,
  git_credentials,
  netrc,
  npmrc,
  yarnrc,
  pip,
  pypirc,
  maven,
  docker,
  buildkitd,
  cargo_credentials,
  cargo_config,
  gh_config,
  gh_hosts,
  glab,
  sonar,
  kubeconfig,
  authorities,  // ca.crt, which is not rendered
  user,         // which the administrator defines
};

// Whether a connector of this class has something to say in the file.
bool is_for(Content content, broker::ConnectorClass connector_class) noexcept;

using TokenSize = std::function<std::size_t(const broker::ConnectorName&)>;

struct Scene {
  const broker::Lease& lease;
  const broker::Connectors& connectors;  // one of the lease that is not among them is left out
  std::string_view proxy_url;
  TokenSize token_size;
  std::string_view authorities{};  // the file of whom clients must trust for an https proxy, or empty
};

// `internal` when something cannot be written.
broker::Result<Template> render(Content content, const Scene& scene);
broker::Result<Template> render(const broker::FileConfig& file, const Scene& scene);

// A connector as a file tells of it.
struct Target {
  std::uint32_t index;  // in Lease::connectors
  const broker::ConnectorConfig& connector;
  std::string url;    // of the connector at the proxy, or of its place there that the file is about (package_place.h)
  std::string label;  // "github", "team+gitlab": one word, different for each connector
  std::size_t token_size;
};
using Targets = std::vector<Target>;

// The proxy as clients name it, without a slash at its end.
struct Proxy {
  std::string_view url;        // "http://127.0.0.1:8418"
  std::string_view scheme;     // "http"
  std::string_view rest;       // "127.0.0.1:8418", and a path where there is one
  std::string_view authority;  // "127.0.0.1:8418"
  std::string_view host;       // "127.0.0.1"; of IPv6 in brackets
  bool tls() const { return scheme == "https"; }
};

// One function per file. `targets` are those that it is for.
void render_gitconfig(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets);
void render_git_credentials(Text& out, const Proxy& proxy, const Targets& targets);
void render_netrc(Text& out, const Proxy& proxy, const Targets& targets);
void render_npmrc(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets);
void render_yarnrc(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets);
void render_pip(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets);
void render_pypirc(Text& out, const Targets& targets);
void render_maven(Text& out, const Targets& targets);
void render_docker(Text& out, const Proxy& proxy, const Targets& targets);
void render_buildkitd(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets);
void render_cargo_credentials(Text& out, const Targets& targets);
void render_cargo_config(Text& out, const Targets& targets);
void render_gh_config(Text& out);
void render_gh_hosts(Text& out, const Proxy& proxy, const Targets& targets);
void render_glab(Text& out, const Scene& scene, const Proxy& proxy, const Targets& targets);
void render_sonar(Text& out, const Targets& targets);
void render_kubeconfig(Text& out, const Scene& scene, const Targets& targets);
void render_user(Text& out, const broker::FileConfig& file, const Scene& scene, const Proxy& proxy,
                 const Targets& targets);

}  // namespace mintfs::fs
