#include "broker/credential_api.h"

#include "broker/encoding.h"
#include "broker/proxy_place.h"
#include "broker/system_helper.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace mintfs::broker {
namespace {

constexpr std::array<std::string_view, 5> kVerbs = {"get", "store", "erase", "hand-over", "place"};

// Clients that know no authtype need one: to git an empty user name means that there is nothing to send.
// The proxy does not look at it.
constexpr std::string_view kUser = "mintfs";

constexpr std::string_view kFull =
    "A lease keeps at most 64 credentials and 64 KiB of them, and mintfsd what 'ulimit -l' lets it lock.";

// One allocation, which the server wipes when it is sent.
ControlAnswer reply(const Secret& json) { return {.status = 200, .body = std::string(json.reveal())}; }

constexpr std::string_view kNotFollowed =
    "A helper of the machine is for the lease's user, in this pid namespace: nobody else's end could be awaited.";
constexpr std::string_view kNoMore =
    "A lease stores at 64 places, and nothing where what 64 leases before have left could not be erased.";

constexpr unsigned kNoContent = 204;

bool names_something(const CredentialPattern& where) {
  return where.protocol || where.host || where.path || where.username;
}

// Whether both leases are of one job as far as their openers say so.
bool is_same_job(const Lease& one, const Lease& other) {
  const auto agree = [&](const char* label) {
    const auto a = one.labels.find(label), b = other.labels.find(label);
    return a == one.labels.end() || b == other.labels.end() || a->second == b->second;
  };
  return agree("build") && agree("job");
}

}  // namespace

bool CredentialApi::knows(std::string_view verb) {
  return std::find(kVerbs.begin(), kVerbs.end(), verb) != kVerbs.end();
}

ControlAnswer CredentialApi::refuse(Errc error, const Lease* lease, std::string_view detail) {
  broker_.note_refusal(error, {}, lease);
  return ControlApi::refuse(error, detail);
}

ControlAnswer CredentialApi::answer(const Caller& caller, std::string_view lease, std::string_view verb,
                                    std::string_view body) {
  const auto used = broker_.use_lease(caller, lease, verb != "get");
  if (!used) {
    const Errc error = to_errc(used.error());
    return refuse(error, nullptr, error == Errc::lease_denied ? "The lease is bound to another control group." : "");
  }
  std::string detail;
  auto request = parse_credential_request(body, detail);
  if (!request) return refuse(Errc::request_malformed, used->get(), detail);
  if (verb == "get") return get(**used, *request);
  if (verb == "store") return store(**used, *request);
  if (verb == "erase") return erase(**used, *request);
  if (verb == "place") return place(caller, **used, *request);
  return hand_over(caller, **used, *request);
}

ControlAnswer CredentialApi::get(const Lease& lease, CredentialRequest& request) {
  const CredentialPattern& where = request.credential.where;
  if (!where.protocol || !where.host)
    return refuse(Errc::request_malformed, &lease, "'protocol' and 'host' are needed to get a credential.");
  if (proxy_at(lease, where) != nullptr) return mint(lease, request);
  auto found = credentials_.find(lease, where, request.authtype);
  if (!found) return {.status = kNoContent};
  if (!request.authtype) found->credential.reset();
  broker_.note_credential("get", lease);
  return reply(to_json(*found, To::keep));
}

// By which of the proxy's URLs it is asked for; null: it is not.
const std::string* CredentialApi::proxy_at(const Lease& lease, const CredentialPattern& where) const {
  const std::string& told = broker_.proxy_url(lease);
  if (broker_.may_be_told(lease) && is_at_proxy(told, where)) return &told;
  const std::string& audience = broker_.audience_of(lease);
  return is_at_proxy(audience, where) ? &audience : nullptr;
}

ControlAnswer CredentialApi::mint(const Lease& lease, const CredentialRequest& request) {
  const auto name = connector_at(*proxy_at(lease, request.credential.where), request.credential.where, lease);
  if (!name || !broker_.connectors_of(lease)->contains(*name)) return {.status = kNoContent};
  JobCredential minted;
  minted.expires = broker_.token_expiry(lease);  // before: never later than it is
  Secret token(1 + broker_.token_size(lease, *name));
  token.bytes().front() = ':';
  if (const auto end = broker_.mint(lease, *name, scratch_, token.bytes().data() + 1); !end)
    return refuse(to_errc(end.error()), &lease);
  if (request.authtype) {
    Secret basic(base64_size(token.size()));
    base64_encode(token.reveal(), basic.bytes().data());
    minted.authtype = "Basic";
    minted.credential = std::move(basic);
  } else {
    minted.where.username = request.credential.where.username.value_or(std::string(kUser));
    minted.password = Secret(token.reveal().substr(1));
  }
  return reply(to_json(minted, request.authtype ? To::use : To::keep));
}

