#include "csi/volume.h"

#include "broker/config.h"
#include "broker/encoding.h"
#include "broker/policy.h"
#include "broker/secret_json.h"
#include "csi.pb.h"
#include "csi/status.h"

#include <openssl/evp.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

namespace mintfs::csi {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxId = 128;
constexpr std::size_t kMaxTarget = 1024;
constexpr std::size_t kMaxValue = 4096;
constexpr std::size_t kMaxAttributes = 64;
constexpr std::size_t kMaxEntries = 32;
constexpr std::size_t kMaxLabel = 128;
constexpr std::size_t kQuoted = 64;
constexpr std::string_view kPodInfo = "csi.storage.k8s.io/";
constexpr const char* kTokens = "csi.storage.k8s.io/serviceAccount.tokens";
constexpr std::size_t kMaxTokens = 128 * 1024;  // of all audiences

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// What a pod's author wrote, for a message: cut, and harmless on a terminal.
std::string in_quotes(std::string_view text) {
  std::string shown(text.substr(0, kQuoted));
  for (char& c : shown)
    if (c < 0x20 || c > 0x7e) c = '?';
  return "'" + shown + (text.size() > kQuoted ? "...'" : "'");
}

bool is_dns_name(std::string_view text, std::size_t most) {
  return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

// Entries between commas, without the spaces around them; nothing where one is empty or there are too many.
std::optional<std::vector<std::string>> split(std::string_view list) {
  std::vector<std::string> entries;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    std::string_view entry = list.substr(begin, end - begin);
    while (entry.starts_with(' ')) entry.remove_prefix(1);
    while (entry.ends_with(' ')) entry.remove_suffix(1);
    if (entry.empty() || entries.size() == kMaxEntries) return std::nullopt;
    entries.emplace_back(entry);
    begin = end + 1;
  }
  return entries;
}

// The attributes as they were written.
struct Attributes {
  std::string connector, connector_space, connectors, configurations, parameters, token, repositories, operations;
  std::string pod, space, uid, account, ephemeral;
};

struct Known {
  std::string_view name;
  std::string Attributes::*value;
};
constexpr std::array kKnown = {
    Known{"connector.name", &Attributes::connector},
    Known{"connector.namespace", &Attributes::connector_space},
    Known{"connectors", &Attributes::connectors},
    Known{"configuration.names", &Attributes::configurations},
    Known{"configuration.params", &Attributes::parameters},
    Known{"token.expiration", &Attributes::token},
    Known{"repositories", &Attributes::repositories},
    Known{"operations", &Attributes::operations},
    Known{"csi.storage.k8s.io/pod.name", &Attributes::pod},
    Known{"csi.storage.k8s.io/pod.namespace", &Attributes::space},
    Known{"csi.storage.k8s.io/pod.uid", &Attributes::uid},
    Known{"csi.storage.k8s.io/serviceAccount.name", &Attributes::account},
    Known{"csi.storage.k8s.io/ephemeral", &Attributes::ephemeral},
};

std::string names_of_attributes() {
  std::string names;
  for (const auto& known : kKnown)
    if (!known.name.starts_with(kPodInfo)) names.append(names.empty() ? "" : ", ").append(known.name);
  return names;
}

// The following return what is wrong; empty: nothing.

std::string read_attributes(const ::csi::v1::NodePublishVolumeRequest& request, Attributes& attributes) {
  if (request.volume_context_size() > static_cast<int>(kMaxAttributes)) return "there are more than 64 attributes";
  for (const auto& [name, value] : request.volume_context()) {
    const auto* known = std::find_if(kKnown.begin(), kKnown.end(), [&](const auto& each) { return each.name == name; });
    if (known == kKnown.end()) {
      if (name.starts_with(kPodInfo)) continue;  // kubelet's, tokens among them
      return "the attribute " + in_quotes(name) + " is unknown; known are " + names_of_attributes();
    }
    if (value.size() > kMaxValue) return "the value of " + in_quotes(name) + " is longer than 4096 bytes";
    const bool plain = std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
    if (!plain) return "the value of " + in_quotes(name) + " holds a character that is not printable ASCII";
    attributes.*(known->value) = value;
  }
  return {};
}

// {"mintfs": {"token": "...", "expirationTimestamp": "..."}, ...}, in `secrets` where the CSIDriver object says
// serviceAccountTokenInSecrets. That of an audience that is not asked for is not looked at.
std::string read_token(const ::csi::v1::NodePublishVolumeRequest& request, const Settings& settings, Volume& volume) {
  const auto secret = request.secrets().find(kTokens);
  const bool in_secrets = secret != request.secrets().end();
  const auto attribute = request.volume_context().find(kTokens);
  if (!in_secrets && attribute == request.volume_context().end()) return {};
  const std::string& text = in_secrets ? secret->second : attribute->second;
  const auto tokens = text.size() <= kMaxTokens ? broker::parse_secret_json(text) : std::optional<boost::json::value>();
  if (!tokens || !tokens->is_object()) return "kubelet's service account tokens are not JSON by audience";
  const auto* const one = tokens->get_object().if_contains(settings.token_audience);
  const auto* const token = one != nullptr && one->is_object() ? one->get_object().if_contains("token") : nullptr;
  if (token != nullptr && token->is_string())
    volume.token = broker::Secret(std::string_view(token->get_string().data(), token->get_string().size()));
  return {};
}

std::string read_pod(const Attributes& attributes, const Settings& settings, Volume& volume) {
  const bool named = is_dns_name(attributes.space, 63) && is_dns_name(attributes.pod, 253) &&
                     is_dns_name(attributes.uid, 64) &&
                     (attributes.account.empty() || is_dns_name(attributes.account, 253));
  if (!named)
    return "kubelet does not say which pod this is for; the CSIDriver object '" + settings.driver +
           "' needs podInfoOnMount: true";
  if (attributes.ephemeral != "true")
    return "mintfs serves inline volumes only ('csi:' in the pod's volumes), no PersistentVolume";
  const auto of_pod = std::next(volume.target.begin());  // behind "pods"
  if (*of_pod != attributes.uid) return "target_path is not of the pod " + attributes.uid;
  volume.space = attributes.space;
  volume.pod = attributes.pod;
  volume.uid = attributes.uid;
  volume.account = attributes.account;
  return {};
}

// `name` is "name", "namespace/name" where `may_be_qualified`.
std::string add_connector(std::string_view name, std::string_view space, bool may_be_qualified, Volume& volume) {
  const bool qualified = name.find('/') != std::string_view::npos;
  const auto parsed = qualified && !may_be_qualified ? std::nullopt
                      : qualified                    ? broker::ConnectorName::parse(name)
                                  : broker::ConnectorName::parse(std::string(space) + "/" + std::string(name));
  if (!parsed) return "the connector " + in_quotes(name) + " has no name that a connector can have";
  const std::string text = parsed->text();
  if (std::find(volume.connectors.begin(), volume.connectors.end(), text) == volume.connectors.end())
    volume.connectors.push_back(text);
  return {};
}

std::string read_connectors(const Attributes& attributes, Volume& volume) {
  const std::string& space = attributes.connector_space.empty() ? attributes.space : attributes.connector_space;
  if (space.find('/') != std::string::npos) return "connector.namespace " + in_quotes(space) + " is no namespace";
  if (attributes.connector.empty() == attributes.connectors.empty())
    return "name either 'connector.name' or 'connectors', one of them";
  if (!attributes.connector.empty()) return add_connector(attributes.connector, space, false, volume);
  const auto list = split(attributes.connectors);
  if (!list) return "'connectors' is a list such as 'github,team-a/gitlab' of at most 32";
  for (const auto& name : *list)
    if (auto wrong = add_connector(name, space, true, volume); !wrong.empty()) return wrong;
  return {};
}

std::string read_rights(const Attributes& attributes, Volume& volume) {
  if (!attributes.repositories.empty()) {
    const auto list = split(attributes.repositories);
    if (!list) return "'repositories' is a list such as 'acme/app,acme/lib-*' of at most 32";
    for (const auto& pattern : *list)
      if (!broker::RepositoryPattern::is_valid(pattern)) return in_quotes(pattern) + " in 'repositories' is no pattern";
    volume.repositories = *list;
  }
  if (!attributes.operations.empty()) {
    const auto list = split(attributes.operations);
    const auto is_operation = [](const auto& each) { return each == "fetch" || each == "push"; };
    if (!list || !std::all_of(list->begin(), list->end(), is_operation))
      return "'operations' is 'fetch', 'push' or 'fetch,push'";
    volume.operations = *list;
  }
  volume.token_ttl = attributes.token;
  if (!volume.token_ttl.empty() && !broker::parse_duration(volume.token_ttl))
    return "'token.expiration' is a duration such as '30m', not " + in_quotes(volume.token_ttl);
  return {};
}

std::string read_configurations(const Attributes& attributes, Volume& volume) {
  const auto list = split(attributes.configurations.empty() ? "gitconfig" : attributes.configurations);
  if (!list) return "'configuration.names' is a list such as 'gitconfig,npmrc'";
  // Which there are, the daemon knows and says.
  for (const auto& name : *list)
    if (!is_dns_name(name, 63)) return in_quotes(name) + " in 'configuration.names' is no name of a configuration";
  if (!attributes.parameters.empty()) return "no configuration has parameters; leave 'configuration.params' out";
  volume.configurations = *list;
  return {};
}

std::string complaint_about(const ::csi::v1::NodePublishVolumeRequest& request, const Settings& settings,
                            Volume& volume) {
  const auto& capability = request.volume_capability();
  if (!request.has_volume_capability()) return "volume_capability is missing";
  if (capability.has_block()) return "a view is a directory; mintfs has no block volumes";
  if (!capability.has_mount()) return "volume_capability has no access type";
  if (capability.mount().mount_flags_size() != 0) return "a view takes no mount options";
  if (!request.readonly()) return "a view is read-only; write 'readOnly: true' into the pod's csi volume";

  Attributes attributes;
  std::string wrong = read_attributes(request, attributes);
  if (wrong.empty()) wrong = read_pod(attributes, settings, volume);
  if (wrong.empty()) wrong = read_token(request, settings, volume);
  if (wrong.empty()) wrong = read_connectors(attributes, volume);
  if (wrong.empty()) wrong = read_rights(attributes, volume);
  if (wrong.empty()) wrong = read_configurations(attributes, volume);
  return wrong;
}

void add_token(json::object& request, const broker::Secret& token) {
  if (!token.empty()) request["pod_token"] = json::string_view(token.reveal().data(), token.size());
}

json::array to_array(const std::vector<std::string>& list) { return json::array(list.begin(), list.end()); }

}  // namespace

