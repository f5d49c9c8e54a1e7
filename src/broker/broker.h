// The broker: opens and closes leases, mints tokens for them and redeems them at the proxy.
//
// It holds the rules and the keys but no real credential. Every act ends in one audit line. All
// calls are thread-safe; none waits for a network, and only open and close touch a disk.
#pragma once

#include "broker/audit.h"
#include "broker/clock.h"
#include "broker/config.h"
#include "broker/decision.h"
#include "broker/error.h"
#include "broker/keys.h"
#include "broker/lease.h"
#include "broker/lease_request.h"
#include "broker/metrics.h"
#include "broker/policy.h"
#include "broker/sync.h"
#include "broker/token.h"
#include "broker/verified_token.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

// What a redeemed token allows. Only Broker::redeem makes one, so holding it is the proof that the
// access was checked.
class Grant {
 public:
  const Lease& lease() const { return *lease_; }
  const LeasePtr& lease_ptr() const { return lease_; }
  const ConnectorConfig& connector() const { return *connector_; }
  const ConnectorsPtr& connectors() const { return connectors_; }  // keeps connector() alive
  bool restricts_references() const { return broker::restricts_references(*connector_, &lease_->rights); }
  Decision decide(const ReferenceUpdate& update) const { return broker::decide(*connector_, &lease_->rights, update); }

 private:
  friend class Broker;
  Grant(LeasePtr lease, ConnectorsPtr connectors, const ConnectorConfig* connector)
      : lease_(std::move(lease)), connectors_(std::move(connectors)), connector_(connector) {}
  LeasePtr lease_;
  ConnectorsPtr connectors_;  // keeps connector_ alive
  const ConnectorConfig* connector_;
};

// Told when leases come and go, on the thread that did it, after the fact and without any lock held.
class LeaseObserver {
 public:
  virtual ~LeaseObserver() = default;
  virtual void lease_opened(const LeasePtr& lease) = 0;
  virtual void lease_closed(const LeasePtr& lease) = 0;
};

// What one thread needs to mint or redeem; see Signer and Random. One per thread.
struct Scratch {
  Signer signer;
  Random random;
  ParsedToken token;
};

class Broker {
 public:
  struct Options {
    std::string audience;  // the proxy URL
    std::chrono::seconds token_ttl;
    std::chrono::seconds default_ttl;
    std::chrono::seconds max_ttl;
    std::uint32_t max_per_user = 256;
    bool bind_cgroup = false;               // a lease that names no cgroup is bound to its opener's
    std::vector<std::string> other_urls{};  // of the proxy, which a lease may ask to be told; see broker/job_place.h
  };

  Broker(Options options, MasterKeys& keys, LeaseTable& leases, AuditLog& audit, const Clock& clock,
         ConnectorsPtr connectors);

  // lease_malformed, lease_denied, connector_unknown, connector_denied, operation_denied,
  // repository_denied, reference_denied, too_many, storage_failed. `detail`, when given, gets a sentence that names the
  // thing.
  Result<LeasePtr> open_lease(const Caller& caller, const LeaseRequest& request, std::string* detail = nullptr);
  // Owner, opener or administrator; lease_closed for everybody else (its existence is not told).
  Result<LeasePtr> close_lease(const Caller& caller, std::string_view id);
  Result<LeasePtr> show_lease(const Caller& caller, std::string_view id);
  std::vector<LeasePtr> list_leases(const Caller& caller);
  // What open_lease() would refuse of a lease that gateways are to grant, before they are asked: all but
  // connectors and their rights. Errc{} for nothing.
  Errc check_request(const Caller& caller, const LeaseRequest& request, std::string& detail) const;
  // Records the lease that they have granted: with the id, the end and the key that they chose. As open_lease(), and
  // lease_denied where the grant is not of what was asked for.
  Result<LeasePtr> record_grant(const Caller& caller, const LeaseRequest& request, LeaseGrant grant,
                                std::string& detail);
  // They, or this daemon in their stead, have refused it; writes that down.
  void note_refused_opening(const LeaseRequest& request, const std::string& subject, Errc error);
  // Lets it live until then, as they have said. lease_closed, storage_failed.
  Result<LeasePtr> extend_grant(std::string_view id, Time expires);
  // Lets a lease live for `ttl` from now on, or as long as it would anyhow. Administrators only: so that no job
  // outlives its lease's bound. lease_denied, lease_closed, lease_malformed, storage_failed.
  Result<LeasePtr> renew_lease(const Caller& caller, std::string_view id, std::chrono::seconds ttl);
  // For the daemon itself: expiry, the end of a bound process. `reason` goes to the audit log.
  void close_expired();
  void close_for(std::string_view id, std::string_view reason);
  // A lease that is kept elsewhere (see LeaseTable::put), new or changed. `event` goes to the audit log, where
  // it is not empty. False where its key is not known.
  bool take_lease(Lease lease, std::string_view event);
  // From here on a token is redeemed only while this says that the leases known here are those that there are.
  // Asked on any thread. Before the first redeem().
  void redeem_while(std::function<bool()> confirmed) { confirmed_ = std::move(confirmed); }

  // From here on, or no more, another daemon opens and closes the leases: none is closed here for having
  // expired or for its process's end, and a token is asked of the lease's file too.
  void set_following(bool following) { following_.store(following, std::memory_order_relaxed); }
  // Learns what that daemon did; observers are told. `report` gets a sentence for what cannot be read.
  void follow(const std::function<void(std::string)>& report);

