#include "broker/policy_question.h"

#include <optional>

namespace mintfs::broker {
namespace {

// Sets operation and LFS of `access`; false for an unknown word.
bool read_operation(const std::string& word, Access& access) {
  access.lfs = word.starts_with("lfs-");
  access.operation = word == "push" || word == "lfs-upload" ? Operation::push : Operation::fetch;
  return word == "fetch" || word == "push" || word == "lfs-download" || word == "lfs-upload";
}

std::optional<ReferenceChange> read_change(const std::string& word) {
  if (word.empty()) return ReferenceChange::update;
  for (const auto change : {ReferenceChange::create, ReferenceChange::update, ReferenceChange::remove})
    if (word == to_string(change)) return change;
  return std::nullopt;
}

bool is_repository(const std::string& text) {
  return RepositoryPattern::is_valid(text) && text.find('*') == std::string::npos;
}

// What is wrong with it; empty when nothing is.
std::string find_fault(const PolicyQuestion& question) {
  Access access;
  if (!is_repository(question.repository)) return "'repository' is a path on the server, such as 'acme/app'.";
  if (!read_operation(question.operation, access))
    return "'operation' is 'fetch', 'push', 'lfs-download' or 'lfs-upload'.";
  if (!question.reference.empty() && question.operation != "push") return "'ref' is asked of a push only.";
  if (!read_change(question.change)) return "'change' is 'create', 'update' or 'delete'.";
  return {};
}

void decide(const PolicyQuestion& question, const ConnectorConfig& connector, PolicyAnswer& answer) {
  if (answer.lease && !answer.lease->serves(connector.name)) {
    answer.decision = {Errc::token_connector, Rule::lease_connectors, {}};
    answer.steps.push_back(answer.decision);
    return;
  }
  const Rights* const lease = answer.lease ? &answer.lease->rights : nullptr;
  Access access{.repository = canonical_repository(question.repository)};
  read_operation(question.operation, access);
  answer.decision = decide(connector, lease, access, &answer.steps);
  if (!answer.decision.allowed() || question.operation != "push" || !restricts_references(connector, lease)) return;
  answer.references_open = question.reference.empty();
  if (answer.references_open) return;
  const ReferenceUpdate update{question.reference, *read_change(question.change)};
  answer.decision = decide(connector, lease, update, &answer.steps);
}

}  // namespace

Result<PolicyAnswer> answer(Broker& broker, const Caller& caller, const PolicyQuestion& question, std::string& detail) {
  detail = find_fault(question);
  if (!detail.empty()) return Errc::request_malformed;
  PolicyAnswer answer;
  answer.connectors = broker.connectors();
  const auto name = ConnectorName::parse(question.connector);
  const auto found = name ? answer.connectors->find(*name) : answer.connectors->end();
  if (found == answer.connectors->end()) return Errc::connector_unknown;
  if (!admits(found->second.allow, caller)) return Errc::connector_denied;
  if (!question.lease.empty()) {
    auto lease = broker.show_lease(caller, question.lease);
    if (!lease) return to_errc(lease.error());
    if ((*lease)->expires <= broker.clock().now()) return Errc::lease_closed;
    answer.lease = std::move(*lease);
  }
  decide(question, found->second, answer);
  return answer;
}

}  // namespace mintfs::broker
