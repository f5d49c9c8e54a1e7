// What jobs store, on its way from one daemon to the next (broker/succession.h).
//
// A memfd that both hold: the old one writes when it has stopped answering, the new one reads before it begins.
// It is on no disk, locked in memory, cannot change any more once it was written, and is wiped by the old one when
// the upgrade is over. Where that much memory cannot be locked nothing is handed over, and git asks again.
#pragma once

#include "broker/job_credentials.h"
#include "broker/secret.h"

#include <cstddef>
#include <span>

namespace mintfs::broker {

class CredentialHandover {
 public:
  CredentialHandover();
  ~CredentialHandover();  // wipes
  CredentialHandover(const CredentialHandover&) = delete;
  CredentialHandover& operator=(const CredentialHandover&) = delete;

  int descriptor() const { return descriptor_; }  // -1 where none could be made
  // Once. False where it cannot be written or locked; then it stays empty.
  bool write(const Secret& text);
  // The new daemon's side; the descriptor is taken over. Empty where there is nothing, or it is not sealed.
  static Secret read(int descriptor);

 private:
  int descriptor_;
  std::span<char> memory_;
};

// All that is kept, as text; and back, for the leases that are open.
Secret save(JobCredentials& credentials);
void restore(const Secret& text, JobCredentials& credentials, Broker& broker);

}  // namespace mintfs::broker
