#include "broker/decision.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::broker {
namespace {

constexpr auto kUpdate = ReferenceChange::update;

class Decide : public testing::Test {
 protected:
  Decide() {
    connector.rights.repositories = {RepositoryPattern("acme/*")};
    connector.rights.references = {.allow = {ReferencePattern("refs/heads/*"), ReferencePattern("refs/tags/*")},
                                   .deny = {ReferencePattern("refs/heads/main")}};
    lease.references.allow = {ReferencePattern("refs/heads/bot/*")};
  }
  Rule rule(const ReferenceUpdate& update) const {
    const Decision decision = decide(connector, &lease, update);
    EXPECT_EQ(decision.error, decision.allowed() ? Errc{} : Errc::reference_denied);
    return decision.allowed() ? Rule::none : decision.rule;
  }

  ConnectorConfig connector;
  Rights lease;
};

TEST_F(Decide, LetsAReferencePassThatBothGive) {
  EXPECT_EQ(rule({"refs/heads/bot/x"}), Rule::none);
  EXPECT_EQ(rule({"refs/heads/bot/x", ReferenceChange::create}), Rule::none);
  EXPECT_EQ(rule({"refs/heads/bot/x", ReferenceChange::remove}), Rule::none);
  EXPECT_EQ(rule({"refs/heads/x"}), Rule::lease_refs);
  EXPECT_EQ(rule({"refs/notes/x"}), Rule::connector_refs_allow);
  EXPECT_EQ(rule({"refs/heads/main"}), Rule::connector_refs_deny);
  EXPECT_EQ(rule({"refs/heads/MAIN"}), Rule::connector_refs_deny);
}

TEST_F(Decide, DeniesAlsoWhatALeaseNames) {
  lease.references.allow = {ReferencePattern("refs/heads/main")};
  EXPECT_EQ(rule({"refs/heads/main"}), Rule::connector_refs_deny);
}

TEST_F(Decide, TellsChangesApart) {
  connector.rights.references.deny_create = true;
  EXPECT_EQ(rule({"refs/heads/bot/x", ReferenceChange::create}), Rule::connector_refs_deny_create);
  EXPECT_EQ(rule({"refs/heads/bot/x", ReferenceChange::remove}), Rule::none);
  connector.rights.references.deny_create = false;
  connector.rights.references.deny_delete = true;
  EXPECT_EQ(rule({"refs/heads/bot/x", ReferenceChange::remove}), Rule::connector_refs_deny_delete);
  EXPECT_EQ(rule({"refs/heads/bot/x", kUpdate}), Rule::none);
}

TEST_F(Decide, RefusesANameThatAServerMightResolve) {
  for (const std::string_view name :
       {"refs/heads/bot/../main", "refs/heads/bot//x", "HEAD", "refs/heads/bot/x.lock", ""})
    EXPECT_EQ(rule({name}), Rule::reference_name) << name;
}

TEST_F(Decide, KnowsTheFirstRuleThatRefusesAnAccess) {
  struct Case {
    Access access;
    Rule rule;
    Errc error;
  };
  lease.operations = Operations::only(Operation::fetch);
  lease.repositories = {RepositoryPattern("acme/app")};
  connector.lfs = false;
  const auto fetch = Operation::fetch;
  for (const auto& each : {
           Case{{.operation = fetch, .repository = "acme/app"}, Rule::lease_repositories, Errc{}},
           Case{{.operation = fetch, .repository = "acme/two"}, Rule::lease_repositories, Errc::repository_denied},
           Case{{.operation = fetch, .repository = "x/app"}, Rule::connector_repositories, Errc::repository_denied},
           Case{{.operation = Operation::push, .repository = "acme/app"},
                Rule::lease_operations,
                Errc::operation_denied},
           Case{{.operation = fetch, .lfs = true, .repository = "acme/app"},
                Rule::connector_lfs,
                Errc::operation_denied},
           Case{{.operation = fetch, .reach = Reach::page}, Rule::connector_plain_get, Errc::operation_denied},
           Case{{.operation = fetch, .repository = "acme/app", .reach = Reach::own_page},
                Rule::connector_plain_get,
                Errc::operation_denied},
           Case{
               {.operation = fetch, .reach = Reach::everything}, Rule::connector_repositories, Errc::repository_denied},
           Case{{.operation = fetch, .reach = Reach::protocol}, Rule::lease_operations, Errc{}},
           Case{{.operation = Operation::push, .reach = Reach::protocol},
                Rule::lease_operations,
                Errc::operation_denied},
       }) {
    const Decision decision = decide(connector, &lease, each.access);
    EXPECT_EQ(decision.rule, each.rule) << to_string(each.rule);
    EXPECT_EQ(decision.error, each.error) << to_string(each.rule);
  }
}

TEST_F(Decide, GivesAPageOfARepositoryToWhoHasBoth) {
  lease.repositories = {RepositoryPattern("acme/app")};
  connector.plain_get = true;
  const Access own{.repository = "acme/app", .reach = Reach::own_page};
  EXPECT_TRUE(decide(connector, &lease, own).allowed());
  const Access other{.repository = "acme/two", .reach = Reach::own_page};
  EXPECT_EQ(decide(connector, &lease, other).error, Errc::repository_denied);
  EXPECT_EQ(decide(connector, &lease, {.reach = Reach::page}).error, Errc::repository_denied);
}

TEST_F(Decide, TellsItsStepsToTheAnswer) {
  Steps steps;
  EXPECT_TRUE(decide(connector, &lease, ReferenceUpdate{"refs/heads/bot/x"}, &steps).allowed());
  std::string told;
  for (const auto& step : steps) told.append(to_string(step.rule)).append("=").append(step.pattern).append(";");
  EXPECT_EQ(told,
            "reference-name=;connector.refs.deny=;connector.refs.allow=refs/heads/*;lease.refs=refs/heads/bot/*;");
  steps.clear();
  const Decision decision = decide(connector, nullptr, ReferenceUpdate{"refs/heads/main"}, &steps);
  EXPECT_EQ(steps.back().rule, decision.rule);
  EXPECT_EQ(decision.pattern, "refs/heads/main");
}

TEST(Decision, HasASentenceForEachRule) {
  for (int value = 0; value <= static_cast<int>(Rule::lease_refs); ++value) {
    const auto rule = static_cast<Rule>(value);
    const std::string sentence = refusal_sentence({Errc::internal, rule, "refs/x"});
    EXPECT_LT(sentence.size(), 100u + 255u);
    EXPECT_EQ(sentence.find_first_of("\n\t"), std::string::npos);
    EXPECT_EQ(to_string(rule) == "none", rule == Rule::none);
  }
}

}  // namespace
}  // namespace mintfs::broker
