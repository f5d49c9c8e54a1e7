#include "broker/helper_stores.h"

#include "broker/process_watch.h"
#include "broker/system_helper.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <csignal>
#include <exception>
#include <iterator>
#include <utility>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kPatience{10};    // for one run of a helper
constexpr std::chrono::seconds kWriters{70};     // longer than git-credential-mintfs waits for one
constexpr std::chrono::milliseconds kLast{500};  // what a program that was killed had started
constexpr std::size_t kMaxWriters = 64;
constexpr std::size_t kMaxGroups = 64;

// Where no descriptor is left to look with, whoever has the number is taken for it.
bool is_alive(const Lease::Process& process) {
  const std::uint64_t started = process_start_time(process.pid);
  return started == process.start_time || (started == 0 && ::kill(process.pid, 0) == 0);
}

// Those of http and https are one entry, under one name.
CredentialPattern canonical(CredentialPattern where, bool exact) {
  if (!exact && where.protocol == "http") where.protocol = "https";
  return where;
}

HelperRun run_of(const HelperRecord& record, const HelperRecord::Entry& entry) {
  HelperRun run{.command = helper_command(record.helper, "erase"),
                .environment = {},
                .uid = record.uid,
                .gid = record.gid,
                .groups = record.groups,
                .input = to_lines(helper_place(record.prefix, entry.where)) + "\n"};
  for (const auto& [name, value] : record.sessions[entry.session]) run.environment.push_back(name + "=" + value);
  return run;
}

}  // namespace

std::string why_not_in_helper(const Lease& lease) {
  if (!is_system_helper(lease.credential_store)) return {};
  if (!helper_prefix(lease.labels))
    return "A credential store tells jobs apart by the labels 'build' and 'job': "
           "name both, for example --label build=77 --label job=3.";
  if (!can_become(lease.uid))
    return "This mintfsd cannot act as another user, so it could not erase what is stored: "
           "docs/credential-helper.md says what it needs.";
  return {};
}

HelperStores::HelperStores(asio::io_context& context, Broker& broker, std::filesystem::path directory, Warn warn)
    : context_(context), broker_(broker), records_(std::move(directory)), warn_(std::move(warn)) {}

std::optional<HelperRecord> HelperStores::read(std::string_view lease) const try {
  return records_.read(lease);
} catch (const std::exception& error) {
  warn_("what the lease " + std::string(lease) + " has stored in a helper cannot be erased: " + error.what());
  return std::nullopt;
}

Result<std::optional<CredentialPattern>> HelperStores::admit(const Lease& lease, const Caller& caller,
                                                             const CredentialPattern& where,
                                                             const HelperRecord::Environment& session) {
  if (caller.pid == 0) return Errc::lease_denied;
  if (const auto left = left_.find(lease.uid); left != left_.end() && left->second.size() >= kMaxLeft)
    return Errc::too_many;
  auto prefix = helper_prefix(lease.labels);
  if (!prefix) return Errc::lease_malformed;
  const CredentialPattern kept = canonical(where, lease.exact_protocol);
  CredentialPattern place = helper_place(*prefix, kept);
  if (const auto erasure = erasures_.find(lease.uid);
      erasure != erasures_.end() && erasure->second == Erasure{lease.credential_store, place})
    return std::optional<CredentialPattern>();
  HelperRecord record = read(lease.id).value_or(
      HelperRecord{.lease = lease.id, .helper = lease.credential_store, .prefix = *prefix, .uid = lease.uid});
  record.gid = caller.gid;
  record.groups = caller.groups;
  record.groups.resize(std::min(record.groups.size(), kMaxGroups));
  record.add(kept, session);
  if (const auto written = records_.write(record); !written) return written.error();

  auto& writers = writers_[lease.id];
  std::erase_if(writers, [](const Lease::Process& each) { return !is_alive(each); });
  if (writers.size() >= kMaxWriters) return Errc::too_many;
  writers.push_back({caller.pid, process_start_time(caller.pid)});
  return std::optional(std::move(place));
}

std::vector<CredentialPattern> HelperStores::find(const Lease& lease, const CredentialPattern& want) const {
  std::vector<CredentialPattern> found;
  const auto record = read(lease.id);
  if (!record) return found;
  for (auto entry = record->entries.rbegin(); entry != record->entries.rend(); ++entry) {
    if (!matches(want, entry->where, lease.exact_protocol)) continue;
    CredentialPattern place = helper_place(record->prefix, entry->where);
    if (std::find(found.begin(), found.end(), place) == found.end()) found.push_back(std::move(place));
  }
  return found;
}

