#include "kube/probes.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
using broker::Errc;

struct Verdict {
  Truth status;
  const char* reason;
  std::string message;
};

bool answers(const Probed& probed) { return probed.failure == Errc{} && probed.status < 500; }

Verdict yes(const char* reason) { return {Truth::yes, reason, ""}; }

struct Fault {
  Errc failure;
  const char* reason;
  const char* sentence;  // behind "The server at <origin> "
};

constexpr std::array kFaults{
    Fault{Errc::address_denied, "AddressDenied",
          "has a link-local or metadata address, which is never asked; correct spec.address."},
    Fault{Errc::egress_refused, "EgressRefused", "is one that the egress proxy of the gateways does not connect to."},
    Fault{Errc::upstream_untrusted, "CertificateUntrusted",
          "has a certificate for another name, or of an authority that the gateways do not trust."},
    Fault{Errc::upstream_timeout, "TimedOut", "does not answer in time; a firewall or a NetworkPolicy may be between."},
    Fault{Errc::upstream_redirect, "Redirected", "redirects without end; write into spec.address where it leads to."},
    Fault{Errc::upstream_malformed, "AnswerMalformed", "answers something that is not HTTP; correct spec.address."},
    // The last is for all others, too.
    Fault{Errc::upstream_unreachable, "Unreachable", "cannot be reached; check the name and the port of spec.address."},
};

// Whether somebody is there. Every answer but a fault of the server's own says yes.
Verdict liveness(const Connector& connector, const Probed& probed) {
  const std::string server = "The server at " + connector.address.origin() + " ";
  if (probed.failure != Errc{}) {
    const auto* const found = std::find_if(kFaults.begin(), kFaults.end() - 1,
                                           [&](const Fault& each) { return each.failure == probed.failure; });
    return {Truth::no, found->reason, server + found->sentence};
  }
  if (probed.status >= 500)
    return {Truth::no, "ServerFailed", server + "answers with status " + std::to_string(probed.status) + "."};
  return yes("Answered");
}

// Whether it takes the credential.
Verdict auth(const Connector& connector, const Probed& probed) {
  if (probed.failure != Errc{} || probed.status >= 500)
    return {Truth::unknown, "NotTried", "The server must answer before the credential can be tried."};
  if (!probed.tried)
    return {Truth::unknown, "NotTried",
            "The credential is tried where spec.auth.params names a repository that it may read."};
  const std::string status = std::to_string(probed.status);
  if (probed.status == 401 || probed.status == 403) {
    if (!connector.secret)
      return {Truth::no, "CredentialNeeded",
              "The server wants a credential (" + status + "); name a Secret in spec.auth.secretRef."};
    return {Truth::no, "CredentialRefused",
            "The server refuses (" + status + ") the credential of the Secret '" + connector.secret->name +
                "'; write a valid user name and password into it."};
  }
  if (probed.status == 404 && !connector.repository.empty())
    return {Truth::no, "RepositoryNotFound",
            "The server has no repository '" + printable(connector.repository) +
                "' for this account; correct spec.auth.params, or let the account read it."};
  if (probed.status >= 300 && probed.status < 400)
    return {Truth::no, "Redirected", "The server sends to another one; write into spec.address where it leads to."};
  if (probed.status >= 400)
    return {Truth::unknown, "NotTried", "The server does not say (" + status + ") whether it takes the credential."};
  return yes(connector.secret ? "CredentialAccepted" : "CredentialNotNeeded");
}

Condition condition(ConditionType type, Verdict verdict) {
  return {.type = type, .status = verdict.status, .reason = verdict.reason, .message = std::move(verdict.message)};
}

}  // namespace

std::vector<Condition> conditions_of(const Connector& connector, const Probed& probed) {
  std::vector<Condition> both{condition(ConditionType::liveness_ready, liveness(connector, probed)),
                              condition(ConditionType::auth_ready, auth(connector, probed))};
  // What cannot be tried keeps nobody waiting.
  both[1].counts = both[1].status != Truth::unknown;
  return both;
}

asio::awaitable<void> Probes::run() {
  for (;;) {
    co_await turn();
    co_await ways_.pause.wait(kTurn);
  }
}

bool Probes::is_due(const ObjectName& name, const std::string& as, Monotonic now) const {
  const auto found = known_.find(name);
  if (found == known_.end()) return true;
  const Known& known = found->second;
  return !known.under_way && (!known.probed || known.as != as || now - known.when >= known.pause);
}

asio::awaitable<void> Probes::turn() {
  if (!ways_.leads()) {
    std::erase_if(known_, [](const auto& each) { return !each.second.under_way; });
    co_return;
  }
  if (!catalog_.is_complete()) co_return;
  std::erase_if(known_, [this](const auto& each) { return !each.second.under_way && !catalog_.served_as(each.first); });
  const auto executor = co_await asio::this_coro::executor;
  const Monotonic now = ways_.now();
  const std::set<ObjectName> names = catalog_.names();
  auto at = names.lower_bound(next_);
  for (std::size_t left = names.size(); left > 0; --left, ++at) {
    if (at == names.end()) at = names.begin();
    const ObjectName& name = *at;
    if (under_way_ == kAtOnce) {
      next_ = name;
      co_return;
    }
    const auto as = catalog_.served_as(name);
    if (!as || !is_due(name, *as, now)) continue;
    Known& known = known_[name];
    known.as = *as;
    known.under_way = true;
    ++under_way_;
    asio::co_spawn(executor, probe(name, **catalog_.find(name)), asio::detached);
  }
}

asio::awaitable<void> Probes::probe(ObjectName name, Connector connector) {
  const Probed probed = co_await ways_.ask(connector);
  --under_way_;
  Known& known = known_[name];
  const bool news = known.probed != probed, again = known.probed && !answers(*known.probed);
  const auto longest = probed.failure == Errc{} ? kEvery : kLater;
  known.pause = answers(probed) ? kEvery : again ? std::min(2 * known.pause, longest) : kSoon;
  known.probed = probed;
  known.when = ways_.now();
  known.under_way = false;
  if (news) ways_.told(name);
}

std::optional<std::vector<Condition>> Probes::conditions(const ObjectName& name) const {
  if (!catalog_.served_as(name)) {
    constexpr const char* kWhy = "It is probed when its class and its secret are ready.";
    return std::vector<Condition>{condition(ConditionType::liveness_ready, {Truth::unknown, "NotProbed", kWhy}),
                                  condition(ConditionType::auth_ready, {Truth::unknown, "NotProbed", kWhy})};
  }
  const auto found = known_.find(name);
  if (found == known_.end() || !found->second.probed) return std::nullopt;
  return conditions_of(**catalog_.find(name), *found->second.probed);
}

}  // namespace mintfs::kube
