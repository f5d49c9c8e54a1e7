#include "broker/broker.h"

#include "broker/claims.h"
#include "broker/encoding.h"
#include "broker/process_watch.h"

#include <algorithm>
#include <array>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxNames = 255;  // bytes of what a refused opener asked for

std::string new_lease_id(Random& random) {
  std::array<char, 16> bytes;
  random.fill(bytes);
  return base32_encode({bytes.data(), bytes.size()});
}

// What the opener wrote, for the audit log: not checked, so cut.
std::string names_of(const LeaseRequest& request) {
  std::string names;
  for (const auto& name : request.connectors) {
    if (names.size() > kMaxNames) break;
    names.append(names.empty() ? "" : ",").append(name, 0, kMaxNames);
  }
  return names.substr(0, kMaxNames);
}

std::int64_t to_seconds(Time time) { return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count(); }

}  // namespace

Broker::Broker(Options options, MasterKeys& keys, LeaseTable& leases, AuditLog& audit, const Clock& clock,
               ConnectorsPtr connectors)
    : options_(std::move(options)),
      keys_(keys),
      leases_(leases),
      audit_(audit),
      clock_(clock),
      connectors_(std::move(connectors)) {}

LeaseTerms Broker::terms(const FileConfigs& files) const {
  return {.now = clock_.now(),
          .token_ttl = options_.token_ttl,
          .default_ttl = options_.default_ttl,
          .max_ttl = options_.max_ttl,
          .bind_cgroup = options_.bind_cgroup,
          .files = files,
          .audience = options_.audience,
          .other_urls = options_.other_urls};
}

Result<Lease> Broker::describe(const Caller& caller, const LeaseRequest& request, std::string& detail) const {
  const FileConfigsPtr defined = files();
  Result<Lease> lease = describe_lease(caller, request, terms(*defined), detail);
  if (!lease) return lease;
  if (const Errc error = add_connectors(*lease, caller, request, *connectors(), detail); error != Errc{}) return error;
  return lease;
}

Result<LeasePtr> Broker::open_lease(const Caller& caller, const LeaseRequest& request, std::string* detail) {
  std::string sentence;
  Result<Lease> lease = describe(caller, request, sentence);
  Result<LeasePtr> added = Errc::internal;
  if (lease) {
    Random random;
    lease->id = new_lease_id(random);
    lease->kid = keys_.current();
    lease->key = keys_.derive(lease->kid, lease->id).value();
    added = leases_.add(std::move(*lease), options_.max_per_user);
    if (!added && to_errc(added.error()) == Errc::too_many)
      sentence = "You have " + std::to_string(options_.max_per_user) + " leases open (lease.max_per_user); close one.";
  } else {
    added = lease.error();
  }
  if (!added && detail != nullptr) *detail = sentence;
  return opened(request, "uid:" + std::to_string(caller.uid), std::move(added));
}

Errc Broker::check_request(const Caller& caller, const LeaseRequest& request, std::string& detail) const {
  const FileConfigsPtr defined = files();
  const Result<Lease> lease = describe_lease(caller, request, terms(*defined), detail);
  return lease ? Errc{} : to_errc(lease.error());
}

Result<Lease> Broker::describe_grant(const Caller& caller, const LeaseRequest& request, LeaseGrant grant,
                                     std::string& detail) const {
  const FileConfigsPtr defined = files();
  Result<Lease> lease = describe_lease(caller, request, terms(*defined), detail);
  if (!lease) return lease;
  if (!lease->proxy_url.empty()) {
    detail = "Gateways say by which URL they are reached; leave 'proxy_url' out.";
    return Errc::lease_malformed;
  }
  if (grant.subject != lease->subject) {
    detail = "The token is of '" + grant.subject + "', and the lease is asked for '" + lease->subject + "'.";
    return Errc::lease_denied;
  }
  if (const Errc error = add_connectors(*lease, caller, request, grant.connectors, detail); error != Errc{})
    return error;
  // The successor has read what leases there are.
  if (following_) {
    detail = "mintfsd is being replaced; try again shortly.";
    return Errc::leases_unconfirmed;
  }
  lease->id = std::move(grant.id);
  lease->expires = grant.expires;
  lease->kid = grant.kid;
  lease->key = grant.key;
  lease->grant = std::make_shared<const Lease::Grant>(
      Lease::Grant{.audience = std::move(grant.audience), .connectors = std::move(grant.connectors)});
  return lease;
}

