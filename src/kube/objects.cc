#include "kube/objects.h"

#include "broker/encoding.h"
#include "broker/lease.h"
#include "kube/api.h"
#include "kube/fields.h"
#include "kube/instant.h"
#include "kube/members.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace mintfs::kube {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxUid = 128;
constexpr std::size_t kMaxAddress = 2048;
constexpr std::size_t kMaxCredential = 12 * 1024;  // a header line must hold it; each connector keeps what scrubs it

Failure invalid(std::string fault) { return {.reason = Reason::invalid, .message = std::move(fault)}; }

std::optional<broker::ConnectorName> connector_name(const std::string& space, const std::string& name) {
  return broker::ConnectorName::parse(space + "/" + name);
}

// A byte that would end a header line and begin another (RFC 9110 section 5.5).
bool is_fit_for_a_header(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == '\0' || c == '\r' || c == '\n'; });
}

// The bytes of one entry of a Secret's `data`, but for one newline at its end: `--from-file` brings the file's.
std::optional<broker::Secret> decode(const Members& data, std::string_view key) {
  std::string text = data.text(key, broker::base64_size(kMaxCredential));
  auto bytes = broker::base64_decode(text);
  broker::wipe(text);
  if (bytes && bytes->ends_with('\n')) bytes->pop_back();
  if (!bytes || bytes->empty() || !is_fit_for_a_header(*bytes)) {
    data.wrong(key, "is not base64 of at least one byte, without line breaks");
    return std::nullopt;
  }
  broker::Secret secret(*bytes);
  broker::wipe(*bytes);
  return secret;
}

void read_auth(const Members& auth, Connector& connector) {
  connector.auth = auth.text("name");
  if (const auto secret = auth.members_or_none("secretRef")) {
    connector.secret = ObjectName{secret->text_or_none("namespace"), secret->text("name")};
    if (connector.secret->space.empty()) connector.secret->space = connector.name.space;
    if (connector.secret->space != connector.name.space)
      secret->wrong("namespace", "is not the connector's own; a connector uses secrets of its namespace only");
  }
  auth.each("params", 64, [&](const Members& param) {
    if (param.text("name") == "repository") connector.repository = param.text("value", 1024);
  });
}

std::vector<broker::ConnectorName> read_names(const Members& spec) {
  std::vector<broker::ConnectorName> names;
  for (const auto& text : spec.texts("connectors", 32)) {
    auto name = broker::ConnectorName::parse(text);
    if (name && text.find('/') != std::string::npos)
      names.push_back(std::move(*name));
    else
      spec.wrong("connectors", "has an entry that is not namespace/name");
  }
  if (names.empty()) spec.wrong("connectors", "names none");
  return names;
}

broker::Time read_time(const Members& spec, std::string_view name) {
  const auto time = parse_rfc3339(spec.text(name, 40));
  if (!time) spec.wrong(name, "is not a time in UTC (RFC 3339)");
  return time.value_or(broker::Time());
}

json::array to_array(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}

}  // namespace

broker::Operations read_operations(const Members& spec) {
  broker::Operations operations;
  for (const auto& text : spec.texts("operations", 2)) {
    if (text == "fetch")
      operations = operations | broker::Operations::only(broker::Operation::fetch);
    else if (text == "push")
      operations = operations | broker::Operations::only(broker::Operation::push);
    else
      spec.wrong("operations", "has an entry that is not fetch or push");
  }
  if (operations.empty()) spec.wrong("operations", "names none");
  return operations;
}

std::string in_namespace(std::string_view collection, std::string_view space) {
  const std::size_t slash = collection.rfind('/');
  return std::string(collection.substr(0, slash)) + "/namespaces/" + percent_encode(space) +
         std::string(collection.substr(slash));
}

std::optional<ObjectName> name_of(const json::object& object) {
  ObjectName name{std::string(text_at(object, {"metadata", "namespace"})),
                  std::string(text_at(object, {"metadata", "name"}))};
  if (name.name.empty() || name.name.size() > Members::kText || name.space.size() > Members::kText) return std::nullopt;
  return name;
}

Outcome<Connector> read_connector(const json::object& object) {
  std::string fault;
  const Members all(object, "", fault);
  const Members metadata = all.members("metadata");
  const Members spec = all.members("spec");
  Connector connector;
  if (auto name = connector_name(metadata.text("namespace"), metadata.text("name")))
    connector.name = std::move(*name);
  else
    metadata.wrong("name", "or the namespace is over 63 characters");
  connector.uid = metadata.text("uid", kMaxUid);
  connector.generation = metadata.number("generation");
  connector.class_name = spec.text("connectorClassName");
  if (auto address = broker::Address::parse(spec.text("address", kMaxAddress)))
    connector.address = std::move(*address);
  else
    spec.wrong("address", "is not an http or https URL without user, query and fragment");
  if (const auto auth = spec.members_or_none("auth")) read_auth(*auth, connector);
  if (!fault.empty()) return invalid(std::move(fault));
  return connector;
}

