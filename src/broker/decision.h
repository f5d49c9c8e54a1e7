// Whether something is within the rights of a connector and a lease, and which rule says so.
//
// Pure. The proxy asks for the answer on every request and `mintfs policy test` for the steps to it; both
// ask these functions, so they cannot disagree. The first rule that refuses is the answer.
#pragma once

#include "broker/config.h"
#include "broker/error.h"
#include "broker/policy.h"
#include "broker/reference.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

struct ClientOrigin;

// What of a server a request is about.
enum class Reach : std::uint8_t {
  repository,  // one repository, which is named
  protocol,    // what clients ask before they name one; it tells nothing of any
  everything,  // all repositories at once: for who has the right to all
  page,        // of the host, beside its repositories: the same, and see ConnectorConfig::plain_get
  own_page,    // of one repository, which is named: see ConnectorConfig::plain_get
};

// What the proxy wants to do with a token.
struct Access {
  std::string_view space{};      // of the connector, as in the request path
  std::string_view connector{};  // its name
  Operation operation = Operation::fetch;
  bool lfs = false;               // by the Git LFS API
  std::string_view repository{};  // canonical; empty where none is named
  Reach reach = Reach::repository;
  // Which operation it is stands in a body that is not read yet: some right will do. Ask again when it
  // is known; only then there is an audit line, unless this is refused already.
  bool undecided = false;
  const ClientOrigin* origin = nullptr;  // null: not known, which a lease that is bound to one refuses
};

// One command of a push.
struct ReferenceUpdate {
  std::string_view reference;
  ReferenceChange change = ReferenceChange::update;
};

enum class Rule : std::uint8_t {
  none,
  connector_plain_get,
  connector_lfs,
  connector_operations,
  connector_repositories,
  connector_refs_allow,
  connector_refs_deny,
  connector_refs_deny_create,
  connector_refs_deny_delete,
  reference_name,  // of every push whose references are restricted
  lease_connectors,
  lease_operations,
  lease_repositories,
  lease_refs,
};
// As it is written in the configuration or in a lease: "connector.refs.deny", "lease.repositories".
std::string_view to_string(Rule rule) noexcept;

struct Decision {
  Errc error{};                // Errc{}: let through
  Rule rule = Rule::none;      // that was asked last
  std::string_view pattern{};  // of it, that matched; points into the rights

  bool allowed() const { return error == Errc{}; }
};
using Steps = std::vector<Decision>;

// Whether a push must be asked about each of its references.
bool restricts_references(const ConnectorConfig& connector, const Rights* lease);

// `lease` is null where the connector alone is asked. `steps`, when given, gets each rule that was asked.
Decision decide(const ConnectorConfig& connector, const Rights* lease, const Access& access, Steps* steps = nullptr);
Decision decide(const ConnectorConfig& connector, const Rights* lease, const ReferenceUpdate& update,
                Steps* steps = nullptr);

// Why it was refused, for who asked: "the connector does not let references be deleted (refs.deny_delete)".
std::string refusal_sentence(const Decision& decision);

}  // namespace mintfs::broker
