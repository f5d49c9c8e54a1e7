#include "broker/lease.h"

#include "broker/lease_file.h"
#include "broker/state_file.h"

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr char kSetAside[] = ".refused";

// A lease that gateways have granted has brought its own.
bool add_key(Lease& lease, const MasterKeys& keys) {
  if (lease.grant) return true;
  const auto key = keys.derive(lease.kid, lease.id);
  if (key) lease.key = *key;
  return key.has_value();
}

}  // namespace

bool Lease::serves(const ConnectorName& name) const {
  return std::find(connectors.begin(), connectors.end(), name) != connectors.end();
}

LeaseTable::LeaseTable(std::filesystem::path directory) : directory_(std::move(directory)) {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error)
    throw std::runtime_error("cannot make the directory " + directory_.string() + ": " + error.message() +
                             "; make room there or choose another daemon.runtime_dir");
  if (::chmod(directory_.c_str(), 0700) != 0)
    throw std::runtime_error("cannot protect " + directory_.string() + "; it must belong to the daemon's user");
}

std::size_t LeaseTable::load(const MasterKeys& keys, Time now, const std::function<void(std::string)>& report) {
  auto entries = entries_.lock();
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    const std::string name = file.path().filename().string();
    if (!name.ends_with(".json")) {
      // What a write that was cut off left behind.
      if (name.find(".json.") != std::string::npos && !name.ends_with(kSetAside)) ::unlink(file.path().c_str());
      continue;
    }
    try {
      Lease lease = read_lease_file(file.path());
      if (lease.id + ".json" != name) throw std::runtime_error("its name is not its id");
      if (lease.expires <= now) {
        ::unlink(file.path().c_str());
        continue;
      }
      if (!add_key(lease, keys)) throw std::runtime_error("its signing key is not known");
      if (entries->by_serial.contains(lease.serial)) throw std::runtime_error("its serial is used twice");
      insert(*entries, std::make_shared<const Lease>(std::move(lease)));
    } catch (const std::exception& error) {
      report("the lease file " + file.path().string() + " is refused: " + error.what());
      std::error_code ignored;
      std::filesystem::rename(file.path(), file.path().string() + kSetAside, ignored);
    }
  }
  return entries->by_id.size();
}

Result<LeasePtr> LeaseTable::add(Lease lease, std::uint32_t max_per_user) {
  const auto opener = lease.opener;
  LeasePtr shared;
  {
    auto entries = entries_.lock();
    if (!is_administrator(opener)) {
      const auto count = entries->per_opener.find(opener);
      if (count != entries->per_opener.end() && count->second >= max_per_user) return Errc::too_many;
    }
    // Microseconds since the epoch: it grows, and never names a node that an earlier daemon handed out.
    const auto opened = std::chrono::duration_cast<std::chrono::microseconds>(lease.opened.time_since_epoch());
    entries->last_serial = std::max(entries->last_serial + 1, static_cast<std::uint64_t>(opened.count()));
    lease.serial = entries->last_serial;
    shared = std::make_shared<const Lease>(std::move(lease));
    ++entries->per_opener[opener];  // keeps the place while the file is written
  }
  try {
    write_lease_file(directory_ / (shared->id + ".json"), *shared);
  } catch (const std::exception&) {
    auto entries = entries_.lock();
    if (--entries->per_opener[opener] == 0) entries->per_opener.erase(opener);
    return Errc::storage_failed;
  }
  auto entries = entries_.lock();
  --entries->per_opener[opener];
  insert(*entries, shared);
  return shared;
}

LeasePtr LeaseTable::put(Lease lease, const MasterKeys& keys) {
  const auto key = keys.derive(lease.kid, lease.id);
  if (!key) return nullptr;
  lease.key = *key;
  auto entries = entries_.lock();
  const LeasePtr former = take(*entries, lease.id);
  lease.serial = former ? former->serial : entries->last_serial + 1;
  auto shared = std::make_shared<const Lease>(std::move(lease));
  insert(*entries, shared);
  return shared;
}

std::size_t LeaseTable::count_of_pod(std::string_view uid) {
  auto entries = entries_.lock();
  const auto found = entries->per_pod.find(uid);
  return found == entries->per_pod.end() ? 0 : found->second;
}

LeasePtr LeaseTable::remove(std::string_view id) {
  LeasePtr lease = take(*entries_.lock(), id);
  if (lease) remove_file(lease->id);
  return lease;
}

// The file is written with the table locked: a lease that closes meanwhile must not leave one behind.
Result<LeasePtr> LeaseTable::renew(std::string_view id, Time expires) {
  auto entries = entries_.lock();
  const auto found = entries->by_id.find(id);
  if (found == entries->by_id.end()) return Errc::lease_closed;
  if (found->second->expires >= expires) return found->second;
  auto renewed = std::make_shared<Lease>(*found->second);
  renewed->expires = expires;
  try {
    write_lease_file(directory_ / (renewed->id + ".json"), *renewed);
  } catch (const std::exception&) {
    return Errc::storage_failed;
  }
  take(*entries, id);
  insert(*entries, renewed);
  return LeasePtr(std::move(renewed));
}

