// What jobs keep in the machine's own helpers (`credential_store` of a lease): where it is, and its end.
//
// The job's git-credential-mintfs gets and stores, in the job's session and as its user; the daemon never has
// the secret. It writes down where before anything is stored (broker/helper_record.h), and when the lease has
// ended it runs the helper as the lease's user and erases all of it. What cannot be erased stays written down
// and is tried again, by the next daemon as well.
//
// All on the thread of the context.
#pragma once

#include "broker/broker.h"
#include "broker/helper_process.h"
#include "broker/helper_record.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

class HelperStores final : public LeaseObserver {
 public:
  // Leases of one user whose traces could not be erased; at the bound no more is stored.
  static constexpr std::size_t kMaxLeft = 64;

  using Warn = std::function<void(const std::string& sentence)>;
  HelperStores(boost::asio::io_context& context, Broker& broker, std::filesystem::path directory, Warn warn);

  // Where the helper keeps what the job calls `where`, in the helper's words. From then on it is written
  // down. Nothing while an ended lease's is erased just there: ask again, or that would take the new one with
  // it. lease_denied for a caller whose end cannot be awaited; too_many, storage_failed.
  Result<std::optional<CredentialPattern>> admit(const Lease& lease, const Caller& caller,
                                                 const CredentialPattern& where,
                                                 const HelperRecord::Environment& session);
  // Of what was admitted, that which matches; the one stored last comes first.
  std::vector<CredentialPattern> find(const Lease& lease, const CredentialPattern& want) const;
  // Gives all of one lease to another of the same helper, build and job.
  Result<void> hand_over(const Lease& from, const Lease& to);

  void lease_opened(const LeasePtr&) override {}
  void lease_closed(const LeasePtr& lease) override;
  // Takes over what daemons before have left, when the leases are known.
  void start();
  // Erases what leases that are gone have left.
  void sweep();

 private:
  std::optional<HelperRecord> read(std::string_view lease) const;
  void enqueue(const HelperRecord& record);
  boost::asio::awaitable<void> erase_queued(uid_t uid);
  boost::asio::awaitable<bool> end_of_writers(std::string lease);
  boost::asio::awaitable<bool> erase(const HelperRecord& record);
  bool is_another_s(const HelperRecord& record, const HelperRecord::Entry& entry) const;
  // Where an entry of the lease's job is erased at this moment.
  struct Erasure {
    std::string helper;
    CredentialPattern place;  // in the helper's words
    bool operator==(const Erasure&) const = default;
  };

  boost::asio::io_context& context_;
  Broker& broker_;
  HelperRecords records_;
  Warn warn_;
  // Programs that have been told where to store, by lease: at a lease's end they may be about to.
  std::map<std::string, std::vector<Lease::Process>, std::less<>> writers_;
  // Leases that have ended and whose traces are not erased yet, by user.
  std::map<uid_t, std::set<std::string>> left_;
  // Of those, what is to be done now, one after another: a helper that hangs delays its user alone.
  std::map<uid_t, std::deque<std::string>> queues_;
  // Whose helper runs to erase, by user.
  std::map<uid_t, Erasure> erasures_;
};

// Why what this lease's job stores cannot be kept where the lease says; empty where it can.
std::string why_not_in_helper(const Lease& lease);

}  // namespace mintfs::broker
