#include "mintfs/probe_answer.h"

namespace mintfs::cli {
namespace {

constexpr std::string_view kProbe = "mintfs-probe";

// The words of broker/error.h that speak of the upstream; whoever holds one may look them up there.
std::string remedy_for(std::string_view reason, std::string_view connector) {
  const std::string name(connector);
  if (reason == "upstream-refused")
    return "write a valid password or token into the secret file of '" + name + "' (auth in mintfs.toml)";
  if (reason == "upstream-unreachable" || reason == "upstream-timeout")
    return "check 'address' of '" + name + "' in mintfs.toml, name resolution and the firewall of this machine";
  if (reason == "upstream-untrusted") return "set 'ca_file' of '" + name + "' to the authority that the server uses";
  if (reason == "upstream-redirect") return "set 'address' of '" + name + "' to where the server redirects to";
  if (reason == "address-denied") return "add the address to 'allow_addresses' of '" + name + "' if it is meant";
  return "'journalctl -u mintfs' or mintfsd's output says more";
}

}  // namespace

std::string repository_to_probe(const std::vector<std::string>& patterns) {
  for (const auto& pattern : patterns)
    if (pattern.find('*') == std::string::npos) return pattern;
  if (patterns.empty() || patterns.front() == "**") return std::string(kProbe) + "/" + std::string(kProbe);
  // Whatever the wildcards stand for, this is one of it.
  std::string name;
  for (const char c : patterns.front()) {
    if (c != '*')
      name += c;
    else if (!name.ends_with(kProbe))
      name += kProbe;
  }
  return name;
}

Finding interpret_probe(std::string_view connector, std::string_view repository, unsigned status,
                        std::string_view body) {
  using State = Finding::State;
  Finding finding{.state = State::fail, .subject = "connector " + std::string(connector), .sentence = {}};
  constexpr std::string_view kOwn = "mintfs: ";
  if (body.starts_with(kOwn) && status >= 400) {
    body.remove_prefix(kOwn.size());
    const std::string_view reason = body.substr(0, body.find(':'));
    finding.sentence = body.substr(0, body.find('\n'));
    finding.remedy = remedy_for(reason, connector);
  } else if (status >= 200 && status < 300) {
    finding.state = State::ok;
    finding.sentence = "works: the server gives '" + std::string(repository) + "'";
  } else if (status == 404) {
    finding.state = State::ok;
    finding.sentence = "is reachable and the server does not refuse its credential; it has no repository '" +
                       std::string(repository) + "' for it";
    finding.remedy = "mintfs connector check " + std::string(connector) + " --repository OWNER/NAME";
  } else {
    finding.sentence = "the server answers with status " + std::to_string(status);
    finding.remedy = "check 'address' of '" + std::string(connector) + "' in mintfs.toml: is a Git server there?";
  }
  return finding;
}

}  // namespace mintfs::cli
