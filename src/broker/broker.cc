#include "broker/broker.h"

#include "broker/claims.h"
#include "broker/encoding.h"
#include "broker/helper_stores.h"
#include "broker/process_watch.h"

#include <algorithm>
#include <array>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxConnectorsPerLease = 32;
constexpr std::size_t kMaxPatterns = 64;
constexpr std::size_t kMaxLabels = 32;
constexpr std::size_t kMaxLabel = 128;
constexpr std::chrono::seconds kShortestToken{30};  // git reads its configuration once and may take a while
constexpr std::size_t kMaxNames = 255;              // bytes of what a refused opener asked for

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabel &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

std::string new_lease_id(Random& random) {
  std::array<char, 16> bytes;
  random.fill(bytes);
  return base32_encode({bytes.data(), bytes.size()});
}

// "namespace/name" as Kubernetes names pods: labels of DNS, so that it can stand in a token as it is.
bool is_pod(std::string_view text) {
  const auto slash = text.find('/');
  const auto is_name = [](std::string_view name, std::size_t most) {
    return !name.empty() && name.size() <= most && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    });
  };
  return slash != std::string_view::npos && is_name(text.substr(0, slash), 63) && is_name(text.substr(slash + 1), 253);
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

// What the opener asks for must be given by each connector; what is left is the lease's rights.
Errc narrow(const ConnectorConfig& connector, const LeaseRequest& request, std::string& detail) {
  if (request.operations && (connector.rights.operations & *request.operations).empty()) {
    detail = "The connector '" + connector.name.text() + "' gives none of the operations asked for.";
    return Errc::operation_denied;
  }
  for (const auto& asked : request.references) {
    const ReferencePattern pattern(asked);
    const auto& given = connector.rights.references.allow;
    if (given.empty() ||
        std::any_of(given.begin(), given.end(), [&](const auto& each) { return each.covers(pattern); }))
      continue;
    detail = "The connector '" + connector.name.text() + "' does not give '" + asked + "'.";
    return Errc::reference_denied;
  }
  if (!connector.rights.restricts_repositories()) return Errc{};
  for (const auto& asked : request.repositories) {
    const RepositoryPattern pattern(asked);
    const auto& given = connector.rights.repositories;
    if (std::none_of(given.begin(), given.end(),
                     [&](const auto& each) { return each.covers(pattern, connector.letter_case); })) {
      detail = "The connector '" + connector.name.text() + "' does not give '" + asked + "'.";
      return Errc::repository_denied;
    }
  }
  return Errc{};
}

// One sentence where a name is none of a configuration's.
std::string unknown_configuration(const std::vector<std::string>& asked, const FileConfigs& files) {
  std::string known;
  const auto add = [&](std::string_view name) { known.append(known.empty() ? "" : ", ").append(name); };
  for (const Configuration each : kConfigurations) add(to_string(each));
  for (const auto& file : files) add(file.first);
  for (const auto& name : asked)
    if (!parse_configuration(name) && !files.contains(name))
      return "No configuration is named '" + (is_configuration_name(name) ? name : std::string("(malformed)")) +
             "'; known are " + known + ".";
  return {};
}

// Counts and characters only; what the values mean is asked later.
bool is_well_formed(const LeaseRequest& request, std::string& detail) {
  if (request.connectors.empty() || request.connectors.size() > kMaxConnectorsPerLease)
    detail = "A lease names 1 to 32 connectors.";
  else if (request.repositories.size() > kMaxPatterns)
    detail = "A lease names at most 64 repository patterns.";
  else if (request.references.size() > kMaxPatterns)
    detail = "A lease names at most 64 patterns of references.";
  else if (request.labels.size() > kMaxLabels)
    detail = "A lease has at most 32 labels.";
  else if (request.operations && request.operations->empty())
    detail = "A lease needs at least one operation.";
  else if (request.pid && *request.pid <= 0)
    detail = "The process to bind to is not visible to the daemon.";
  if (request.pod && !is_pod(*request.pod)) detail = "A pod is named 'namespace/name'.";
  if (request.pod && request.uid) detail = "A pod's lease is for whoever runs in it; leave 'uid' out.";
  if (request.origins.size() > kMaxPatterns) detail = "A lease names at most 64 origins.";
  if (request.configurations.size() > kMaxConfigurations) detail = "A lease names at most 32 configurations.";
  for (const auto& [key, value] : request.labels)
    if (!is_label(key) || !is_label(value)) detail = "A label is 1 to 128 printable characters, and so is its value.";
  for (const auto& pattern : request.repositories)
    if (!RepositoryPattern::is_valid(pattern))
      detail = "'owner/name' or 'owner/*' is a repository pattern; one given is not.";
  for (const auto& pattern : request.references)
    if (!ReferencePattern::is_valid(pattern))
      detail = "'refs/heads/main' or 'refs/heads/bot/*' is a pattern of references; one given is not.";
  for (const auto& origin : request.origins)
    if (!OriginPattern::parse(origin)) detail = "'10.88.0.5', '10.88.0.0/16' or 'unix' is an origin; one given is not.";
  return detail.empty();
}

}  // namespace