  LeasePtr find_lease(std::string_view id);
  LeasePtr find_lease(std::uint64_t serial);

  // Size of every token of this lease for this connector.
  std::size_t token_size(const Lease& lease, const ConnectorName& name) const;
  // Writes a fresh token of token_size() characters to `out` and returns its end. lease_closed when
  // the lease has expired.
  Result<char*> mint(const Lease& lease, const ConnectorName& name, Scratch& scratch, char* out);
  // When a token of this lease expires that is minted now, in seconds since the epoch.
  std::int64_t token_expiry(const Lease& lease) const;
  // Whether a token can be minted and checked now. Does both, with the master key, for a lease that nobody
  // has; the token opens nothing, goes nowhere, and is neither counted nor written down.
  bool can_mint(Scratch& scratch) const;

  // Checks everything about the token and the access, in this order: form, signature, lease, times,
  // origin, audience, connector, operation, repository. The first that fails is the answer and the audit reason.
  // `last`, where there is one, is what the same client showed last, and becomes this token.
  Result<Grant> redeem(std::string_view token, const Access& access, Scratch& scratch, VerifiedToken* last = nullptr);
  // Writes down that the proxy refused a request for another reason than redeem() gave. `access` is
  // empty as far as the request could not be read; `lease` is null before a token was redeemed. `reference`
  // is what of a push was refused.
  void note_refusal(Errc error, const Access& access, const Lease* lease, std::string_view reference = {});

  ConnectorsPtr connectors() const;
  // Of a lease that gateways granted, those that they named.
  ConnectorsPtr connectors_of(const Lease& lease) const;
  void replace_connectors(ConnectorsPtr connectors);
  // The files that the administrator defines; none until they are set.
  FileConfigsPtr files() const { return *files_.lock(); }
  void replace_files(FileConfigsPtr files) { *files_.lock() = std::move(files); }

  // A lease for what its job does beside the view: of its owner (`or_administrator`: theirs, too), within its
  // cgroup. lease_closed where it is not the caller's or has expired, lease_denied outside the cgroup.
  Result<LeasePtr> use_lease(const Caller& caller, std::string_view id, bool or_administrator);
  // Writes down what a job did with the credentials it stores.
  void note_credential(std::string_view operation, const Lease& lease);

  // Observers outlive the broker's use; add them before the first lease can open.
  void observe(LeaseObserver& observer) { observers_.push_back(&observer); }

  const std::string& audience() const { return options_.audience; }
  // Of a lease that gateways granted, theirs.
  const std::string& audience_of(const Lease& lease) const {
    return lease.grant ? lease.grant->audience : options_.audience;
  }
  // By which this lease's job reaches the proxy. Tokens are for the audience whatever it is: it says where they go, and
  // the audience who takes them.
  const std::string& proxy_url(const Lease& lease) const {
    return lease.proxy_url.empty() ? audience_of(lease) : lease.proxy_url.text();
  }
  // Whether the configuration still gives that URL out: the lease may be from before a restart.
  bool may_be_told(const Lease& lease) const;
  // PEM of whom clients must trust to reach the proxy by https; null: their own authorities will do.
  using Authorities = std::shared_ptr<const std::string>;
  void set_authorities(Authorities authorities) { *authorities_.lock() = std::move(authorities); }
  Authorities authorities() const { return *authorities_.lock(); }
  AuditLog& audit() { return audit_; }
  LeaseTable& leases() { return leases_; }
  const Clock& clock() const { return clock_; }
  std::uint64_t minted() const { return minted_.value(); }
  std::uint64_t redeemed() const { return redeemed_.value(); }
  const ByReason<Counter>& refusals() const { return refusals_; }
  std::uint64_t refused() const { return refusals_.total(); }

 private:
  std::int64_t token_expiry(const Lease& lease, Time minted) const;
  Result<LeasePtr> visible_to(const Caller& caller, std::string_view id);
  LeaseTerms terms(const FileConfigs& files) const;
  Result<Lease> describe(const Caller& caller, const LeaseRequest& request, std::string& detail) const;
  Result<Lease> describe_grant(const Caller& caller, const LeaseRequest& request, LeaseGrant grant,
                               std::string& detail) const;
  Result<LeasePtr> opened(const LeaseRequest& request, const std::string& subject, Result<LeasePtr> lease);
  void write_access(std::string_view event, const Access& access, AuditRecord record);
  void closed(const LeasePtr& lease, std::string_view reason);
  // What check() learned, as far as it came.
  struct Finding {
    const Claims* claims = nullptr;  // once the signature fitted: they are ours
    LeasePtr lease;
    ConnectorsPtr table;
    const ConnectorConfig* connector = nullptr;
  };
  LeasePtr find_living(std::string_view id);
  boost::system::error_code verify(std::string_view token, Scratch& scratch, VerifiedToken* last, Finding& found);
  boost::system::error_code check(std::string_view token, const Access& access, Scratch& scratch, VerifiedToken* last,
                                  Finding& found);

  Options options_;
  MasterKeys& keys_;
  LeaseTable& leases_;
  AuditLog& audit_;
  const Clock& clock_;
  mutable Sync<ConnectorsPtr> connectors_;
  mutable Sync<Authorities> authorities_;
  mutable Sync<FileConfigsPtr> files_{std::make_shared<const FileConfigs>()};
  std::vector<LeaseObserver*> observers_;
  std::atomic<bool> following_{false};
  std::function<bool()> confirmed_;
  Counter minted_;
  Counter redeemed_;
  ByReason<Counter> refusals_;
};

}  // namespace mintfs::broker
