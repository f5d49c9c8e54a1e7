#include "broker/job_credentials.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mintfs::broker {
namespace {

std::size_t size_of(const MaybeSecret& secret) { return secret ? secret->size() : 0; }

std::size_t size_of(const JobCredential& credential) {
  return size_of(credential.password) + size_of(credential.credential) + size_of(credential.refresh_token);
}

// What is kept beside the secrets: long paths and names of users fill memory as well.
std::size_t size_of(const CredentialPattern& where, const std::string& authtype) {
  std::size_t sum = authtype.size();
  for (const auto* text : {&where.protocol, &where.host, &where.path, &where.username})
    if (*text) sum += (*text)->size();
  return sum;
}

}  // namespace

std::size_t JobCredentials::Entry::bytes() const {
  std::size_t sum = 0;
  for (const auto& slice : {password, credential, refresh_token}) sum += slice ? slice->size : 0;
  return sum;
}

MaybeSecret JobCredentials::Vault::read(const MaybeSlice& slice) const {
  if (!slice) return std::nullopt;
  return Secret({memory.bytes().data() + slice->at, slice->size});
}

bool JobCredentials::Vault::holds(const MaybeSlice& slice, const MaybeSecret& expected) const {
  return !expected || (slice && expected->equals({memory.bytes().data() + slice->at, slice->size}));
}

JobCredential JobCredentials::Vault::at(const Entry& entry) const {
  return {.where = entry.where,
          .authtype = entry.authtype,
          .expires = entry.expires,
          .password = read(entry.password),
          .credential = read(entry.credential),
          .refresh_token = read(entry.refresh_token)};
}

void JobCredentials::Vault::append(const JobCredential& credential) {
  const auto keep = [&](const MaybeSecret& secret) -> MaybeSlice {
    if (!secret) return std::nullopt;
    std::copy(secret->reveal().begin(), secret->reveal().end(), memory.bytes().begin() + used);
    return Slice{std::exchange(used, used + secret->size()), secret->size()};
  };
  Entry entry{.where = credential.where,
              .authtype = credential.authtype,
              .expires = credential.expires,
              .password = {},
              .credential = {},
              .refresh_token = {}};
  entries.reserve(entries.size() + 1);  // what can fail comes before the secrets are there
  entry.password = keep(credential.password);
  entry.credential = keep(credential.credential);
  entry.refresh_token = keep(credential.refresh_token);
  entries.push_back(std::move(entry));
}

// What stays moves together; what is behind it then is wiped.
template <class Condition>
std::size_t JobCredentials::Vault::remove(Condition&& condition) {
  const std::size_t removed = std::erase_if(entries, condition);
  if (removed == 0) return 0;
  char* const base = memory.bytes().data();
  std::size_t end = 0;
  for (Entry& entry : entries)
    for (MaybeSlice* slice : {&entry.password, &entry.credential, &entry.refresh_token}) {
      if (!*slice) continue;
      std::copy_n(base + (*slice)->at, (*slice)->size, base + end);
      (*slice)->at = end;
      end += (*slice)->size;
    }
  wipe(memory.bytes().subspan(end, used - end));
  used = end;
  return removed;
}

bool JobCredentials::has_expired(const Entry& entry) const {
  const auto now = std::chrono::floor<std::chrono::seconds>(clock_.now()).time_since_epoch().count();
  return entry.expires && *entry.expires <= now;
}

Result<void> JobCredentials::make_room(Vaults& vaults, Vault& vault, std::size_t size) {
  if (size <= vault.memory.size()) return {};
  auto larger = LockedMemory::make(size);
  if (!larger) return larger.error();
  std::size_t locked = larger->size();
  for (const auto& [id, each] : vaults)
    if (each.uid == vault.uid && &each != &vault) locked += each.memory.size();
  if (locked > kMaxPerUser) return Errc::too_many;
  const auto secrets = vault.memory.bytes().first(vault.used);
  std::copy(secrets.begin(), secrets.end(), larger->bytes().begin());
  vault.memory = std::move(*larger);
  return {};
}