Result<LeasePtr> Broker::record_grant(const Caller& caller, const LeaseRequest& request, LeaseGrant grant,
                                      std::string& detail) {
  const std::string subject = grant.subject;
  Result<Lease> lease = describe_grant(caller, request, std::move(grant), detail);
  Result<LeasePtr> added = Errc::internal;
  if (lease)
    added = leases_.add(std::move(*lease), options_.max_per_user);
  else
    added = lease.error();
  return opened(request, subject, std::move(added));
}

Result<LeasePtr> Broker::extend_grant(std::string_view id, Time expires) {
  Result<LeasePtr> renewed = leases_.renew(id, expires);
  if (renewed) audit_.write({.event = "renew", .lease = id, .subject = (*renewed)->subject});
  return renewed;
}

void Broker::note_refused_opening(const LeaseRequest& request, const std::string& subject, Errc error) {
  audit_.write({.event = "refuse",
                .connector = names_of(request),
                .subject = subject,
                .operation = "open",
                .reason = reason_word(error)});
  refusals_[error].add();
}

// Writes down what came of it.
Result<LeasePtr> Broker::opened(const LeaseRequest& request, const std::string& subject, Result<LeasePtr> lease) {
  if (!lease) {
    note_refused_opening(request, subject, to_errc(lease.error()));
    return lease;
  }
  std::string names;
  for (const auto& name : (*lease)->connectors) names += (names.empty() ? "" : ",") + name.text();
  audit_.write({.event = "open", .lease = (*lease)->id, .connector = names, .subject = (*lease)->subject});
  for (LeaseObserver* observer : observers_) observer->lease_opened(*lease);
  return lease;
}

Result<LeasePtr> Broker::visible_to(const Caller& caller, std::string_view id) {
  LeasePtr lease = leases_.find(id);
  if (!lease) return Errc::lease_closed;
  if (caller.uid != lease->uid && caller.uid != lease->opener && !is_administrator(caller.uid))
    return Errc::lease_closed;
  return lease;
}

Result<LeasePtr> Broker::show_lease(const Caller& caller, std::string_view id) { return visible_to(caller, id); }

std::vector<LeasePtr> Broker::list_leases(const Caller& caller) {
  std::vector<LeasePtr> leases = leases_.all();
  if (is_administrator(caller.uid)) return leases;
  std::erase_if(leases, [&](const LeasePtr& lease) { return caller.uid != lease->uid && caller.uid != lease->opener; });
  return leases;
}

Result<LeasePtr> Broker::close_lease(const Caller& caller, std::string_view id) {
  Result<LeasePtr> lease = visible_to(caller, id);
  if (!lease) return lease;
  const LeasePtr removed = leases_.remove(id);
  if (!removed) return Errc::lease_closed;  // somebody else was quicker
  closed(removed, "");
  return removed;
}

Result<LeasePtr> Broker::renew_lease(const Caller& caller, std::string_view id, std::chrono::seconds ttl) {
  if (!is_administrator(caller.uid)) return Errc::lease_denied;
  const Time now = clock_.now();
  const LeasePtr lease = leases_.find(id);
  if (!lease || lease->expires <= now) return Errc::lease_closed;
  if (ttl <= std::chrono::seconds::zero() || ttl > options_.max_ttl) return Errc::lease_malformed;
  Result<LeasePtr> renewed = leases_.renew(id, now + ttl);
  if (renewed) audit_.write({.event = "renew", .lease = lease->id, .subject = lease->subject});
  return renewed;
}

void Broker::follow(const std::function<void(std::string)>& report) {
  const auto difference = leases_.follow(keys_, report);
  for (LeaseObserver* observer : observers_) {
    for (const auto& lease : difference.opened) observer->lease_opened(lease);
    for (const auto& lease : difference.closed) observer->lease_closed(lease);
  }
}

void Broker::close_expired() {
  if (following_) return;
  for (const auto& lease : leases_.remove_expired(clock_.now())) closed(lease, "expired");
}

void Broker::close_for(std::string_view id, std::string_view reason) {
  if (following_) return;
  if (const LeasePtr lease = leases_.remove(id)) closed(lease, reason);
}

bool Broker::take_lease(Lease lease, std::string_view event) {
  const bool known = leases_.find(lease.id) != nullptr;
  const LeasePtr taken = leases_.put(std::move(lease), keys_);
  if (!taken) return false;
  std::string names;
  for (const auto& name : taken->connectors) names += (names.empty() ? "" : ",") + name.text();
  if (!event.empty()) audit_.write({.event = event, .lease = taken->id, .connector = names, .subject = taken->subject});
  if (!known)
    for (LeaseObserver* observer : observers_) observer->lease_opened(taken);
  return true;
}

