// Reads [[connector]].
#include "broker/config_section.h"

#include <boost/asio/ip/address.hpp>

namespace mintfs::broker {
namespace {

// Whether the administrator may have the credential sent in a field of this name: not where another field of
// the message's own would be meant, nor one that a client may send as well.
bool may_carry_credential(std::string name) {
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 64 || !letter_or_digit(name.front())) return false;
  for (char& c : name) {
    if (!letter_or_digit(c) && c != '-') return false;  // '_' is '-' to some servers
    c = to_lower(c);
  }
  for (const std::string_view group : {"accept", "content-", "if-", "proxy-", "x-forwarded", "sec-", "access-control-"})
    if (name.starts_with(group)) return false;
  for (const std::string_view taken : {"connection",
                                       "cache-control",
                                       "date",
                                       "expect",
                                       "forwarded",
                                       "git-protocol",
                                       "host",
                                       "http2-settings",
                                       "keep-alive",
                                       "max-forwards",
                                       "origin",
                                       "pragma",
                                       "range",
                                       "referer",
                                       "te",
                                       "trailer",
                                       "traceparent",
                                       "tracestate",
                                       "transfer-encoding",
                                       "upgrade",
                                       "user-agent",
                                       "via"})
    if (name == taken) return false;
  return true;
}

void read_secret_file_name(Section& section, const std::string& key, AuthConfig& auth) {
  section.path(key, auth.secret_file);
  if (auth.secret_file.empty()) section.fail(key, "is missing; secrets are read from files only");
}

AuthConfig read_auth(Section& section) {
  AuthConfig auth;
  std::string type;
  constexpr std::string_view kTypes = "\"basic\", \"bearer\", \"token\" or \"header\"";
  if (!section.text("type", type)) section.fail("type", "is missing; use " + std::string(kTypes));
  if (type == "basic") {
    auth.type = AuthConfig::Type::basic;
    if (!section.text("username", auth.username)) section.fail("username", "is missing");
    if (auth.username.find(':') != std::string::npos) section.fail_at("username", "must not hold a colon");
    read_secret_file_name(section, "password_file", auth);
  } else if (type == "bearer" || type == "token") {
    auth.type = type == "bearer" ? AuthConfig::Type::bearer : AuthConfig::Type::token;
    read_secret_file_name(section, "token_file", auth);
  } else if (type == "header") {
    auth.type = AuthConfig::Type::header;
    if (!section.text("name", auth.header_name)) section.fail("name", "is missing, for example \"X-Api-Key\"");
    if (!may_carry_credential(auth.header_name))
      section.fail_at("name", "'" + auth.header_name + "' cannot carry a credential; name a header field of its own");
    read_secret_file_name(section, "value_file", auth);
  } else {
    section.fail_at("type", "must be " + std::string(kTypes));
  }
  return auth;
}

void read_class(Section& section, ConnectorConfig& connector) {
  std::string word;
  if (!section.text("class", word)) return;
  if (const auto known = parse_connector_class(word)) {
    connector.connector_class = *known;
    return;
  }
  std::string list;
  for (const ConnectorClass each : kConnectorClasses) list += (list.empty() ? "" : ", ") + std::string(to_string(each));
  section.fail_at("class", "'" + word + "' is not known; known here: " + list);
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

void read_formats(Section& section, ConnectorConfig& connector) {
  if (!section.has("formats")) return;
  if (!keeps_formats(connector.connector_class))
    section.fail_at("formats", "is of no use with this class; nexus and jfrog have repositories of several formats");
  section.section("formats", [&](Section& formats) {
    for (const PackageFormat format : kPackageFormats) {
      const std::string key(to_string(format));
      std::string name;
      if (!formats.text(key, name)) continue;
      if (!is_repository_key(name))
        formats.fail_at(key, "'" + name + "' is not the name of a repository of letters, digits, '-', '_' and '.'");
      if (connector.rights.restricts_repositories() && !connector.rights.giving(name, connector.letter_case))
        formats.fail_at(key, "'" + name + "' is none of the connector's repositories");
      connector.formats.emplace(format, std::move(name));
    }
  });
  if (connector.formats.empty()) section.fail_at("formats", "is empty; leave it out");
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

std::vector<Address> read_origins(Section& section, const std::string& key) {
  std::vector<Address> origins;
  section.texts(key, [&](const std::string& entry, const toml::node& node) {
    const auto origin = Address::parse(entry);
    if (!origin || !origin->prefix.empty())
      section.fail(node, key, "'" + entry + "' is not an origin such as \"https://files.example.org\"");
    origins.push_back(*origin);
  });
  return origins;
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

  read_class(section, connector);

  if (!section.text("address", text)) section.fail("address", "is missing, for example \"https://github.com\"");
  const auto address = Address::parse(text);
  if (!address) section.fail_at("address", "must be an http or https URL without user name, query and fragment");
  connector.address = *address;

  if (!section.has("auth")) section.fail("auth", "is missing");
  section.section("auth", [&](Section& auth) {
    connector.auth = read_auth(auth);
    if (connector.auth.type == AuthConfig::Type::token && connector.connector_class == ConnectorClass::git)
      auth.fail_at("type", "\"token\" needs a class that says how its tokens are sent; use \"basic\" or \"bearer\"");
  });

  read_repositories(section, connector);
  read_formats(section, connector);
  read_operations(section, connector);
  section.section("refs", [&](Section& refs) { read_references(refs, connector.rights.references); });
  section.number("priority", connector.priority, -1000, 1000);
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
  connector.lfs_origins = read_origins(section, "lfs_origins");
  connector.redirect_origins = read_origins(section, "redirect_origins");
  connector.token_origins = read_origins(section, "token_origins");
  if (!connector.token_origins.empty() && !serves_oci(connector.connector_class))
    section.fail_at("token_origins", "is of no use with this class; token services are asked for oci and harbor");
  section.flag("lfs", connector.lfs);
  section.flag("plain_get", connector.plain_get);
  return connector;
}

}  // namespace mintfs::broker
