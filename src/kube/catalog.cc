#include "kube/catalog.h"

#include "broker/connector_class.h"

namespace mintfs::kube {
namespace {

Condition no(ConditionType type, std::string reason, std::string message) {
  return {.type = type, .status = Truth::no, .reason = std::move(reason), .message = std::move(message)};
}

}  // namespace

Catalog::Catalog(Serving& serving)
    : serving_(serving),
      connectors_(read_connector, name_of, [this](const ObjectName& name) { judge(name); }),
      classes_(read_connector_class, name_of,
               [this](const ObjectName& name) {
                 judge_if([&](const Connector& each) { return each.class_name == name.name; });
               }),
      secrets_(read_basic_auth, name_of, [this](const ObjectName& name) {
        judge_if([&](const Connector& each) { return each.secret == name; });
      }) {}

const ConnectorClass::Auth* Catalog::auth_of(const Connector& connector) const {
  const auto* const found = classes_.find({"", connector.class_name});
  return found == nullptr || !*found ? nullptr : (*found)->find(connector.auth);
}

Condition Catalog::class_condition(const Connector& connector) const {
  constexpr auto kType = ConditionType::connector_class_ready;
  const auto* const found = classes_.find({"", connector.class_name});
  if (found == nullptr)
    return no(kType, "ConnectorClassNotFound", "There is no ConnectorClass '" + connector.class_name + "'.");
  if (!*found)
    return no(kType, "ConnectorClassInvalid",
              "The ConnectorClass '" + connector.class_name + "' cannot be used: " + found->error().message + ".");
  if (!broker::parse_connector_class(connector.class_name))
    return no(kType, "ConnectorClassUnsupported",
              "mintfs does not know what speaks at connectors of the class '" + connector.class_name +
                  "'; it knows git, github, gitlab and the others of its documentation.");
  if (!connector.auth.empty() && auth_of(connector) == nullptr)
    return no(kType, "AuthTypeUnknown",
              "The ConnectorClass '" + connector.class_name + "' has no auth type '" + connector.auth + "'.");
  return {.type = kType, .status = Truth::yes, .reason = "ConnectorClassFound", .message = ""};
}

Condition Catalog::secret_condition(const Connector& connector) const {
  constexpr auto kType = ConditionType::secret_ready;
  const ConnectorClass::Auth* const auth = auth_of(connector);
  if (!connector.secret) {
    if (connector.auth.empty() || (auth != nullptr && auth->optional))
      return {.type = kType, .status = Truth::yes, .reason = "SecretNotNeeded", .message = ""};
    return no(kType, "SecretNotNamed", "spec.auth.secretRef names no Secret, and the class asks for one.");
  }
  if (auth != nullptr && auth->secret_type != kBasicAuth)
    return no(kType, "SecretTypeUnsupported",
              "The auth type '" + connector.auth + "' takes a Secret of type '" + printable(auth->secret_type) +
                  "'; mintfs knows kubernetes.io/basic-auth.");
  const auto* const found = secrets_.find(*connector.secret);
  if (found == nullptr)
    return no(kType, "SecretNotFound",
              "There is no Secret '" + connector.secret->name +
                  "' of type kubernetes.io/basic-auth in the namespace '" + connector.secret->space + "'.");
  if (!*found)
    return no(kType, "SecretInvalid",
              "The Secret '" + connector.secret->name + "' cannot be used: " + found->error().message + ".");
  return {.type = kType, .status = Truth::yes, .reason = "SecretFound", .message = ""};
}

std::vector<Condition> Catalog::conditions(const ObjectName& name) const {
  const auto* const found = connectors_.find(name);
  if (found == nullptr) return {};
  if (!*found)
    return {no(ConditionType::connector_class_ready, "ConnectorInvalid",
               "The Connector cannot be used: " + found->error().message + ".")};
  return {class_condition(**found), secret_condition(**found)};
}

std::optional<std::string> Catalog::served_as(const ObjectName& name) const {
  const auto found = served_.find(name);
  if (found == served_.end()) return std::nullopt;
  return found->second;
}

std::set<ObjectName> Catalog::names() const {
  std::set<ObjectName> names;
  for (const auto& [name, connector] : connectors_.all()) names.insert(name);
  return names;
}

void Catalog::judge_if(const std::function<bool(const Connector&)>& concerned) {
  for (const auto& [name, connector] : connectors_.all())
    if (connector && concerned(*connector)) judge(name);
}

void Catalog::judge(const ObjectName& name) {
  const auto conditions = this->conditions(name);
  bool ready = !conditions.empty();
  for (const Condition& each : conditions) ready = ready && each.status == Truth::yes;
  if (ready) {
    const Connector& connector = **connectors_.find(name);
    const BasicAuth* const secret = connector.secret ? &**secrets_.find(*connector.secret) : nullptr;
    broker::ConnectorConfig config;
    config.name = connector.name;
    config.connector_class = *broker::parse_connector_class(connector.class_name);
    config.address = connector.address;
    if (secret != nullptr) config.auth.username = secret->username;
    served_.insert_or_assign(name, connector.class_name + " " + connector.address.text() + " " + connector.repository +
                                       " " + (secret == nullptr ? std::string() : secret->version));
    serving_.serve(config, secret == nullptr ? nullptr : &secret->password);
  } else if (served_.erase(name) != 0) {
    serving_.withdraw({name.space, name.name});
  }
  changed_(name);
}

}  // namespace mintfs::kube
