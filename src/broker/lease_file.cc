#include "broker/lease_file.h"

#include "broker/encoding.h"
#include "broker/job_place.h"
#include "broker/secret_json.h"
#include "broker/state_file.h"
#include "broker/system_helper.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace mintfs::broker {
namespace {

namespace json = boost::json;

constexpr std::int64_t kVersion = 1;
// Of a lease with what an older mintfsd would leave out: it must not take it for its own.
constexpr std::int64_t kVersionWithReferences = 2;
constexpr std::int64_t kVersionWithOrigins = 3;         // and with or without references
constexpr std::int64_t kVersionWithTokenTtl = 4;        // and with or without both
constexpr std::int64_t kVersionWithConfigurations = 5;  // and with or without those
constexpr std::int64_t kVersionWithGrant = 6;           // and with or without all of them
constexpr std::int64_t kVersionWithPlace = 7;           // and with or without any

// The least that knows all that is in it.
std::int64_t version_for(bool has_references, bool has_origins, bool has_token_ttl, bool has_configurations,
                         bool has_grant, bool has_place) {
  return has_place            ? kVersionWithPlace
         : has_grant          ? kVersionWithGrant
         : has_configurations ? kVersionWithConfigurations
         : has_token_ttl      ? kVersionWithTokenTtl
         : has_origins        ? kVersionWithOrigins
         : has_references     ? kVersionWithReferences
                              : kVersion;
}

std::int64_t milliseconds(Time time) { return time.time_since_epoch().count(); }

std::string text(const json::value& value) { return std::string(value.as_string()); }

// The subject stands in tokens without escapes (see Claims).
bool is_subject(std::string_view subject) {
  return !subject.empty() && subject.size() <= 512 && std::all_of(subject.begin(), subject.end(), [](char c) {
    return c > 0x20 && c <= 0x7e && c != '"' && c != '\\';
  });
}

Rights read_rights(const json::object& object) {
  Rights rights;
  rights.operations = Operations();
  for (const auto& name : object.at("operations").as_array()) {
    if (text(name) == "fetch")
      rights.operations = rights.operations | Operations::only(Operation::fetch);
    else if (text(name) == "push")
      rights.operations = rights.operations | Operations::only(Operation::push);
    else
      throw std::runtime_error("it names an unknown operation");
  }
  for (const auto& pattern : object.at("repositories").as_array()) {
    if (!RepositoryPattern::is_valid(text(pattern))) throw std::runtime_error("it holds a malformed pattern");
    rights.repositories.emplace_back(text(pattern));
  }
  if (object.if_contains("refs") == nullptr) return rights;
  for (const auto& pattern : object.at("refs").as_array()) {
    if (!ReferencePattern::is_valid(text(pattern))) throw std::runtime_error("it holds a malformed pattern");
    rights.references.allow.emplace_back(text(pattern));
  }
  if (rights.references.allow.empty()) throw std::runtime_error("its list of references is empty");
  return rights;
}

std::shared_ptr<const OriginPatterns> read_origins(const json::value& list) {
  OriginPatterns origins;
  for (const auto& each : list.as_array()) {
    const auto pattern = OriginPattern::parse(text(each));
    if (!pattern) throw std::runtime_error("it holds a malformed origin");
    origins.push_back(*pattern);
  }
  if (origins.empty()) throw std::runtime_error("its list of origins is empty");
  return std::make_shared<const OriginPatterns>(std::move(origins));
}

std::vector<std::string> read_configurations(const json::value& list) {
  std::vector<std::string> names;
  for (const auto& each : list.as_array()) {
    names.push_back(text(each));
    if (!is_configuration_name(names.back())) throw std::runtime_error("it holds a malformed configuration's name");
  }
  if (names.empty() || names.size() > kMaxConfigurations)
    throw std::runtime_error("it has no configuration, or too many");
  return names;
}

void read_grant(const json::object& object, Lease& lease) {
  Lease::Grant grant{.audience = text(object.at("audience")), .connectors = {}};
  if (!Address::parse(grant.audience)) throw std::runtime_error("its audience is malformed");
  const auto& key = object.at("key").as_string();
  auto bytes = base64_decode({key.data(), key.size()});
  if (!bytes || bytes->size() != lease.key.bytes().size()) throw std::runtime_error("its key is malformed");
  std::copy(bytes->begin(), bytes->end(), lease.key.bytes().begin());
  wipe(*bytes);
  for (const auto& each : object.at("connectors").as_array()) {
    const auto& written = each.as_object();
    const auto name = ConnectorName::parse(text(written.at("name")));
    const auto known = parse_connector_class(text(written.at("class")));
    const auto address = Address::parse(text(written.at("address")));
    if (!name || !known || !address) throw std::runtime_error("it holds a malformed connector");
    ConnectorConfig connector;
    connector.name = *name;
    connector.connector_class = *known;
    connector.address = *address;
    grant.connectors.emplace(*name, std::move(connector));
  }
  for (const auto& name : lease.connectors)
    if (!grant.connectors.contains(name)) throw std::runtime_error("it does not say where a connector is");
  lease.grant = std::make_shared<const Lease::Grant>(std::move(grant));
}

json::object write_grant(const Lease& lease) {
  json::object object = secret_object();
  json::array connectors;
  for (const auto& [name, connector] : lease.grant->connectors) {
    const std::string_view word = to_string(connector.connector_class);
    connectors.push_back({{"name", name.text()},
                          {"class", json::string_view(word.data(), word.size())},
                          {"address", connector.address.text()}});
  }
  std::array<char, base64_size(std::tuple_size_v<Digest>)> key;
  base64_encode(lease.key.reveal(), key.data());
  object["audience"] = lease.grant->audience;
  object["key"] = json::string_view(key.data(), key.size());
  object["connectors"] = std::move(connectors);
  wipe(key);
  return object;
}

Lease parse(const json::object& object) {
  const auto* origins = object.if_contains("origins");
  const auto* token_ttl = object.if_contains("token_ttl");
  const auto* configurations = object.if_contains("configurations");
  const auto* proxy_url = object.if_contains("proxy_url");
  const auto* seen_at = object.if_contains("seen_at");
  if (object.at("version").as_int64() != version_for(object.if_contains("refs") != nullptr, origins != nullptr,
                                                     token_ttl != nullptr, configurations != nullptr,
                                                     object.if_contains("grant") != nullptr,
                                                     proxy_url != nullptr || seen_at != nullptr))
    throw std::runtime_error("its version does not fit");
  Lease lease;
  if (configurations != nullptr) lease.configurations = read_configurations(*configurations);
  if (origins != nullptr) lease.origins = read_origins(*origins);
  if (proxy_url != nullptr) lease.proxy_url = text(*proxy_url);
  if (seen_at != nullptr) lease.seen_at = text(*seen_at);
  if (proxy_url != nullptr && !Address::parse(lease.proxy_url.text()))
    throw std::runtime_error("its proxy_url is malformed");
  if (seen_at != nullptr && !is_seen_path(lease.seen_at.text())) throw std::runtime_error("its seen_at is malformed");
  lease.id = text(object.at("id"));
  lease.serial = object.at("serial").to_number<std::uint64_t>();
  if (lease.serial == 0 || lease.serial > kMaxSerial) throw std::runtime_error("its serial is out of range");
  lease.uid = object.at("uid").to_number<uid_t>();
  lease.opener = object.at("opener").to_number<uid_t>();
  lease.subject = text(object.at("subject"));
  for (const auto& label : object.at("labels").as_object())
    lease.labels[std::string(label.key())] = text(label.value());
  for (const auto& each : object.at("connectors").as_array()) {
    const auto name = ConnectorName::parse(text(each));
    if (!name) throw std::runtime_error("it holds a malformed connector name");
    lease.connectors.push_back(*name);
  }
  if (const auto* grant = object.if_contains("grant")) read_grant(grant->as_object(), lease);
  lease.rights = read_rights(object);
  lease.opened = Time(std::chrono::milliseconds(object.at("opened").to_number<std::int64_t>()));
  lease.expires = Time(std::chrono::milliseconds(object.at("expires").to_number<std::int64_t>()));
  if (token_ttl != nullptr) lease.token_ttl = std::chrono::seconds(token_ttl->as_int64());
  if (lease.token_ttl < std::chrono::seconds::zero()) throw std::runtime_error("its token_ttl is malformed");
  if (const auto* pod = object.if_contains("pod")) lease.pod = pod->as_bool();
  lease.kid = object.at("kid").to_number<std::uint32_t>();
  lease.process.pid = object.at("pid").to_number<pid_t>();
  lease.process.start_time = object.at("pid_start_time").to_number<std::uint64_t>();
  if (const auto* exact = object.if_contains("exact_protocol")) lease.exact_protocol = exact->as_bool();
  if (const auto* store = object.if_contains("credential_store")) {
    lease.credential_store = text(*store);
    if (!is_credential_store(lease.credential_store)) throw std::runtime_error("its credential store is malformed");
  }
  if (const auto* cgroup = object.if_contains("cgroup")) {
    auto group = Cgroup::parse(text(*cgroup));
    if (!group) throw std::runtime_error("its cgroup is malformed");
    group->id = object.at("cgroup_id").to_number<std::uint64_t>();
    lease.cgroup = std::make_shared<const Cgroup>(std::move(*group));
  }
  if (lease.id.size() != kLeaseIdSize ||
      lease.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567") != std::string::npos)
    throw std::runtime_error("its id is malformed");
  if (lease.connectors.empty()) throw std::runtime_error("it names no connector");
  if (!is_subject(lease.subject)) throw std::runtime_error("its subject is malformed");
  if (lease.process.pid < 0) throw std::runtime_error("its process is malformed");
  return lease;
}

}  // namespace

void write_lease_file(const std::filesystem::path& file, const Lease& lease) {
  json::object labels;
  for (const auto& [key, value] : lease.labels) labels[key] = value;
  json::array connectors;
  for (const auto& name : lease.connectors) connectors.emplace_back(name.text());
  json::array operations;
  for (const auto name : lease.rights.operations.names()) operations.emplace_back(std::string(name));
  json::array repositories;
  for (const auto& pattern : lease.rights.repositories) repositories.emplace_back(pattern.text());
  json::array references;
  for (const auto& pattern : lease.rights.references.allow) references.emplace_back(pattern.text());
  json::object object = secret_object();
  object = {
      {"version", version_for(!references.empty(), lease.origins != nullptr, lease.token_ttl.count() != 0,
                              !lease.configurations.empty(), lease.grant != nullptr,
                              !lease.proxy_url.empty() || !lease.seen_at.empty())},
      {"id", lease.id},
      {"serial", lease.serial},
      {"uid", lease.uid},
      {"opener", lease.opener},
      {"subject", lease.subject},
      {"labels", std::move(labels)},
      {"connectors", std::move(connectors)},
      {"operations", std::move(operations)},
      {"repositories", std::move(repositories)},
      {"opened", milliseconds(lease.opened)},
      {"expires", milliseconds(lease.expires)},
      {"kid", lease.kid},
      {"pid", lease.process.pid},
      {"pid_start_time", lease.process.start_time},
  };
  if (!references.empty()) object["refs"] = std::move(references);
  if (lease.origins) {
    json::array origins;
    for (const auto& pattern : *lease.origins) origins.emplace_back(pattern.text());
    object["origins"] = std::move(origins);
  }
  if (lease.token_ttl.count() != 0) object["token_ttl"] = lease.token_ttl.count();
  if (lease.pod) object["pod"] = true;  // an older mintfsd takes it for root's alone
  if (!lease.configurations.empty())
    object["configurations"] = json::array(lease.configurations.begin(), lease.configurations.end());
  if (!lease.proxy_url.empty()) object["proxy_url"] = lease.proxy_url.text();
  if (!lease.seen_at.empty()) object["seen_at"] = lease.seen_at.text();
  if (lease.exact_protocol) object["exact_protocol"] = true;
  if (!lease.credential_store.empty()) object["credential_store"] = lease.credential_store;
  if (lease.cgroup) {
    object["cgroup"] = lease.cgroup->text();
    object["cgroup_id"] = lease.cgroup->id;
  }
  if (lease.grant) object["grant"] = write_grant(lease);
  write_file_atomically(file, serialize_secret(object).reveal(), 0600, false);
}

Lease read_lease_file(const std::filesystem::path& file) {
  const Secret content = read_secret_file(file);
  const auto value = parse_secret_json(content.reveal());
  if (!value || !value->is_object()) throw std::runtime_error("it is not a JSON object");
  const auto* version = value->as_object().if_contains("version");
  if (version == nullptr || !version->is_int64() || version->as_int64() < kVersion ||
      version->as_int64() > kVersionWithPlace)
    throw std::runtime_error("it was written by another version of mintfsd");
  try {
    return parse(value->as_object());
  } catch (const boost::system::system_error&) {
    throw std::runtime_error("a member is missing or of the wrong type");
  } catch (const std::out_of_range&) {
    throw std::runtime_error("a member is missing");
  } catch (const std::invalid_argument&) {
    throw std::runtime_error("a member is of the wrong type");
  }
}

}  // namespace mintfs::broker
