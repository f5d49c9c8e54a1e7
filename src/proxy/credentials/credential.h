// Real credentials: read from the files that the administrator named, ready to be sent.
//
// Obtaining a credential and sending it are two acts: here it becomes the header line that goes to
// the connector's own origin, and the patterns by which answers are scrubbed of it. Nothing else of
// the daemon ever holds one.
#pragma once

#include "broker/broker.h"
#include "broker/config.h"
#include "broker/secret.h"
#include "broker/state_file.h"
#include "broker/sync.h"
#include "proxy/scrub.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

namespace mintfs::proxy {

struct Credential {
  broker::Secret header_line;  // "Authorization: Basic ...\r\n"
  broker::Secret page_line;    // of what is no Git repository, where that differs; else empty
  ScrubPatterns patterns;

  // `page`: for what is no Git repository.
  const broker::Secret& line_for(bool page) const { return page && !page_line.empty() ? page_line : header_line; }
};

using CredentialPtr = std::shared_ptr<const Credential>;

// Reads the connector's secret file. Throws std::runtime_error with one sentence.
CredentialPtr load_credential(const broker::ConnectorConfig& connector);

// Of a secret that comes from elsewhere. It must be fit for a header line.
CredentialPtr make_credential(const broker::ConnectorConfig& connector, const broker::Secret& secret);

// The credentials of all connectors. Thread-safe.
class CredentialStore {
 public:
  // Loads every credential or throws; nothing is replaced before all were read.
  void load(const broker::Connectors& connectors);

  // One whose secret is in no file: in place of the former one of its name.
  void put(const broker::ConnectorConfig& connector, CredentialPtr credential);
  void remove(const broker::ConnectorName& name);

  // Null when this very connector is not known: one of the same name that now has another address or
  // account (a reload is under way) does not get this credential.
  CredentialPtr find(const broker::ConnectorConfig& connector);

  // Reads again what changed on disk since. A file that cannot be read keeps the credential that is
  // known and is tried again each time; `report` gets one sentence for each change. Called about once a
  // second, by one thread that load() may also be called from; no request waits for a file.
  void refresh(const std::function<void(std::string)>& report);

 private:
  struct Entry {
    broker::ConnectorConfig connector;
    CredentialPtr credential;
  };
  struct Watched {
    broker::ConnectorName connector;
    std::filesystem::path file;
    broker::FileVersion loaded;    // what the credential was read from
    broker::FileVersion reported;  // what could not be read, when that was told
  };
  bool read_again(const Watched& watched);

  broker::Sync<std::map<broker::ConnectorName, Entry>> entries_;  // what requests ask
  broker::Sync<std::vector<Watched>> watched_;                    // locked first where both are
};

}  // namespace mintfs::proxy
