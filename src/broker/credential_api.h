// The control API's routes for what jobs store: POST /v1/leases/{id}/credentials/{verb}.
//
// The lease's owner asks, from within the lease's control group where it is bound to one. Administrators may
// store, erase and hand over for a job, but not get: what a job has is its own, as with the view.
//
// Where the lease keeps what is stored in a helper of the machine (helper_stores.h), `place` says where that is, and
// the other verbs have nothing.
//
// `get` for the proxy itself is answered with a freshly minted token; nothing is stored or erased there.
#pragma once

#include "broker/control_api.h"
#include "broker/credential_json.h"
#include "broker/helper_stores.h"
#include "broker/job_credentials.h"

#include <string_view>

namespace mintfs::broker {

class CredentialApi {
 public:
  CredentialApi(Broker& broker, JobCredentials& credentials, HelperStores& stores)
      : broker_(broker), credentials_(credentials), stores_(stores) {}

  static bool knows(std::string_view verb);
  ControlAnswer answer(const Caller& caller, std::string_view lease, std::string_view verb, std::string_view body);

 private:
  ControlAnswer get(const Lease& lease, CredentialRequest& request);
  const std::string* proxy_at(const Lease& lease, const CredentialPattern& where) const;
  ControlAnswer mint(const Lease& lease, const CredentialRequest& request);
  ControlAnswer store(const Lease& lease, CredentialRequest& request);
  ControlAnswer erase(const Lease& lease, CredentialRequest& request);
  ControlAnswer place(const Caller& caller, const Lease& lease, CredentialRequest& request);
  ControlAnswer hand_over(const Caller& caller, const Lease& lease, const CredentialRequest& request);
  ControlAnswer refuse(Errc error, const Lease* lease, std::string_view detail = {});
  // Nothing must be left of a lease that another thread has closed meanwhile.
  void forget_if_closed(const Lease& lease);

  Broker& broker_;
  JobCredentials& credentials_;
  HelperStores& stores_;
  Scratch scratch_;
};

}  // namespace mintfs::broker
