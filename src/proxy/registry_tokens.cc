#include "proxy/registry_tokens.h"

#include <algorithm>

namespace mintfs::proxy {
namespace {

broker::Secret bearer_line(std::string_view token) {
  constexpr std::string_view kName = "Authorization: Bearer ", kEnd = "\r\n";
  broker::Secret line(kName.size() + token.size() + kEnd.size());
  char* out = std::copy(kName.begin(), kName.end(), line.bytes().data());
  out = std::copy(token.begin(), token.end(), out);
  std::copy(kEnd.begin(), kEnd.end(), out);
  return line;
}

}  // namespace

const std::optional<TokenRealm>* RegistryTokens::realm_of(const broker::ConnectorConfig& connector, Time now) const {
  const auto found = known_.find(connector.name);
  if (found == known_.end() || found->second.address != connector.address || now - found->second.asked > kAskedFor)
    return nullptr;
  return &found->second.realm;
}

void RegistryTokens::learn(const broker::ConnectorConfig& connector, std::optional<TokenRealm> realm, Time now) {
  auto& known = known_[connector.name];
  if (known.realm != realm || known.address != connector.address) forget(connector);
  known_[connector.name] = {connector.address, std::move(realm), now};
  // Reloads may bring ever new names; what is old is asked for anew anyway.
  std::erase_if(known_, [&](const auto& each) { return now - each.second.asked > kAskedFor; });
}

CredentialPtr RegistryTokens::find(const broker::ConnectorConfig& connector, const CredentialPtr& credential,
                                   const std::string& scope, Time now) const {
  const auto found = tokens_.find({connector.name, scope});
  if (found == tokens_.end() || found->second.asked_with != credential) return nullptr;
  return found->second.until - now > kLeastLifetime ? found->second.token : nullptr;
}

CredentialPtr RegistryTokens::keep(const broker::ConnectorConfig& connector, const CredentialPtr& credential,
                                   const std::string& scope, const RegistryToken& token, Time now) {
  if (tokens_.size() >= kMost) std::erase_if(tokens_, [&](const auto& each) { return each.second.until <= now; });
  if (tokens_.size() >= kMost) tokens_.clear();
  auto made = std::make_shared<const Credential>(
      Credential{bearer_line(token.token.reveal()), {}, ScrubPatterns("", token.token.reveal())});
  tokens_[{connector.name, scope}] = {credential, made, now + token.lifetime};
  return made;
}

void RegistryTokens::forget(const broker::ConnectorConfig& connector) {
  std::erase_if(tokens_, [&](const auto& each) { return each.first.first == connector.name; });
  known_.erase(connector.name);
}

}  // namespace mintfs::proxy
