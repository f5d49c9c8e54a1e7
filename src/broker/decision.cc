#include "broker/decision.h"

#include <array>

namespace mintfs::broker {
namespace {

// Asks rules one by one until one refuses.
class Inquiry {
 public:
  explicit Inquiry(Steps* steps) : steps_(steps) {}

  // Whether to ask on. `error` is the answer when it is not `good`.
  bool ask(Rule rule, bool good, Errc error, std::string_view pattern = {}) {
    last_ = {good ? Errc{} : error, rule, pattern};
    if (steps_ != nullptr) steps_->push_back(last_);
    return good;
  }
  const Decision& answer() const { return last_; }

 private:
  Steps* steps_;
  Decision last_;
};

// Rights and the names that their rules have.
struct Layer {
  const Rights* rights;
  Rule operations;
  Rule repositories;
  Rule references;
};

std::array<Layer, 2> layers(const ConnectorConfig& connector, const Rights* lease) {
  return {
      Layer{&connector.rights, Rule::connector_operations, Rule::connector_repositories, Rule::connector_refs_allow},
      Layer{lease, Rule::lease_operations, Rule::lease_repositories, Rule::lease_refs}};
}

template <class Pattern>
std::string_view text_of(const Pattern* pattern) {
  return pattern == nullptr ? std::string_view() : std::string_view(pattern->text());
}

bool ask_references(const ReferenceRules& rules, Rule allow, const ReferenceUpdate& update, Inquiry& inquiry) {
  const auto ask = [&](Rule rule, bool good, std::string_view pattern = {}) {
    return inquiry.ask(rule, good, Errc::reference_denied, pattern);
  };
  if (!rules.deny.empty()) {
    const auto* const denying = rules.denying(update.reference);
    if (!ask(Rule::connector_refs_deny, denying == nullptr, text_of(denying))) return false;
  }
  if (!rules.allow.empty()) {
    const auto* const allowing = rules.allowing(update.reference);
    if (!ask(allow, allowing != nullptr, text_of(allowing))) return false;
  }
  if (rules.deny_create && !ask(Rule::connector_refs_deny_create, update.change != ReferenceChange::create))
    return false;
  return !rules.deny_delete || ask(Rule::connector_refs_deny_delete, update.change != ReferenceChange::remove);
}

}  // namespace

std::string_view to_string(Rule rule) noexcept {
  switch (rule) {
    case Rule::none:
      return "none";
    case Rule::connector_plain_get:
      return "connector.plain_get";
    case Rule::connector_lfs:
      return "connector.lfs";
    case Rule::connector_operations:
      return "connector.operations";
    case Rule::connector_repositories:
      return "connector.repositories";
    case Rule::connector_refs_allow:
      return "connector.refs.allow";
    case Rule::connector_refs_deny:
      return "connector.refs.deny";
    case Rule::connector_refs_deny_create:
      return "connector.refs.deny_create";
    case Rule::connector_refs_deny_delete:
      return "connector.refs.deny_delete";
    case Rule::reference_name:
      return "reference-name";
    case Rule::lease_connectors:
      return "lease.connectors";
    case Rule::lease_operations:
      return "lease.operations";
    case Rule::lease_repositories:
      return "lease.repositories";
    case Rule::lease_refs:
      return "lease.refs";
  }
  return "none";
}

bool restricts_references(const ConnectorConfig& connector, const Rights* lease) {
  return connector.rights.references.restrict() || (lease != nullptr && lease->references.restrict());
}

Decision decide(const ConnectorConfig& connector, const Rights* lease, const Access& access, Steps* steps) {
  Inquiry inquiry(steps);
  // Any other page of a host may hold more than any repository: a runner's registration token, a variable of CI.
  if ((access.reach == Reach::page || access.reach == Reach::own_page) &&
      !inquiry.ask(Rule::connector_plain_get, connector.plain_get, Errc::operation_denied))
    return inquiry.answer();
  if (access.lfs && !inquiry.ask(Rule::connector_lfs, connector.lfs, Errc::operation_denied)) return inquiry.answer();
  for (const Layer& layer : layers(connector, lease)) {
    if (layer.rights == nullptr) continue;
    const Operations given = layer.rights->operations;
    const bool good = access.undecided ? !given.empty() : given.contains(access.operation);
    if (!inquiry.ask(layer.operations, good, Errc::operation_denied)) return inquiry.answer();
    if (access.reach == Reach::protocol || !layer.rights->restricts_repositories()) continue;
    const bool named = access.reach == Reach::repository || access.reach == Reach::own_page;
    const auto* const giving = named ? layer.rights->giving(access.repository, connector.letter_case) : nullptr;
    if (!inquiry.ask(layer.repositories, giving != nullptr, Errc::repository_denied, text_of(giving)))
      return inquiry.answer();
  }
  return inquiry.answer();
}

Decision decide(const ConnectorConfig& connector, const Rights* lease, const ReferenceUpdate& update, Steps* steps) {
  Inquiry inquiry(steps);
  if (!inquiry.ask(Rule::reference_name, is_reference(update.reference), Errc::reference_denied))
    return inquiry.answer();
  for (const Layer& layer : layers(connector, lease))
    if (layer.rights != nullptr && !ask_references(layer.rights->references, layer.references, update, inquiry)) break;
  return inquiry.answer();
}

std::string refusal_sentence(const Decision& decision) {
  const auto pattern = [&] { return " '" + std::string(decision.pattern) + "'"; };
  switch (decision.rule) {
    case Rule::none:
      return "nothing allows it";
    case Rule::connector_plain_get:
      return "the connector gives pages of no repository to nobody (plain_get)";
    case Rule::connector_lfs:
      return "the connector is without Git LFS (lfs)";
    case Rule::connector_operations:
      return "the connector does not give this operation (operations)";
    case Rule::connector_repositories:
      return "the connector gives other repositories only (repositories)";
    case Rule::connector_refs_allow:
      return "the connector gives other references only (refs.allow)";
    case Rule::connector_refs_deny:
      return "the connector denies" + pattern() + " (refs.deny)";
    case Rule::connector_refs_deny_create:
      return "the connector does not let references be created (refs.deny_create)";
    case Rule::connector_refs_deny_delete:
      return "the connector does not let references be deleted (refs.deny_delete)";
    case Rule::reference_name:
      return "this is not a reference's full name, such as refs/heads/main";
    case Rule::lease_connectors:
      return "the lease is for other connectors only (connectors)";
    case Rule::lease_operations:
      return "the lease does not give this operation (operations)";
    case Rule::lease_repositories:
      return "the lease is for other repositories only (repositories)";
    case Rule::lease_refs:
      return "the lease is for other references only (refs)";
  }
  return "nothing allows it";
}

}  // namespace mintfs::broker