const ConnectorClass::Auth* ConnectorClass::find(std::string_view wanted) const {
  const auto found = std::find_if(auth.begin(), auth.end(), [&](const Auth& each) { return each.name == wanted; });
  return found == auth.end() ? nullptr : &*found;
}

Outcome<ConnectorClass> read_connector_class(const json::object& object) {
  std::string fault;
  const Members all(object, "", fault);
  ConnectorClass read{.name = all.members("metadata").text("name"), .auth = {}};
  if (const auto auth = all.members("spec").members_or_none("auth")) {
    auth->each("types", 32, [&](const Members& type) {
      read.auth.push_back({type.text("name"), type.text_or_none("secretType"), type.flag_or_not("optional")});
    });
  }
  if (!fault.empty()) return invalid(std::move(fault));
  return read;
}

Outcome<BasicAuth> read_basic_auth(const json::object& object) {
  std::string fault;
  const Members all(object, "", fault);
  if (all.text("type") != kBasicAuth) return invalid(std::string("type is not ") + kBasicAuth);
  const Members data = all.members("data");
  const auto username = decode(data, "username");
  auto password = decode(data, "password");
  if (username && username->reveal().find(':') != std::string_view::npos)
    data.wrong("username", "has a colon (RFC 7617 section 2)");
  if (!fault.empty()) return invalid(std::move(fault));
  return BasicAuth{std::string(username->reveal()), std::move(*password),
                   std::string(text_at(object, {"metadata", "resourceVersion"}))};
}

Outcome<ConnectorLease> read_connector_lease(const json::object& object) {
  std::string fault;
  const Members all(object, "", fault);
  const Members metadata = all.members("metadata");
  const Members spec = all.members("spec");
  const Members pod = spec.members("pod");
  ConnectorLease lease{.id = metadata.text("name"),
                       .version = std::string(text_at(object, {"metadata", "resourceVersion"})),
                       .space = metadata.text("namespace"),
                       .pod = pod.text("name"),
                       .pod_uid = pod.text("uid", kMaxUid),
                       .node = spec.text("node"),
                       .service_account = spec.text("serviceAccount"),
                       .connectors = read_names(spec),
                       .operations = read_operations(spec),
                       .repositories = spec.texts("repositories", 64, 255),
                       .opened = read_time(spec, "opened"),
                       .expires = read_time(spec, "expires")};
  const bool is_id = lease.id.size() == broker::kLeaseIdSize &&
                     std::all_of(lease.id.begin(), lease.id.end(),
                                 [](char c) { return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'); });
  if (!is_id) metadata.wrong("name", "is not the id of a lease");
  for (const auto& pattern : lease.repositories)
    if (!broker::RepositoryPattern::is_valid(pattern)) spec.wrong("repositories", "has an entry that is no pattern");
  const std::int64_t kid = spec.number("keyVersion");
  if (kid < 1 || kid > std::numeric_limits<std::uint32_t>::max()) spec.wrong("keyVersion", "is no version of a key");
  if (!fault.empty()) return invalid(std::move(fault));
  lease.kid = static_cast<std::uint32_t>(kid);
  return lease;
}

json::object write_connector_lease(const ConnectorLease& lease) {
  std::vector<std::string> connectors;
  connectors.reserve(lease.connectors.size());
  for (const auto& name : lease.connectors) connectors.push_back(name.text());
  json::array operations;
  for (const auto name : lease.operations.names()) operations.emplace_back(json::string_view(name.data(), name.size()));
  // Not a controller, and does not block the pod's deletion: the collector simply takes this along.
  const json::object owner{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", lease.pod}, {"uid", lease.pod_uid}};
  return {{"apiVersion", std::string(kGroup) + "/" + kVersion},
          {"kind", "ConnectorLease"},
          {"metadata",
           {{"name", lease.id}, {"namespace", lease.space}, {"ownerReferences", json::array{json::value(owner)}}}},
          {"spec",
           {{"pod", {{"name", lease.pod}, {"uid", lease.pod_uid}}},
            {"node", lease.node},
            {"serviceAccount", lease.service_account},
            {"connectors", to_array(connectors)},
            {"operations", std::move(operations)},
            {"repositories", to_array(lease.repositories)},
            {"keyVersion", std::int64_t{lease.kid}},
            {"opened", rfc3339_micro(lease.opened)},
            {"expires", rfc3339_micro(lease.expires)}}}};
}

}  // namespace mintfs::kube