void Broker::closed(const LeasePtr& lease, std::string_view reason) {
  audit_.write({.event = "close", .lease = lease->id, .subject = lease->subject, .reason = reason});
  for (LeaseObserver* observer : observers_) observer->lease_closed(lease);
}

LeasePtr Broker::find_lease(std::string_view id) { return leases_.find(id); }

LeasePtr Broker::find_lease(std::uint64_t serial) { return leases_.find_serial(serial); }

std::size_t Broker::token_size(const Lease& lease, const ConnectorName& name) const {
  const std::string connector = name.text();
  return broker::token_size(
      {.audience = audience_of(lease), .subject = lease.subject, .lease = lease.id, .connector = connector, .id = {}},
      lease.kid);
}

Result<char*> Broker::mint(const Lease& lease, const ConnectorName& name, Scratch& scratch, char* out) {
  const Time now = clock_.now();
  if (lease.expires <= now) return Errc::lease_closed;
  std::array<char, kTokenIdSize * 3 / 4> random;
  scratch.random.fill(random);
  std::array<char, kTokenIdSize> id;
  base64url_encode({random.data(), random.size()}, id.data());

  const std::string connector = name.text();
  const Claims claims{.audience = audience_of(lease),
                      .subject = lease.subject,
                      .lease = lease.id,
                      .connector = connector,
                      .issued = to_seconds(now),
                      .expires = token_expiry(lease, now),
                      .id = {id.data(), id.size()}};
  char* const end = mint_token(claims, lease.kid, lease.key, scratch.signer, out);
  minted_.add();
  audit_.write(
      {.event = "mint", .lease = lease.id, .connector = connector, .subject = lease.subject, .jti = claims.id});
  return end;
}

std::int64_t Broker::token_expiry(const Lease& lease) const { return token_expiry(lease, clock_.now()); }

std::int64_t Broker::token_expiry(const Lease& lease, Time minted) const {
  const auto ttl = lease.token_ttl.count() != 0 ? lease.token_ttl : options_.token_ttl;
  return std::min(to_seconds(minted + ttl), to_seconds(lease.expires));
}

Result<LeasePtr> Broker::use_lease(const Caller& caller, std::string_view id, bool or_administrator) {
  LeasePtr lease = leases_.find(id);
  if (!lease || lease->expires <= clock_.now()) return Errc::lease_closed;
  if (caller.uid != lease->uid && !(or_administrator && is_administrator(caller.uid))) return Errc::lease_closed;
  // Who holds a connection may have it from a process that has ended: then its number can be anybody's by now.
  if (lease->cgroup && !(is_in(caller.pid, *lease->cgroup) && process_start_time(caller.pid) == caller.started))
    return Errc::lease_denied;
  return lease;
}

void Broker::note_credential(std::string_view operation, const Lease& lease) {
  audit_.write({.event = "credential", .lease = lease.id, .subject = lease.subject, .operation = operation});
}

bool Broker::can_mint(Scratch& scratch) const {
  constexpr std::string_view kNobodys = "00000000000000000000000000";  // no lease has it: 0 is not base32
  static_assert(kNobodys.size() == kLeaseIdSize);
  try {
    const std::uint32_t kid = keys_.current();
    // A node has none: all of its leases bring theirs.
    const auto key = keys_.empty() ? std::optional(LeaseKey()) : keys_.derive(kid, kNobodys);
    const std::int64_t now = to_seconds(clock_.now());
    const Claims claims{.audience = options_.audience,
                        .subject = "none",
                        .lease = kNobodys,
                        .connector = "none/none",
                        .issued = now,
                        .expires = now + 1,
                        .id = "0000000000000000"};
    const std::size_t size = broker::token_size(claims, kid);
    if (!key || size > kMaxTokenSize) return false;
    Secret token(size);
    mint_token(claims, kid, *key, scratch.signer, token.bytes().data());
    return !parse_token(token.reveal(), scratch.token) && is_signed_with(scratch.token, *key, scratch.signer);
  } catch (const std::exception&) {
    return false;  // OpenSSL failed, or there is no memory
  }
}

LeasePtr Broker::find_living(std::string_view id) {
  LeasePtr lease = leases_.find(id);
  return lease && following_ && !leases_.is_on_disk(id) ? nullptr : lease;
}

