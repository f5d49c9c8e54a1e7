// Reads [[connector]].
#include "broker/config_section.h"

#include <boost/asio/ip/address.hpp>

namespace mintfs::broker {
namespace {

AuthConfig read_auth(Section& section) {
  AuthConfig auth;
  std::string type;
  if (!section.text("type", type)) section.fail("type", "is missing; use \"basic\" or \"bearer\"");
  if (type == "basic") {
    auth.type = AuthConfig::Type::basic;
    if (!section.text("username", auth.username)) section.fail("username", "is missing");
    if (auth.username.find(':') != std::string::npos) section.fail_at("username", "must not hold a colon");
    section.path("password_file", auth.secret_file);
    if (auth.secret_file.empty()) section.fail("password_file", "is missing; secrets are read from files only");
  } else if (type == "bearer") {
    auth.type = AuthConfig::Type::bearer;
    section.path("token_file", auth.secret_file);
    if (auth.secret_file.empty()) section.fail("token_file", "is missing; secrets are read from files only");
  } else {
    section.fail_at("type", "must be \"basic\" or \"bearer\"");
  }
  return auth;
}

void read_repositories(Section& section, ConnectorConfig& connector) {
  // What is ignored without being told to must be known: two repositories of github.com never differ by
  // case alone, while gitlab.com keeps old projects that do.
  bool ignores_case = connector.address.host == "github.com";
  section.flag("case_insensitive", ignores_case);
  connector.letter_case = ignores_case ? LetterCase::ignored : LetterCase::counts;
  section.texts("repositories", [&](const std::string& pattern, const toml::node& node) {
    if (!RepositoryPattern::is_valid(pattern))
      section.fail(node, "repositories", "'" + pattern + "' is not a pattern like \"owner/name\" or \"owner/*\"");
    connector.rights.repositories.emplace_back(pattern);
  });
  if (section.has("repositories") && connector.rights.repositories.empty())
    section.fail_at("repositories", "is empty; leave it out to allow all");
}

void read_operations(Section& section, ConnectorConfig& connector) {
  if (!section.has("operations")) return;
  Operations operations;
  section.texts("operations", [&](const std::string& operation, const toml::node& node) {
    if (operation == "fetch")
      operations = operations | Operations::only(Operation::fetch);
    else if (operation == "push")
      operations = operations | Operations::only(Operation::push);
    else
      section.fail(node, "operations", "'" + operation + "' is neither \"fetch\" nor \"push\"");
  });
  if (operations.empty()) section.fail_at("operations", "is empty; leave it out to allow both");
  connector.rights.operations = operations;
}

std::vector<ReferencePattern> read_patterns(Section& refs, const std::string& key) {
  std::vector<ReferencePattern> patterns;
  refs.texts(key, [&](const std::string& pattern, const toml::node& node) {
    if (!ReferencePattern::is_valid(pattern))
      refs.fail(
          node, key,
          "'" + pattern + "' is not a full name with at most one '*', like \"refs/heads/main\" or \"refs/tags/*\"");
    patterns.emplace_back(pattern);
  });
  if (refs.has(key) && patterns.empty()) refs.fail_at(key, "is empty; leave it out");
  return patterns;
}

void read_references(Section& refs, ReferenceRules& rules) {
  rules.allow = read_patterns(refs, "allow");
  rules.deny = read_patterns(refs, "deny");
  refs.flag("deny_create", rules.deny_create);
  refs.flag("deny_delete", rules.deny_delete);
  bool deny_force = false;
  refs.flag("deny_force", deny_force);
  if (deny_force)
    refs.fail_at(
        "deny_force",
        "cannot be held by a proxy: whether an update loses commits is not in the push, only the server knows; "
        "set receive.denyNonFastForwards or protect the branch there");
}

}  // namespace

ConnectorConfig read_connector(Section& section) {
  ConnectorConfig connector;
  std::string text;
  if (!section.text("name", text)) section.fail("name", "is missing");
  const auto name = ConnectorName::parse(text);
  if (!name)
    section.fail_at("name", "must be \"name\" or \"namespace/name\" of lower-case letters, digits, '.', '_' and '-'");
  connector.name = *name;

  std::string kind = "git";
  section.text("class", kind);
  if (kind != "git") section.fail_at("class", "must be \"git\"");

  if (!section.text("address", text)) section.fail("address", "is missing, for example \"https://github.com\"");
  const auto address = Address::parse(text);
  if (!address) section.fail_at("address", "must be an http or https URL without user name, query and fragment");
  connector.address = *address;

  if (!section.has("auth")) section.fail("auth", "is missing");
  section.section("auth", [&](Section& auth) { connector.auth = read_auth(auth); });

  read_repositories(section, connector);
  read_operations(section, connector);
  section.section("refs", [&](Section& refs) { read_references(refs, connector.rights.references); });
  section.section("allow", [&](Section& allow) {
    allow.texts("users", [&](const std::string& user, const toml::node&) { connector.allow.users.push_back(user); });
    allow.texts("groups",
                [&](const std::string& group, const toml::node&) { connector.allow.groups.push_back(group); });
  });
  section.path("ca_file", connector.ca_file);
  if (!connector.ca_file.empty() && !connector.address.tls())
    section.fail_at("ca_file", "is of no use with an http address");
  section.texts("allow_addresses", [&](const std::string& entry, const toml::node& node) {
    boost::system::error_code error;
    const auto parsed = boost::asio::ip::make_address(entry, error);
    if (error) section.fail(node, "allow_addresses", "'" + entry + "' is not an IP address");
    connector.allow_addresses.push_back(parsed.to_string());
  });
  section.texts("lfs_origins", [&](const std::string& entry, const toml::node& node) {
    const auto origin = Address::parse(entry);
    if (!origin || !origin->prefix.empty())
      section.fail(node, "lfs_origins", "'" + entry + "' is not an origin such as \"https://lfs.example.org\"");
    connector.lfs_origins.push_back(*origin);
  });
  section.flag("lfs", connector.lfs);
  section.flag("plain_get", connector.plain_get);
  return connector;
}

}  // namespace mintfs::broker