grpc::Status read_place(std::string_view id, std::string_view target_path, const Settings& settings,
                        std::filesystem::path& target) {
  if (id.empty()) return malformed("volume_id is missing");
  if (id.size() > kMaxId || !is_printable(id)) return malformed("volume_id is not 1 to 128 printable characters");
  if (target_path.empty()) return malformed("target_path is missing");
  if (target_path.size() > kMaxTarget || !is_printable(target_path))
    return malformed("target_path is not 1 to 1024 printable characters");
  const std::string pods = (settings.kubelet / "pods").string() + "/";
  if (!target_path.starts_with(pods))
    return malformed("target_path " + in_quotes(target_path) + " is not below " + pods +
                     "; mintfs-csi --kubelet-dir must be kubelet's --root-dir");
  target = std::filesystem::path("pods");
  std::size_t depth = 0;
  for (std::string_view rest = target_path.substr(pods.size()); depth == 0 || !rest.empty(); ++depth) {
    const std::string_view name = rest.substr(0, rest.find('/'));
    if (name.empty() || name == "." || name == "..")
      return malformed("target_path " + in_quotes(target_path) + " has an empty, '.' or '..' component");
    target /= name;
    const bool last = name.size() == rest.size();
    rest.remove_prefix(last ? rest.size() : name.size() + 1);
    if (!last && rest.empty()) return malformed("target_path ends with '/'");
  }
  if (depth < 2) return malformed("target_path " + in_quotes(target_path) + " is a pod's own directory");
  return grpc::Status::OK;
}