Broker::Broker(Options options, MasterKeys& keys, LeaseTable& leases, AuditLog& audit, const Clock& clock,
               ConnectorsPtr connectors)
    : options_(std::move(options)),
      keys_(keys),
      leases_(leases),
      audit_(audit),
      clock_(clock),
      connectors_(std::move(connectors)) {}

Result<Lease> Broker::describe(const Caller& caller, const LeaseRequest& request, std::string& detail) const {
  if (!is_well_formed(request, detail)) return Errc::lease_malformed;
  Lease lease;
  lease.opener = caller.uid;
  lease.uid = request.uid.value_or(caller.uid);
  if (lease.uid != caller.uid && !is_administrator(caller.uid)) {
    detail = "Only root may open a lease for another user.";
    return Errc::lease_denied;
  }
  if (request.pod && !is_administrator(caller.uid)) {
    detail = "Only root may open a lease for a pod.";
    return Errc::lease_denied;
  }
  lease.pod = request.pod.has_value();
  if (const auto named = request.cgroup.value_or(options_.bind_cgroup ? "self" : ""); !named.empty()) {
    auto group = named == "self" ? cgroup_of(caller.pid) : Cgroup::parse(named);
    if (group) lease.cgroup = std::make_shared<const Cgroup>(std::move(*group));
    if (!lease.cgroup) {
      detail = named == "self"
                   ? "You are in the root cgroup, which admits everybody; start the job in a cgroup of its own."
                   : "A cgroup is named as in /proc/PID/cgroup: '/ci/job-42', or 'pids:/job-42' for version 1.";
      return Errc::lease_malformed;
    }
  }
  lease.exact_protocol = request.exact_protocol;
  lease.opened = clock_.now();
  const auto ttl = request.ttl.value_or(options_.default_ttl);
  if (ttl <= std::chrono::seconds::zero() || ttl > options_.max_ttl) {
    detail = "A lease lives for at most " + std::to_string(options_.max_ttl.count()) + " seconds here (lease.max_ttl).";
    return Errc::lease_malformed;
  }
  lease.expires = lease.opened + ttl;
  lease.token_ttl = request.token_ttl.value_or(std::chrono::seconds::zero());
  if (request.token_ttl && (lease.token_ttl < kShortestToken || lease.token_ttl > options_.token_ttl)) {
    detail = "A token lives for " + std::to_string(kShortestToken.count()) + " to " +
             std::to_string(options_.token_ttl.count()) + " seconds here (token.ttl).";
    return Errc::lease_malformed;
  }
  lease.subject = request.pod ? "pod:" + *request.pod : "uid:" + std::to_string(lease.uid);
  lease.labels = request.labels;
  lease.credential_store = request.credential_store;
  if (detail = why_not_in_helper(lease); !detail.empty()) return Errc::lease_malformed;
  if (request.operations) lease.rights.operations = *request.operations;
  for (const auto& pattern : request.repositories) lease.rights.repositories.emplace_back(pattern);
  for (const auto& pattern : request.references) lease.rights.references.allow.emplace_back(pattern);

  if (detail = unknown_configuration(request.configurations, *files()); !detail.empty()) return Errc::lease_malformed;
  for (const auto& name : request.configurations)
    if (std::find(lease.configurations.begin(), lease.configurations.end(), name) == lease.configurations.end())
      lease.configurations.push_back(name);
  if (lease.configurations == default_configurations()) lease.configurations.clear();

  if (!request.origins.empty()) {
    OriginPatterns origins;
    for (const auto& origin : request.origins) origins.push_back(*OriginPattern::parse(origin));
    lease.origins = std::make_shared<const OriginPatterns>(std::move(origins));
  }

  const ConnectorsPtr table = connectors();
  for (const auto& text : request.connectors) {
    const auto name = ConnectorName::parse(text);
    const auto found = name ? table->find(*name) : table->end();
    if (found == table->end()) {
      detail = "No connector is named '" + (name ? name->text() : std::string("(malformed)")) +
               "'; 'mintfs connector list' shows those there are.";
      return Errc::connector_unknown;
    }
    if (!admits(found->second.allow, caller)) {
      detail = "User " + std::to_string(caller.uid) + " may not use the connector '" + name->text() +
               "'; ask for the user or a group of it in its 'allow'.";
      return Errc::connector_denied;
    }
    if (const Errc error = narrow(found->second, request, detail); error != Errc{}) return error;
    if (!lease.serves(*name)) lease.connectors.push_back(*name);
  }
  std::vector<const ConnectorConfig*> asked;
  asked.reserve(lease.connectors.size());
  for (const auto& name : lease.connectors) asked.push_back(&table->at(name));
  if (const auto clash = find_clash(lease.rights, asked)) {
    detail = "The connectors '" + clash->first->name.text() + "' and '" + clash->second->name.text() + "' both claim " +
             clash->spelling + "; name one of them, or give one a higher 'priority' in the configuration.";
    return Errc::lease_malformed;
  }
  if (request.pid) {
    lease.process = {*request.pid, process_start_time(*request.pid)};
    if (lease.process.start_time == 0) {
      detail = "There is no process " + std::to_string(*request.pid) + ".";
      return Errc::lease_malformed;
    }
  }
  return lease;
}

