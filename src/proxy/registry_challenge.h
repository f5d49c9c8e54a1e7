// How a registry of images wants to be asked: its WWW-Authenticate (RFC 9110 section 11.6.1), and what its token
// service answers (distribution's auth/token specification). Both come from outside and are bounded.
#pragma once

#include "broker/policy.h"
#include "broker/secret.h"
#include "proxy/message.h"
#include "proxy/service_request.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

inline constexpr std::size_t kMaxTokenAnswer = 64 * 1024;
inline constexpr std::size_t kMaxRegistryToken = 12 * 1024;  // a header line must hold it

// A registry's token service: "https://auth.example/token" and the name it knows the registry by.
struct TokenRealm {
  std::string realm;
  std::string service;  // may be empty
  bool operator==(const TokenRealm&) const = default;
};

// Of "Bearer realm=\"...\",service=\"...\""; nothing for another scheme, or one in doubt: a parameter twice, no
// realm, what is no printable ASCII.
std::optional<TokenRealm> parse_challenge(std::string_view value);
// Of all such fields of an answer: the first Bearer.
std::optional<TokenRealm> find_challenge(const std::vector<Field>& fields);

// "repository:acme/app:pull,push", as a token must be good for; empty for what needs none.
std::string scope_of(const ServiceRequest& request, bool removes);

// "/token?service=...&scope=...": what to ask of the realm, behind its origin. Nothing where its path is in doubt.
std::optional<std::string> token_target(std::string_view realm_path_and_query, const TokenRealm& realm,
                                        std::string_view scope);

struct RegistryToken {
  broker::Secret token;
  std::chrono::seconds lifetime{60};  // what the specification has where nothing is said
};
// upstream_malformed.
broker::Result<RegistryToken> parse_token_answer(std::string_view json);

}  // namespace mintfs::proxy
