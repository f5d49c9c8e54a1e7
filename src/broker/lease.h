// Leases: a job's bounded right to use some connectors.
//
// A lease either exists on disk and in memory or not at all: its file is written before open
// returns and removed before close returns. One that gateways have granted has its key in it, which is what no other
// file and no other process of this machine has. A lease never changes after it was opened, so readers
// on any thread share it without a lock; to live longer, it is replaced by one that differs in its end alone.
// A gateway holds those of a whole cluster: nothing that is done for each request or each second walks all.
#pragma once

#include "broker/cgroup.h"
#include "broker/client_origin.h"
#include "broker/clock.h"
#include "broker/config.h"
#include "broker/configuration.h"
#include "broker/error.h"
#include "broker/keys.h"
#include "broker/policy.h"
#include "broker/rare_text.h"
#include "broker/sync.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace mintfs::broker {

inline constexpr std::size_t kLeaseIdSize = 26;
// Of serials, which are microseconds since the epoch and stand in 53 bits of node ids: room is left above it for all
// that follow.
inline constexpr std::uint64_t kMaxSerial = (std::uint64_t{1} << 53) - (std::uint64_t{1} << 32);
inline constexpr const char* kPodUid = "pod_uid";  // the label of who a lease belongs to in a cluster

struct Lease {
  // A process whose end closes the lease; start time tells a reused pid (clock ticks since boot,
  // field 22 of /proc/PID/stat).
  struct Process {
    pid_t pid = 0;
    std::uint64_t start_time = 0;
  };

  std::string id;
  RareText version{};        // of the object that it is in a cluster; empty: it is none, or that is not known yet
  std::uint64_t serial = 0;  // grows with each lease, also over restarts; node ids come from it
  uid_t uid = 0;             // whose processes may open the view's files, where it is not a pod's
  uid_t opener = 0;          // who asked for it and may close it
  std::uint32_t kid = 0;
  // Whoever gets to the view may open it: a pod's users are the image's affair. Only root can look it up, so it
  // is reached where root has bind-mounted it and nowhere else.
  bool pod = false;
  bool exact_protocol = false;  // what its job stores for http does not answer https, nor the other way round
  std::string subject;          // "uid:1000", "pod:team/build-7"
  std::map<std::string, std::string> labels;
  std::vector<ConnectorName> connectors;
  Rights rights;
  Time opened;
  Time expires;
  std::chrono::seconds token_ttl{0};  // of its tokens; 0: the daemon's own
  Process process;                    // pid 0: not bound
  std::string credential_store{};  // where its job's git keeps what it stores; empty: our memory, where it is told to
  RareText proxy_url{};            // by which its job reaches the proxy; empty: the proxy's own
  RareText seen_at{};              // where its job sees the view; empty: where it is
  std::shared_ptr<const Cgroup> cgroup{};  // whose processes alone may open the files; null: not bound. Few have one
  std::shared_ptr<const OriginPatterns> origins{};  // where its tokens may be used; null: everywhere
  std::vector<std::string> configurations{};        // of its view, in the order asked; empty: the default ones
  LeaseKey key;                                     // derived, and not stored, where the lease is this daemon's own
  // What gateways of a cluster have granted: where its tokens are of use, and for what. Null: it is our own.
  struct Grant {
    std::string audience;
    Connectors connectors;
  };
  std::shared_ptr<const Grant> grant{};  // with it the key is theirs, and kept with the lease

  bool serves(const ConnectorName& name) const;
  const std::vector<std::string>& view() const {
    return configurations.empty() ? default_configurations() : configurations;
  }
};

using LeasePtr = std::shared_ptr<const Lease>;

// All open leases. Thread-safe.
class LeaseTable {
 public:
  // Leases live under `directory` (made with 0700 when missing; throws when that fails).
  explicit LeaseTable(std::filesystem::path directory);
  // In memory only: leases that are kept elsewhere come by put() and go by remove().
  LeaseTable() = default;

  // Reads what an earlier daemon left: expired ones are removed, malformed or unknown ones are set
  // aside as "<file>.refused". `report` gets one sentence for each of those. Returns how many live.
  std::size_t load(const MasterKeys& keys, Time now, const std::function<void(std::string)>& report);

  // Gives the lease its serial, writes its file, makes it visible. `max_per_user` bounds the open
  // leases of one opener (administrators are not bounded by it). too_many, storage_failed.
  Result<LeasePtr> add(Lease lease, std::uint32_t max_per_user);

  // Makes it visible, in place of one with its id, without a file. Null where its key is not known.
  LeasePtr put(Lease lease, const MasterKeys& keys);
  // How many are of the pod with this uid, by the label kPodUid.
  std::size_t count_of_pod(std::string_view uid);

  // Removes entry and file; null when there was none.
  LeasePtr remove(std::string_view id);
  // Lets the lease live until then. Who holds the former object sees the former end. lease_closed, storage_failed.
  Result<LeasePtr> renew(std::string_view id, Time expires);
  // Takes out every lease that has expired, and tries again to remove what was left behind.
  std::vector<LeasePtr> remove_expired(Time now);
  // Files of leases that are gone which could not be removed (a read-only file system). Emptied, where
  // that much is possible; a whole one would come back at the next start.
  std::size_t left_behind();

  // Makes the table what the files say: another daemon has opened and closed leases meanwhile. What
  // cannot be read is reported and left alone.
  struct Difference {
    std::vector<LeasePtr> opened;
    std::vector<LeasePtr> closed;
  };
  Difference follow(const MasterKeys& keys, const std::function<void(std::string)>& report);
  bool is_on_disk(std::string_view id) const;
  // Another daemon has loaded the files, and this one has them again: writes those anew that it has set aside. What
  // is known here is whole.
  void reinstate();

  LeasePtr find(std::string_view id);
  LeasePtr find_serial(std::uint64_t serial);
  std::vector<LeasePtr> all();
  std::size_t size();

 private:
  struct Entries {
    std::unordered_map<std::string_view, LeasePtr> by_id;  // the keys are the leases' own ids
    std::unordered_map<std::uint64_t, LeasePtr> by_serial;
    std::unordered_map<uid_t, std::uint32_t> per_opener;
    std::map<std::string, std::uint32_t, std::less<>> per_pod;  // by uid
    std::set<std::pair<Time, std::uint64_t>> by_end;            // with the serial
    std::uint64_t last_serial = 0;
  };
  static void insert(Entries& entries, LeasePtr lease);
  static LeasePtr take(Entries& entries, std::string_view id);
  void remove_file(const std::string& id);

  std::filesystem::path directory_;
  Sync<Entries> entries_;
  Sync<std::set<std::string>> left_;  // ids whose file could not be removed
};

}  // namespace mintfs::broker