std::vector<LeasePtr> LeaseTable::remove_expired(Time now) {
  std::vector<LeasePtr> expired;
  {
    auto entries = entries_.lock();
    while (!entries->by_end.empty() && entries->by_end.begin()->first <= now)
      expired.push_back(take(*entries, entries->by_serial.at(entries->by_end.begin()->second)->id));
  }
  for (const auto& lease : expired) remove_file(lease->id);
  std::set<std::string> again;
  left_.lock()->swap(again);
  for (const auto& id : again) remove_file(id);
  return expired;
}

LeaseTable::Difference LeaseTable::follow(const MasterKeys& keys, const std::function<void(std::string)>& report) {
  Difference difference;
  auto entries = entries_.lock();
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    const std::string id = file.path().stem().string();
    if (file.path().extension() != ".json" || entries->by_id.contains(id)) continue;
    try {
      Lease lease = read_lease_file(file.path());
      if (lease.id != id || !add_key(lease, keys)) throw std::runtime_error("it is not whole");
      difference.opened.push_back(std::make_shared<const Lease>(std::move(lease)));
    } catch (const std::exception& error) {
      if (is_on_disk(id)) report("the lease file " + file.path().string() + " is passed over: " + error.what());
    }
  }
  for (const auto& [id, lease] : entries->by_id)
    if (!is_on_disk(id)) difference.closed.push_back(lease);
  for (const auto& lease : difference.closed) take(*entries, lease->id);
  for (const auto& lease : difference.opened) insert(*entries, lease);
  return difference;
}

bool LeaseTable::is_on_disk(std::string_view id) const {
  // An empty one is of a closed lease, see remove_file().
  struct stat entry {};
  return ::stat((directory_ / (std::string(id) + ".json")).c_str(), &entry) == 0 && entry.st_size != 0;
}

void LeaseTable::reinstate() {
  auto entries = entries_.lock();
  for (const auto& [id, lease] : entries->by_id) {
    const std::filesystem::path file = directory_ / (lease->id + ".json");
    std::error_code ignored;
    if (is_on_disk(id) || !std::filesystem::exists(file.string() + kSetAside, ignored)) continue;
    try {
      write_lease_file(file, *lease);
      std::filesystem::remove(file.string() + kSetAside, ignored);
    } catch (const std::exception&) {  // then it is closed
    }
  }
}

LeasePtr LeaseTable::find(std::string_view id) {
  auto entries = entries_.lock();
  const auto found = entries->by_id.find(id);
  return found == entries->by_id.end() ? nullptr : found->second;
}

LeasePtr LeaseTable::find_serial(std::uint64_t serial) {
  auto entries = entries_.lock();
  const auto found = entries->by_serial.find(serial);
  return found == entries->by_serial.end() ? nullptr : found->second;
}

std::vector<LeasePtr> LeaseTable::all() {
  std::vector<LeasePtr> leases;
  {
    auto entries = entries_.lock();
    leases.reserve(entries->by_serial.size());
    for (const auto& [serial, lease] : entries->by_serial) leases.push_back(lease);
  }
  std::sort(leases.begin(), leases.end(), [](const auto& a, const auto& b) { return a->serial < b->serial; });
  return leases;
}

std::size_t LeaseTable::size() { return entries_.lock()->by_id.size(); }

void LeaseTable::insert(Entries& entries, LeasePtr lease) {
  entries.last_serial = std::max(entries.last_serial, lease->serial);
  ++entries.per_opener[lease->opener];
  if (const auto pod = lease->labels.find(kPodUid); pod != lease->labels.end()) ++entries.per_pod[pod->second];
  entries.by_end.emplace(lease->expires, lease->serial);
  entries.by_serial.emplace(lease->serial, lease);
  const std::string_view id = lease->id;
  entries.by_id.emplace(id, std::move(lease));
}

LeasePtr LeaseTable::take(Entries& entries, std::string_view id) {
  const auto found = entries.by_id.find(id);
  if (found == entries.by_id.end()) return nullptr;
  LeasePtr lease = found->second;
  entries.by_id.erase(found);
  entries.by_serial.erase(lease->serial);
  entries.by_end.erase({lease->expires, lease->serial});
  if (--entries.per_opener[lease->opener] == 0) entries.per_opener.erase(lease->opener);
  if (const auto pod = lease->labels.find(kPodUid); pod != lease->labels.end())
    if (const auto count = entries.per_pod.find(pod->second); --count->second == 0) entries.per_pod.erase(count);
  return lease;
}

void LeaseTable::remove_file(const std::string& id) {
  if (directory_.empty()) return;
  const std::filesystem::path file = directory_ / (id + ".json");
  if (::unlink(file.c_str()) == 0 || errno == ENOENT) return;
  // An empty file is no lease: what cannot be removed must not come back at the next start.
  [[maybe_unused]] const int emptied = ::truncate(file.c_str(), 0);
  left_.lock()->insert(id);
}

std::size_t LeaseTable::left_behind() { return left_.lock()->size(); }

}  // namespace mintfs::broker
