#include "broker/credential_json.h"

#include "broker/secret_json.h"
#include "broker/system_helper.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>

namespace mintfs::broker {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxAuthtype = 64;
constexpr std::size_t kMaxId = 64;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

template <std::optional<std::string> CredentialPattern::*Member>
bool read_place(const json::value& value, CredentialRequest& request) {
  const auto* text = value.if_string();
  if (text == nullptr || !is_credential_text(view(*text), kMaxCredentialText)) return false;
  request.credential.where.*Member = std::string(view(*text));
  return true;
}

bool read_protocol(const json::value& value, CredentialRequest& request) {
  return read_place<&CredentialPattern::protocol>(value, request) && is_protocol(*request.credential.where.protocol);
}

bool read_host(const json::value& value, CredentialRequest& request) {
  return read_place<&CredentialPattern::host>(value, request) && is_host(*request.credential.where.host);
}

template <MaybeSecret JobCredential::*Member>
bool read_secret(const json::value& value, CredentialRequest& request) {
  const auto* text = value.if_string();
  if (text == nullptr || !is_credential_text(view(*text), kMaxCredentialSecret)) return false;
  request.credential.*Member = Secret(view(*text));
  return true;
}

bool read_authtype(const json::value& value, CredentialRequest& request) {
  const auto* text = value.if_string();
  if (text == nullptr || text->empty() || !is_credential_text(view(*text), kMaxAuthtype)) return false;
  request.credential.authtype = view(*text);
  return true;
}

bool read_expiry(const json::value& value, CredentialRequest& request) {
  if (!value.is_int64() || value.get_int64() < 0) return false;
  request.credential.expires = value.get_int64();
  return true;
}

bool read_capabilities(const json::value& value, CredentialRequest& request) {
  const auto* array = value.if_array();
  if (array == nullptr) return false;
  for (const auto& each : *array) {
    if (!each.is_string()) return false;
    if (each.get_string() == "authtype") request.authtype = true;
  }
  return true;
}

bool read_to(const json::value& value, CredentialRequest& request) {
  const auto* text = value.if_string();
  if (text == nullptr || text->empty() || text->size() > kMaxId) return false;
  request.to = view(*text);
  return true;
}

bool read_stores(const json::value& value, CredentialRequest& request) {
  if (value.is_bool()) request.stores = value.get_bool();
  return value.is_bool();
}

bool read_session(const json::value& value, CredentialRequest& request) {
  const auto* object = value.if_object();
  if (object == nullptr) return false;
  for (const auto& variable : *object) {
    const std::string_view name(variable.key().data(), variable.key().size());
    const auto* text = variable.value().if_string();
    if (!is_helper_variable(name) || text == nullptr || !is_credential_text(view(*text), kMaxCredentialText))
      return false;
    request.session[std::string(name)] = view(*text);
  }
  return true;
}

struct Member {
  std::string_view name;
  bool (*read)(const json::value& value, CredentialRequest& request);
  std::string_view expected;
};

constexpr std::string_view kText = "a string of at most 4096 bytes without a line break or NUL";
constexpr std::string_view kSecret = "a string of at most 16384 bytes without a line break or NUL";

constexpr std::array kMembers = {
    Member{"protocol", read_protocol, "a URL's scheme in lower case"},
    Member{"host", read_host, "a host, with its port where the URL has one"},
    Member{"path", read_place<&CredentialPattern::path>, kText},
    Member{"username", read_place<&CredentialPattern::username>, kText},
    Member{"password", read_secret<&JobCredential::password>, kSecret},
    Member{"password_expiry_utc", read_expiry, "seconds since the epoch"},
    Member{"oauth_refresh_token", read_secret<&JobCredential::refresh_token>, kSecret},
    Member{"authtype", read_authtype, "a word such as 'Basic'"},
    Member{"credential", read_secret<&JobCredential::credential>, kSecret},
    Member{"capabilities", read_capabilities, "a list of strings"},
    Member{"to", read_to, "the id of a lease"},
    Member{"stores", read_stores, "true or false"},
    Member{"session", read_session, "an object of the variables that a helper needs"},
};

}  // namespace

std::optional<CredentialRequest> parse_credential_request(std::string_view body, std::string& detail) {
  const auto value = parse_secret_json(body);
  if (!value || !value->is_object()) {
    detail = "The body is not a JSON object.";
    return std::nullopt;
  }
  CredentialRequest request;
  for (const auto& member : value->get_object()) {
    const std::string_view name(member.key().data(), member.key().size());
    const auto* const known =
        std::find_if(kMembers.begin(), kMembers.end(), [&](const Member& each) { return each.name == name; });
    if (known == kMembers.end()) {
      detail = "A member is unknown; docs/openapi.yaml lists those there are.";
      return std::nullopt;
    }
    if (!known->read(member.value(), request)) {
      detail = "'" + std::string(known->name) + "' must be " + std::string(known->expected) + ".";
      return std::nullopt;
    }
  }
  return request;
}

Secret to_json(const JobCredential& credential, To purpose) {
  json::object object = secret_object();
  const auto add = [&](std::string_view name, std::string_view text) {
    object[json::string_view(name.data(), name.size())] = json::string_view(text.data(), text.size());
  };
  const auto add_secret = [&](std::string_view name, const MaybeSecret& secret) {
    if (secret) add(name, secret->reveal());
  };
  const auto add_place = [&](std::string_view name, const std::optional<std::string>& place) {
    if (place) add(name, *place);
  };
  if (purpose == To::store) {
    add_place("protocol", credential.where.protocol);
    add_place("host", credential.where.host);
    add_place("path", credential.where.path);
  }
  add_place("username", credential.where.username);
  add_secret("password", credential.password);
  if (credential.credential) add("authtype", credential.authtype);
  add_secret("credential", credential.credential);
  add_secret("oauth_refresh_token", credential.refresh_token);
  if (credential.expires) object["password_expiry_utc"] = *credential.expires;
  if (purpose == To::use) object["ephemeral"] = true;
  return serialize_secret(object);
}

std::string to_json(std::string_view helper, std::chrono::seconds lifetime,
                    const std::vector<CredentialPattern>& places) {
  json::array entries;
  for (const auto& place : places) {
    json::object entry;
    const auto add = [&](const char* name, const std::optional<std::string>& value) {
      if (value) entry[name] = *value;
    };
    add("protocol", place.protocol);
    add("host", place.host);
    add("path", place.path);
    add("username", place.username);
    entries.push_back(std::move(entry));
  }
  return json::serialize(json::object{{"helper", json::string_view(helper.data(), helper.size())},
                                      {"lifetime", lifetime.count()},
                                      {"entries", std::move(entries)}}) +
         "\n";
}

}  // namespace mintfs::broker