grpc::Status read_volume(const ::csi::v1::NodePublishVolumeRequest& request, const Settings& settings, Volume& volume) {
  if (auto status = read_place(request.volume_id(), request.target_path(), settings, volume.target); !status.ok())
    return status;
  volume.id = request.volume_id();
  if (auto wrong = complaint_about(request, settings, volume); !wrong.empty()) return malformed(wrong);
  return grpc::Status::OK;
}

grpc::Status check_namespaces(const Volume& volume, const Settings& settings) {
  for (const auto& name : volume.connectors) {
    const std::string space = name.substr(0, name.find('/'));
    const auto& shared = settings.shared_namespaces;
    const auto is_shared = [&](const std::string& each) { return each == space || each == "*"; };
    if (space == volume.space || std::any_of(shared.begin(), shared.end(), is_shared)) continue;
    return {grpc::StatusCode::PERMISSION_DENIED,
            "connector " + name + ": pods of the namespace " + volume.space +
                " may not use connectors of another one; ask the administrator for mintfs-csi --shared-namespace " +
                space};
  }
  return grpc::Status::OK;
}

std::string Volume::about() const {
  std::string names;
  for (const auto& name : connectors) names.append(names.empty() ? "" : ", ").append(name);
  return (connectors.size() == 1 ? "connector " : "connectors ") + names;
}

