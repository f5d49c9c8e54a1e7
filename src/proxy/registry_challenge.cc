#include "proxy/registry_challenge.h"

#include "proxy/path.h"

#include <boost/json/parse.hpp>
#include <boost/json/static_resource.hpp>

#include <algorithm>

namespace mintfs::proxy {
namespace {

namespace json = boost::json;
using broker::Errc;

constexpr std::size_t kMaxParameter = 1024;
constexpr std::chrono::seconds kLongest{3600};

bool is_token(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

void skip_blanks(std::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
}

std::string_view take_token(std::string_view& text) {
  const auto end = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_token) - text.begin());
  const std::string_view token = text.substr(0, end);
  text.remove_prefix(end);
  return token;
}

// A token or a quoted string.
std::optional<std::string> take_value(std::string_view& text) {
  std::string value;
  if (!text.starts_with('"')) {
    value = take_token(text);
    return value.empty() ? std::nullopt : std::optional(value);
  }
  text.remove_prefix(1);
  while (!text.empty() && text.front() != '"') {
    if (text.front() == '\\') text.remove_prefix(1);
    if (text.empty() || text.front() < 0x20 || text.front() > 0x7e || value.size() > kMaxParameter) return std::nullopt;
    value += text.front();
    text.remove_prefix(1);
  }
  if (text.empty()) return std::nullopt;
  text.remove_prefix(1);
  return value;
}

void append_component(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~:/,").find(c) != std::string_view::npos;
    if (plain)
      out += c;
    else
      ((out += '%') += kHex[byte >> 4]) += kHex[byte & 15];
  }
}

}  // namespace

std::optional<TokenRealm> parse_challenge(std::string_view value) {
  skip_blanks(value);
  if (!iequals(take_token(value), "bearer") || !(value.starts_with(' ') || value.starts_with('\t')))
    return std::nullopt;
  TokenRealm found;
  bool has_realm = false, has_service = false;
  while (true) {
    skip_blanks(value);
    const std::string_view name = take_token(value);
    skip_blanks(value);
    if (name.empty() || !value.starts_with('=')) return std::nullopt;
    value.remove_prefix(1);
    skip_blanks(value);
    auto parameter = take_value(value);
    if (!parameter) return std::nullopt;
    const bool realm = iequals(name, "realm"), service = iequals(name, "service");
    if ((realm && has_realm) || (service && has_service)) return std::nullopt;
    if (realm) found.realm = std::move(*parameter), has_realm = true;
    if (service) found.service = std::move(*parameter), has_service = true;
    skip_blanks(value);
    if (value.empty()) break;
    if (!value.starts_with(',')) return std::nullopt;
    value.remove_prefix(1);
  }
  return has_realm && !found.realm.empty() ? std::optional(found) : std::nullopt;
}

std::optional<TokenRealm> find_challenge(const std::vector<Field>& fields) {
  for (const Field& field : fields) {
    if (field.id != FieldId::www_authenticate) continue;
    if (auto found = parse_challenge(field.value)) return found;
  }
  return std::nullopt;
}

std::string scope_of(const ServiceRequest& request, bool removes) {
  if (request.reach == broker::Reach::everything) return "registry:catalog:*";
  if (request.reach != broker::Reach::repository) return {};
  std::string scope("repository:");
  scope.append(request.name()).append(":pull");
  if (request.operation == broker::Operation::push) scope.append(removes ? ",push,delete" : ",push");
  return scope;
}

std::optional<std::string> token_target(std::string_view realm_path_and_query, const TokenRealm& realm,
                                        std::string_view scope) {
  Target target;
  if (realm_path_and_query.empty()) realm_path_and_query = "/";
  if (parse_target(realm_path_and_query, target)) return std::nullopt;
  std::string out(realm_path_and_query);
  char separator = target.has_query ? '&' : '?';
  const auto add = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    ((out += separator).append(name)) += '=';
    append_component(out, value);
    separator = '&';
  };
  add("service", realm.service);
  add("scope", scope);
  return out;
}

broker::Result<RegistryToken> parse_token_answer(std::string_view text) {
  if (text.size() > kMaxTokenAnswer) return Errc::upstream_malformed;
  // The document holds the token: what it is parsed into is wiped. Of most answers that is little.
  std::vector<unsigned char, broker::WipingAllocator<unsigned char>> memory(
      std::min(4 * kMaxTokenAnswer, 4096 + 32 * text.size()));
  json::static_resource resource(memory.data(), memory.size());
  json::parse_options options;
  options.max_depth = 4;
  try {
    boost::system::error_code error;
    const json::value document = json::parse(json::string_view(text.data(), text.size()), error, &resource, options);
    if (error || !document.is_object()) return Errc::upstream_malformed;
    const auto& object = document.get_object();
    const auto* token = object.if_contains("token");
    if (token == nullptr) token = object.if_contains("access_token");
    if (token == nullptr || !token->is_string()) return Errc::upstream_malformed;
    const std::string_view value(token->get_string().data(), token->get_string().size());
    const bool plain = std::all_of(value.begin(), value.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    if (value.empty() || value.size() > kMaxRegistryToken || !plain) return Errc::upstream_malformed;
    RegistryToken found{broker::Secret(value)};
    if (const auto* lifetime = object.if_contains("expires_in"); lifetime != nullptr && lifetime->is_int64())
      found.lifetime = std::clamp(std::chrono::seconds(lifetime->get_int64()), std::chrono::seconds(0), kLongest);
    return found;
  } catch (const std::bad_alloc&) {
    return Errc::upstream_malformed;
  }
}

}  // namespace mintfs::proxy