Result<void> JobCredentials::put(Vaults& vaults, const Lease& lease, const std::vector<JobCredential>& added) {
  Vault& vault = vaults.try_emplace(lease.id).first->second;
  vault.uid = lease.uid;
  vault.remove([&](const Entry& entry) { return has_expired(entry); });
  const auto is_replaced = [&](const Entry& entry) {
    return std::any_of(added.begin(), added.end(), [&](const JobCredential& each) {
      return matches(each.where, entry.where, lease.exact_protocol);
    });
  };
  std::size_t entries = added.size(), bytes = 0, more = 0, places = 0;
  for (const JobCredential& each : added) {
    more += size_of(each);
    places += size_of(each.where, each.authtype);
  }
  for (const Entry& entry : vault.entries) {
    if (is_replaced(entry)) continue;
    ++entries;
    bytes += entry.bytes();
    places += size_of(entry.where, entry.authtype);
  }
  if (entries > kMaxEntries || bytes + more > kMaxBytes || places > kMaxBytes) return Errc::too_many;
  if (auto room = make_room(vaults, vault, vault.used + more); !room) return room;
  vault.remove(is_replaced);
  for (const JobCredential& each : added) vault.append(each);
  return {};
}

void JobCredentials::drop_if_empty(Vaults& vaults, std::string_view lease) {
  const auto found = vaults.find(lease);
  if (found != vaults.end() && found->second.entries.empty()) vaults.erase(found);
}

Result<void> JobCredentials::store(const Lease& lease, JobCredential credential) {
  std::vector<JobCredential> added;
  added.push_back(std::move(credential));
  auto vaults = vaults_.lock();
  const auto done = put(*vaults, lease, added);
  drop_if_empty(*vaults, lease.id);
  return done;
}

std::optional<JobCredential> JobCredentials::find(const Lease& lease, const CredentialPattern& want,
                                                  bool with_authtype) {
  auto vaults = vaults_.lock();
  const auto found = vaults->find(lease.id);
  if (found == vaults->end()) return std::nullopt;
  const Vault& vault = found->second;
  const auto fits = [&](const Entry& entry) {
    return matches(want, entry.where, lease.exact_protocol) && !has_expired(entry) && (entry.password || with_authtype);
  };
  const auto entry = std::find_if(vault.entries.rbegin(), vault.entries.rend(), fits);
  if (entry == vault.entries.rend()) return std::nullopt;
  return vault.at(*entry);
}

std::size_t JobCredentials::erase(const Lease& lease, const CredentialPattern& want, const MaybeSecret& password,
                                  const MaybeSecret& credential) {
  auto vaults = vaults_.lock();
  const auto found = vaults->find(lease.id);
  if (found == vaults->end()) return 0;
  Vault& vault = found->second;
  const std::size_t erased = vault.remove([&](const Entry& entry) {
    return matches(want, entry.where, lease.exact_protocol) && vault.holds(entry.password, password) &&
           vault.holds(entry.credential, credential);
  });
  drop_if_empty(*vaults, lease.id);
  return erased;
}

Result<void> JobCredentials::hand_over(const Lease& from, const Lease& to) {
  auto vaults = vaults_.lock();
  const auto source = vaults->find(from.id);
  if (source == vaults->end() || from.id == to.id) return {};
  std::vector<JobCredential> handed;
  for (const Entry& entry : source->second.entries)
    if (!has_expired(entry)) handed.push_back(source->second.at(entry));
  const auto done = put(*vaults, to, handed);
  if (done) vaults->erase(source);
  drop_if_empty(*vaults, to.id);
  return done;
}

void JobCredentials::erase_all(std::string_view lease) {
  auto vaults = vaults_.lock();
  if (const auto found = vaults->find(lease); found != vaults->end()) vaults->erase(found);
}

std::size_t JobCredentials::count() {
  auto vaults = vaults_.lock();
  std::size_t sum = 0;
  for (const auto& [id, vault] : *vaults) sum += vault.entries.size();
  return sum;
}

void JobCredentials::for_each(const std::function<void(const std::string& lease, const JobCredential&)>& act) {
  auto vaults = vaults_.lock();
  for (const auto& [id, vault] : *vaults)
    for (const Entry& entry : vault.entries) act(id, vault.at(entry));
}

}  // namespace mintfs::broker