Result<LeasePtr> Broker::open_lease(const Caller& caller, const LeaseRequest& request, std::string* detail) {
  std::string sentence;
  const std::string subject = "uid:" + std::to_string(caller.uid);
  Result<Lease> lease = describe(caller, request, sentence);
  Result<LeasePtr> opened = Errc::internal;
  if (lease) {
    Random random;
    lease->id = new_lease_id(random);
    lease->kid = keys_.current();
    lease->key = keys_.derive(lease->kid, lease->id).value();
    opened = leases_.add(std::move(*lease), options_.max_per_user);
    if (!opened && to_errc(opened.error()) == Errc::too_many)
      sentence = "You have " + std::to_string(options_.max_per_user) + " leases open (lease.max_per_user); close one.";
  } else {
    opened = lease.error();
  }
  if (!opened) {
    if (detail != nullptr) *detail = sentence;
    const Errc error = to_errc(opened.error());
    audit_.write({.event = "refuse",
                  .connector = names_of(request),
                  .subject = subject,
                  .operation = "open",
                  .reason = reason_word(error)});
    refusals_[error].add();
    return opened;
  }
  std::string names;
  for (const auto& name : (*opened)->connectors) names += (names.empty() ? "" : ",") + name.text();
  audit_.write({.event = "open", .lease = (*opened)->id, .connector = names, .subject = (*opened)->subject});
  for (LeaseObserver* observer : observers_) observer->lease_opened(*opened);
  return opened;
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
      {.audience = options_.audience, .subject = lease.subject, .lease = lease.id, .connector = connector, .id = {}},
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
  const Claims claims{.audience = options_.audience,
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
  if (lease->cgroup && !is_in(caller.pid, *lease->cgroup)) return Errc::lease_denied;
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
    const auto key = keys_.derive(kid, kNobodys);
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

// Token first, rights last: nobody learns anything about rights without a good token.
boost::system::error_code Broker::check(std::string_view token, const Access& access, Scratch& scratch,
                                        Finding& found) {
  if (token.empty()) return Errc::token_missing;
  if (const auto error = parse_token(token, scratch.token)) return error;
  const Claims& claims = scratch.token.claims;
  const Time now = clock_.now();
  found.lease = leases_.find(claims.lease);
  if (found.lease && following_ && !leases_.is_on_disk(claims.lease)) found.lease = nullptr;
  if (found.lease) {
    if (scratch.token.kid != found.lease->kid) return Errc::token_key_unknown;
    if (!is_signed_with(scratch.token, found.lease->key, scratch.signer)) return Errc::token_signature;
  } else {
    // The key of a closed lease is derived once more: a genuine token that outlived its lease is
    // news for the audit log, a forged one is not.
    const auto key = claims.lease.size() == kLeaseIdSize ? keys_.derive(scratch.token.kid, claims.lease) : std::nullopt;
    if (!key) return Errc::token_key_unknown;
    if (!is_signed_with(scratch.token, *key, scratch.signer)) return Errc::token_signature;
  }
  found.genuine = true;
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

Result<Grant> Broker::redeem(std::string_view token, const Access& access, Scratch& scratch) {
  Finding found;
  const auto error = check(token, access, scratch, found);
  // Only what was verified is named: a forged token must not write another lease's id into the log.
  const Claims claims = found.genuine ? scratch.token.claims : Claims{};
  AuditRecord record{.lease = claims.lease, .subject = claims.subject, .jti = claims.id};
  if (error) {
    const Errc reason = to_errc(error);
    record.reason = reason_word(reason);
    record.stranger = !found.genuine;
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

ConnectorsPtr Broker::connectors() const { return *connectors_.lock(); }

void Broker::replace_connectors(ConnectorsPtr connectors) { connectors_.lock()->swap(connectors); }

}  // namespace mintfs::broker
