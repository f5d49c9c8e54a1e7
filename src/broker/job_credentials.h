// What jobs store: credentials by lease, for git-credential-mintfs.
//
// They live in locked memory of this process and nowhere else: not on disk, not after the lease. A lease
// never sees another's. Those of one lease lie together in one piece of memory, so that many small ones
// cost little of what the system lets us lock. An entry for http answers https at the same host, and the
// other way round, unless the lease says that protocols are exact.
//
// Thread-safe. Whoever stores asks again afterwards whether the lease is still open: it may be closed by
// another thread at the same time.
#pragma once

#include "broker/broker.h"
#include "broker/job_credential.h"
#include "broker/locked_memory.h"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

class JobCredentials final : public LeaseObserver {
 public:
  static constexpr std::size_t kMaxEntries = 64;               // of a lease
  static constexpr std::size_t kMaxBytes = 64 * 1024;          // of their secrets, and of what says whose they are
  static constexpr std::size_t kMaxPerUser = 2 * 1024 * 1024;  // locked for all leases of one user

  explicit JobCredentials(const Clock& clock) : clock_(clock) {}

  // In place of what it matches. too_many at a bound; then what was there stays.
  Result<void> store(const Lease& lease, JobCredential credential);
  // The one stored last of those that match and have not expired. One that has only a header value is
  // passed over unless `with_authtype`.
  std::optional<JobCredential> find(const Lease& lease, const CredentialPattern& want, bool with_authtype);
  // All that match; where secrets are given only those with the same: who knows an old password does not
  // erase a newer one. Returns how many.
  std::size_t erase(const Lease& lease, const CredentialPattern& want, const MaybeSecret& password = {},
                    const MaybeSecret& credential = {});
  // Gives all of one lease to another, in place of what they match there. too_many at a bound; then both
  // keep what they have.
  Result<void> hand_over(const Lease& from, const Lease& to);
  void erase_all(std::string_view lease);
  void erase_everything() { vaults_.lock()->clear(); }

  void lease_opened(const LeasePtr&) override {}
  void lease_closed(const LeasePtr& lease) override { erase_all(lease->id); }

  std::size_t count();  // of all leases
  // In the order in which those of a lease were stored.
  void for_each(const std::function<void(const std::string& lease, const JobCredential&)>& act);

 private:
  // A secret's place in the vault's memory.
  struct Slice {
    std::size_t at = 0;
    std::size_t size = 0;
  };
  using MaybeSlice = std::optional<Slice>;
  struct Entry {
    CredentialPattern where;
    std::string authtype;
    std::optional<std::int64_t> expires;
    MaybeSlice password, credential, refresh_token;  // in this order in memory

    std::size_t bytes() const;
  };
  // The entries stand in the order of their secrets, without gaps.
  struct Vault {
    uid_t uid = 0;
    std::vector<Entry> entries;
    LockedMemory memory;
    std::size_t used = 0;

    MaybeSecret read(const MaybeSlice& slice) const;
    bool holds(const MaybeSlice& slice, const MaybeSecret& expected) const;
    JobCredential at(const Entry& entry) const;
    void append(const JobCredential& credential);  // there is room
    template <class Condition>
    std::size_t remove(Condition&& condition);  // those for which it holds
  };
  using Vaults = std::map<std::string, Vault, std::less<>>;  // by lease

  static Result<void> make_room(Vaults& vaults, Vault& vault, std::size_t size);
  Result<void> put(Vaults& vaults, const Lease& lease, const std::vector<JobCredential>& added);
  static void drop_if_empty(Vaults& vaults, std::string_view lease);
  bool has_expired(const Entry& entry) const;

  const Clock& clock_;
  Sync<Vaults> vaults_;
};

}  // namespace mintfs::broker
