// What a lease's job has put into a helper of the machine: where, never what. It is written down before it
// is stored, so that it can be erased whatever happens in between.
//
// On disk under the state directory, since a helper's memory may outlive the machine's: a lease that a
// crash or a power cut ended is erased at the next start. The file alone says what there is; no copy is kept.
#pragma once

#include "broker/error.h"
#include "broker/job_credential.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace mintfs::broker {

struct HelperRecord {
  using Environment = std::map<std::string, std::string>;
  struct Entry {
    CredentialPattern where;  // as the job names it, but for a protocol that is one with another
    std::size_t session = 0;  // in `sessions`
    bool operator==(const Entry&) const = default;
  };

  std::string lease;
  std::string helper;
  std::string prefix;  // "77.3.", before the host
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups{};
  std::vector<Environment> sessions{};  // in which it was stored
  std::vector<Entry> entries{};         // in the order in which they were stored last

  // Puts it at the end.
  void add(CredentialPattern where, const Environment& session);
};

// "<build>.<job>.", so that no two are alike: what may not stand in a host's label, or could be taken for
// more than one, becomes "_" and two hexadecimal digits; of what then is over 63 bytes the end becomes "_-" and a
// digest. Nothing where a label is missing.
std::optional<std::string> helper_prefix(const std::map<std::string, std::string>& labels);

// As the helper is told: behind the prefix, a port kept.
CredentialPattern helper_place(const std::string& prefix, const CredentialPattern& where);

class HelperRecords {
 public:
  // Made with 0700 when it is missing; throws std::runtime_error when that fails.
  explicit HelperRecords(std::filesystem::path directory);

  // Nothing where there is none. Throws std::runtime_error for one that cannot be read.
  std::optional<HelperRecord> read(std::string_view lease) const;
  // too_many where it is larger than what a lease may leave, storage_failed.
  Result<void> write(const HelperRecord& record) const;
  void remove(std::string_view lease) const;
  // Removes what a write that was cut off left behind; while nobody else writes.
  void clear() const;
  // Whose there are.
  std::vector<std::string> leases() const;

 private:
  std::filesystem::path file_of(std::string_view lease) const;

  std::filesystem::path directory_;
};

}  // namespace mintfs::broker