std::string Volume::fingerprint() const {
  std::string all;
  const auto add = [&](std::string_view text) { all += std::to_string(text.size()) + ":" + std::string(text); };
  for (const auto* text : {&id, &space, &pod, &uid, &account, &token_ttl}) add(*text);
  for (const auto* list : {&connectors, &configurations, &repositories, &operations}) {
    add(std::to_string(list->size()));
    for (const auto& each : *list) add(each);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_Digest(all.data(), all.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return broker::hex_encode({reinterpret_cast<const char*>(digest.data()), size});
}

json::object Volume::lease_request(const Settings& settings, const std::string& cgroup) const {
  json::object labels = {{kDriverLabel, settings.driver},
                         {kKubeletLabel, settings.kubelet.string()},
                         {kAttributesLabel, fingerprint()},
                         {"csi.volume", id},
                         {"pod.namespace", space},
                         {"pod.name", pod.substr(0, kMaxLabel)},
                         {"pod.uid", uid}};
  if (!account.empty()) labels["pod.serviceaccount"] = account.substr(0, kMaxLabel);
  json::object request = broker::secret_object();
  request = {{"connectors", to_array(connectors)},
             {"pod", space + "/" + pod},
             {"configurations", to_array(configurations)},
             {"ttl", settings.lease_ttl},
             {"labels", std::move(labels)}};
  add_token(request, token);
  if (!repositories.empty()) request["repositories"] = to_array(repositories);
  if (!operations.empty()) request["operations"] = to_array(operations);
  if (!token_ttl.empty()) request["token_ttl"] = token_ttl;
  if (!cgroup.empty()) request["cgroup"] = cgroup;
  return request;
}

json::object Volume::renewal(const Settings& settings) const {
  json::object request = broker::secret_object();
  request["ttl"] = settings.lease_ttl;
  add_token(request, token);
  return request;
}

}  // namespace mintfs::csi