Result<void> HelperStores::hand_over(const Lease& from, const Lease& to) {
  const auto prefix = helper_prefix(from.labels);
  if (from.credential_store != to.credential_store || !prefix || helper_prefix(to.labels) != prefix)
    return Errc::lease_denied;
  const auto source = read(from.id);
  if (!source || from.id == to.id) return {};
  HelperRecord record = *source;
  record.lease = to.id;
  if (const auto there = read(to.id)) {
    record = *there;
    for (const auto& entry : source->entries) record.add(entry.where, source->sessions[entry.session]);
  }
  if (const auto written = records_.write(record); !written) return written;
  records_.remove(from.id);
  // Who is storing meanwhile does so at the same place, and is waited for at the other's end.
  if (const auto moved = writers_.extract(from.id); !moved.empty()) {
    auto& writers = writers_[to.id];
    std::copy_if(moved.mapped().begin(), moved.mapped().end(), std::back_inserter(writers), is_alive);
  }
  return {};
}

void HelperStores::lease_closed(const LeasePtr& lease) {
  if (!is_system_helper(lease->credential_store)) return;
  if (const auto record = read(lease->id)) enqueue(*record);
}

void HelperStores::start() {
  records_.clear();
  sweep();
}

void HelperStores::sweep() {
  for (const std::string& id : records_.leases())
    if (!broker_.find_lease(id))
      if (const auto record = read(id)) enqueue(*record);
}

void HelperStores::enqueue(const HelperRecord& record) {
  left_[record.uid].insert(record.lease);
  auto& queue = queues_[record.uid];
  if (std::find(queue.begin(), queue.end(), record.lease) != queue.end()) return;
  queue.push_back(record.lease);
  if (queue.size() == 1) asio::co_spawn(context_, erase_queued(record.uid), asio::detached);
}

asio::awaitable<void> HelperStores::erase_queued(uid_t uid) {
  auto& queue = queues_[uid];
  while (!queue.empty()) {
    const std::string lease = queue.front();
    const auto record = read(lease);
    bool erased = true;
    if (record) erased = co_await erase(*record);
    if (record && co_await end_of_writers(lease)) erased = co_await erase(*record);
    if (erased) {
      records_.remove(lease);
      if (left_[uid].erase(lease); left_[uid].empty()) left_.erase(uid);
    } else {
      warn_("the helper '" + record->helper + "' of user " + std::to_string(uid) +
            " failed to erase what was stored in the lease " + lease + "; it is tried again");
    }
    queue.pop_front();
  }
  queues_.erase(uid);
}

// Whether there was one: a program that was told where to store may do so after all was erased.
asio::awaitable<bool> HelperStores::end_of_writers(std::string lease) {
  const auto known = writers_.extract(lease);
  if (known.empty()) co_return false;
  const auto until = std::chrono::steady_clock::now() + kWriters;
  bool waited = false;
  for (const auto& writer : known.mapped()) {
    if (!is_alive(writer)) continue;
    waited = true;
    const auto left = std::chrono::ceil<std::chrono::seconds>(until - std::chrono::steady_clock::now());
    co_await wait_for_end(context_, writer.pid, writer.start_time, std::max(left, std::chrono::seconds(0)));
  }
  if (!waited) co_return false;
  asio::steady_timer timer(context_, kLast);
  co_await timer.async_wait(asio::use_awaitable);
  co_return true;
}

asio::awaitable<bool> HelperStores::erase(const HelperRecord& record) {
  if (!can_become(record.uid)) co_return false;
  for (const auto& entry : record.entries) {
    if (is_another_s(record, entry)) continue;
    const HelperRun run = run_of(record, entry);
    erasures_[record.uid] = {record.helper, helper_place(record.prefix, entry.where)};
    bool erased = false;
    try {
      erased = co_await run_helper(context_, run, kPatience);
    } catch (const std::exception&) {
      // Without descriptors or memory it is tried again, as where the helper fails.
    }
    erasures_.erase(record.uid);
    if (!erased) co_return false;
  }
  co_return true;
}

// Leases of one build and job may have stored in the same place: then the last one erases it.
bool HelperStores::is_another_s(const HelperRecord& record, const HelperRecord::Entry& entry) const {
  for (const std::string& id : records_.leases()) {
    if (id == record.lease || !broker_.find_lease(id)) continue;
    const auto other = read(id);
    if (!other || other->uid != record.uid || other->helper != record.helper || other->prefix != record.prefix)
      continue;
    const auto is_same = [&](const HelperRecord::Entry& each) { return each.where == entry.where; };
    if (std::any_of(other->entries.begin(), other->entries.end(), is_same)) return true;
  }
  return false;
}

}  // namespace mintfs::broker