ControlAnswer CredentialApi::store(const Lease& lease, CredentialRequest& request) {
  JobCredential& credential = request.credential;
  if (!credential.where.protocol || !credential.where.host || !credential.is_complete())
    return refuse(Errc::request_malformed, &lease,
                  "What is stored has 'protocol', 'host', and a user's password or an authtype's credential.");
  if (proxy_at(lease, credential.where) != nullptr) return {.status = kNoContent};
  if (is_system_helper(lease.credential_store))
    return refuse(Errc::lease_denied, &lease, "What this lease's job stores is kept elsewhere: ask for the 'place'.");
  if (const auto stored = credentials_.store(lease, std::move(credential)); !stored)
    return refuse(to_errc(stored.error()), &lease, kFull);
  forget_if_closed(lease);
  broker_.note_credential("store", lease);
  return {.status = kNoContent};
}

ControlAnswer CredentialApi::erase(const Lease& lease, CredentialRequest& request) {
  const JobCredential& which = request.credential;
  if (!names_something(which.where))  // it would be all there is, and is more likely a mistake
    return refuse(Errc::request_malformed, &lease, "Say what is to be erased: 'protocol', 'host', 'path', 'username'.");
  if (credentials_.erase(lease, which.where, which.password, which.credential) != 0)
    broker_.note_credential("erase", lease);
  return {.status = kNoContent};
}

// Nothing where the other verbs are to be asked.
ControlAnswer CredentialApi::place(const Caller& caller, const Lease& lease, CredentialRequest& request) {
  const CredentialPattern& where = request.credential.where;
  if (!is_system_helper(lease.credential_store) || proxy_at(lease, where) != nullptr) return {.status = kNoContent};
  if (caller.uid != lease.uid) return refuse(Errc::lease_denied, &lease, kNotFollowed);
  std::vector<CredentialPattern> places;
  if (request.stores) {
    if (!where.protocol || !where.host)
      return refuse(Errc::request_malformed, &lease, "What is stored has 'protocol' and 'host'.");
    auto admitted = stores_.admit(lease, caller, where, request.session);
    if (!admitted)
      return refuse(to_errc(admitted.error()), &lease,
                    to_errc(admitted.error()) == Errc::lease_denied ? kNotFollowed : kNoMore);
    if (*admitted) {
      places.push_back(std::move(**admitted));
      broker_.note_credential("store", lease);
    }
  } else if (!names_something(where)) {
    return refuse(Errc::request_malformed, &lease, "Say which: 'protocol', 'host', 'path', 'username'.");
  } else {
    places = stores_.find(lease, where);
  }
  const auto lifetime = std::chrono::ceil<std::chrono::seconds>(lease.expires - broker_.clock().now());
  return {.status = 200, .body = to_json(lease.credential_store, lifetime, places)};
}

ControlAnswer CredentialApi::hand_over(const Caller& caller, const Lease& lease, const CredentialRequest& request) {
  const auto to = broker_.use_lease(caller, request.to, true);
  if (!to) return refuse(to_errc(to.error()), &lease, "The lease to hand over to is not open, or not yours.");
  if ((*to)->uid != lease.uid || !is_same_job(lease, **to))
    return refuse(Errc::lease_denied, &lease, "The other lease is of another user, or of another 'build' or 'job'.");
  const bool in_helper = is_system_helper(lease.credential_store) || is_system_helper((*to)->credential_store);
  const auto handed = in_helper ? stores_.hand_over(lease, **to) : credentials_.hand_over(lease, **to);
  if (!handed)
    return refuse(
        to_errc(handed.error()), &lease,
        to_errc(handed.error()) == Errc::lease_denied ? "The other lease keeps what is stored elsewhere." : kFull);
  forget_if_closed(**to);
  broker_.note_credential("hand-over", lease);
  return {.status = kNoContent};
}

void CredentialApi::forget_if_closed(const Lease& lease) {
  if (!broker_.find_lease(lease.id)) credentials_.erase_all(lease.id);
}

}  // namespace mintfs::broker
