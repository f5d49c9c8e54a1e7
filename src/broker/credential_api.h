// The control API's routes for what jobs store: POST /v1/leases/{id}/credentials/{verb}.
//
// The lease's owner asks, from within the lease's control group where it is bound to one. Administrators may
// store, erase and hand over for a job, but not get: what a job has is its own, as with the view.
//
// `get` for the proxy itself is answered with a freshly minted token; nothing is stored or erased there.
#pragma once

#include "broker/control_api.h"
#include "broker/credential_json.h"
#include "broker/job_credentials.h"

#include <string_view>

namespace mintfs::broker {

class CredentialApi {
 public:
  CredentialApi(Broker& broker, JobCredentials& credentials) : broker_(broker), credentials_(credentials) {}

  static bool knows(std::string_view verb);
  ControlAnswer answer(const Caller& caller, std::string_view lease, std::string_view verb, std::string_view body);

 private:
  ControlAnswer get(const Lease& lease, CredentialRequest& request);
  ControlAnswer mint(const Lease& lease, const CredentialRequest& request);
  ControlAnswer store(const Lease& lease, CredentialRequest& request);
  ControlAnswer erase(const Lease& lease, CredentialRequest& request);
  ControlAnswer hand_over(const Caller& caller, const Lease& lease, const CredentialRequest& request);
  ControlAnswer refuse(Errc error, const Lease* lease, std::string_view detail = {});
  // Nothing must be left of a lease that another thread has closed meanwhile.
  void forget_if_closed(const Lease& lease);

  Broker& broker_;
  JobCredentials& credentials_;
  Scratch scratch_;
};

}  // namespace mintfs::broker
