#include "mintfs/tool_variables.h"

#include <algorithm>

namespace mintfs::cli {
namespace {

struct ToolVariable {
  std::string_view configuration;
  std::string_view name;
  std::string_view place;  // in the view
};

constexpr ToolVariable kToolVariables[] = {
    {"netrc", "NETRC", ".netrc"},
    {"npmrc", "NPM_CONFIG_USERCONFIG", ".npmrc"},
    {"pip", "PIP_CONFIG_FILE", "pip/pip.conf"},
    {"docker", "DOCKER_CONFIG", ".docker"},
    {"docker", "REGISTRY_AUTH_FILE", ".docker/config.json"},
    {"gh", "GH_CONFIG_DIR", "gh"},
    {"glab", "GLAB_CONFIG_DIR", "glab-cli"},
    {"kubeconfig", "KUBECONFIG", ".kube/config"},
};

// Variables that hold arguments: ours stand before those that are inherited, which win.
struct ToolArguments {
  std::string_view configuration;
  std::string_view name;
  std::string_view option;
  std::string_view place;
};

constexpr ToolArguments kToolArguments[] = {
    {"maven", "MAVEN_ARGS", "--settings=", ".m2/settings.xml"},
    {"buildkitd", "BUILDKITD_FLAGS", "--config=", "buildkit/buildkitd.toml"},
};

}  // namespace

void add_tool_variables(Variables& variables, const LeaseView& lease, const Inherited& inherited) {
  const auto set = [&](std::string_view name, std::string value) {
    variables.emplace_back(std::string(name), std::move(value));
  };
  for (const auto& each : kToolVariables)
    if (lease.has(each.configuration)) set(each.name, (lease.path / each.place).string());
  for (const auto& each : kToolArguments) {
    const std::string place = (lease.path / each.place).string();
    // The tools take these apart at spaces and know no quotes.
    if (!lease.has(each.configuration) || place.find(' ') != std::string::npos) continue;
    const std::string others = inherited(std::string(each.name)).value_or("");
    set(each.name, std::string(each.option) + place + (others.empty() ? "" : " " + others));
  }
  if (lease.has("cargo")) set("CARGO_NET_GIT_FETCH_WITH_CLI", "true");
  if (lease.has("npmrc") && lease.authorities) set("NODE_EXTRA_CA_CERTS", (lease.path / "ca.crt").string());
}

std::string credential_helper(const std::filesystem::path& view) {
  return "!f() { test \"$1\" != get || git credential-store --file=" +
         shell_quoted((view / ".git-credentials").string()) + " get; }; f";
}

}  // namespace mintfs::cli
