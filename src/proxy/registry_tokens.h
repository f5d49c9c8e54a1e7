// What a worker knows of the registries of its connectors: where their tokens come from, and those it has.
//
// A token is kept for the scope it was asked for, together with the credential it was asked with: once that was
// read again, or the registry asks otherwise, the token is of no use. Jobs never see one. Of one thread.
#pragma once

#include "broker/config.h"
#include "proxy/credentials/credential.h"
#include "proxy/registry_challenge.h"

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace mintfs::proxy {

class RegistryTokens {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMost = 1024;                 // tokens; all go when there are more
  static constexpr std::chrono::minutes kAskedFor{5};        // the registry is asked anew what it wants
  static constexpr std::chrono::seconds kLeastLifetime{10};  // left of a token that is used

  // The realm of a registry; a realm of nothing where it takes the credential itself. Null: it must be asked.
  const std::optional<TokenRealm>* realm_of(const broker::ConnectorConfig& connector, Time now) const;
  void learn(const broker::ConnectorConfig& connector, std::optional<TokenRealm> realm, Time now);

  // The token as a credential; null where there is none that is still good.
  CredentialPtr find(const broker::ConnectorConfig& connector, const CredentialPtr& credential,
                     const std::string& scope, Time now) const;
  CredentialPtr keep(const broker::ConnectorConfig& connector, const CredentialPtr& credential,
                     const std::string& scope, const RegistryToken& token, Time now);
  // The registry did not take it.
  void forget(const broker::ConnectorConfig& connector);

 private:
  struct Known {
    broker::Address address;
    std::optional<TokenRealm> realm;
    Time asked;
  };
  struct Token {
    CredentialPtr asked_with;
    CredentialPtr token;
    Time until;
  };
  std::map<broker::ConnectorName, Known> known_;
  std::map<std::pair<broker::ConnectorName, std::string>, Token> tokens_;
};

}  // namespace mintfs::proxy