// Whether it is one of ours, and of which lease; null where that was closed.
boost::system::error_code Broker::verify(std::string_view token, Scratch& scratch, VerifiedToken* last,
                                         Finding& found) {
  if (last != nullptr && last->is(token)) {
    found.lease = find_living(last->claims().lease);
    if (found.lease && last->was_signed_with(found.lease->kid, found.lease->key)) {
      found.claims = &last->claims();
      return {};
    }
  }
  if (const auto error = parse_token(token, scratch.token)) return error;
  const Claims& claims = scratch.token.claims;
  found.lease = find_living(claims.lease);
  if (found.lease) {
    if (scratch.token.kid != found.lease->kid) return Errc::token_key_unknown;
    if (!is_signed_with(scratch.token, found.lease->key, scratch.signer)) return Errc::token_signature;
    if (last != nullptr) last->set(token, scratch.token, found.lease->key);
  } else {
    // The key of a closed lease is derived once more: a genuine token that outlived its lease is
    // news for the audit log, a forged one is not.
    const auto key = claims.lease.size() == kLeaseIdSize ? keys_.derive(scratch.token.kid, claims.lease) : std::nullopt;
    if (!key) return Errc::token_key_unknown;
    if (!is_signed_with(scratch.token, *key, scratch.signer)) return Errc::token_signature;
  }
  found.claims = &claims;
  return {};
}

// Token first, rights last: nobody learns anything about rights without a good token.
boost::system::error_code Broker::check(std::string_view token, const Access& access, Scratch& scratch,
                                        VerifiedToken* last, Finding& found) {
  if (token.empty()) return Errc::token_missing;
  if (const auto error = verify(token, scratch, last, found)) return error;
  const Claims& claims = *found.claims;
  const Time now = clock_.now();
  if (confirmed_ && !confirmed_()) return Errc::leases_unconfirmed;
  if (!found.lease || found.lease->expires <= now) return Errc::lease_closed;
  if (const auto error = check_times(claims, now)) return error;
  const ClientOrigin unknown;
  if (found.lease->origins && !admits(*found.lease->origins, access.origin != nullptr ? *access.origin : unknown))
    return Errc::token_origin;
  if (claims.audience != options_.audience) return Errc::token_audience;

  const ConnectorName name{std::string(access.space), std::string(access.connector)};
  if (claims.connector != name.text() || !found.lease->serves(name)) return Errc::token_connector;
  found.table = connectors();
  const auto entry = found.table->find(name);
  if (entry == found.table->end()) return Errc::connector_unknown;
  found.connector = &entry->second;

  return decide(*found.connector, &found.lease->rights, access).error;
}

// Adds what was asked for.
void Broker::write_access(std::string_view event, const Access& access, AuditRecord record) {
  std::array<char, 130> name;
  std::size_t size = access.space.copy(name.data(), 64);
  name[size++] = '/';
  size += access.connector.copy(name.data() + size, 64);
  record.event = event;
  if (size > 1) {
    record.connector = {name.data(), size};
    if (!access.undecided) record.operation = to_string(access.operation);
  }
  record.repository = access.repository;
  audit_.write(record);
}

Result<Grant> Broker::redeem(std::string_view token, const Access& access, Scratch& scratch, VerifiedToken* last) {
  Finding found;
  const auto error = check(token, access, scratch, last, found);
  // Only what was verified is named: a forged token must not write another lease's id into the log.
  const Claims claims = found.claims != nullptr ? *found.claims : Claims{};
  AuditRecord record{.lease = claims.lease, .subject = claims.subject, .jti = claims.id};
  if (error) {
    const Errc reason = to_errc(error);
    record.reason = reason_word(reason);
    record.stranger = found.claims == nullptr;
    write_access("refuse", access, record);
    refusals_[reason].add();
    return error;
  }
  if (!access.undecided) {
    write_access("redeem", access, record);
    redeemed_.add();
  }
  return Grant(std::move(found.lease), std::move(found.table), found.connector);
}

void Broker::note_refusal(Errc error, const Access& access, const Lease* lease, std::string_view reference) {
  AuditRecord record{.reference = reference, .reason = reason_word(error), .stranger = lease == nullptr};
  if (lease != nullptr) {
    record.lease = lease->id;
    record.subject = lease->subject;
  }
  write_access("refuse", access, record);
  refusals_[error].add();
}

bool Broker::may_be_told(const Lease& lease) const {
  const auto& urls = options_.other_urls;
  return lease.proxy_url.empty() || lease.proxy_url.text() == options_.audience ||
         std::find(urls.begin(), urls.end(), lease.proxy_url.text()) != urls.end();
}

ConnectorsPtr Broker::connectors() const { return *connectors_.lock(); }

ConnectorsPtr Broker::connectors_of(const Lease& lease) const {
  return lease.grant ? ConnectorsPtr(lease.grant, &lease.grant->connectors) : connectors();
}

void Broker::replace_connectors(ConnectorsPtr connectors) { connectors_.lock()->swap(connectors); }

}  // namespace mintfs::broker
