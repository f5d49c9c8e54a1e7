// The bodies of the credential routes of the control API. Pure; described in docs/openapi.yaml.
#pragma once

#include "broker/job_credential.h"

#include <boost/json/fwd.hpp>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

struct CredentialRequest {
  JobCredential credential{};                    // what of it is there
  bool authtype = false;                         // the asker knows "authtype" and "credential"
  std::string to{};                              // of a hand-over: the other lease
  bool stores = false;                           // of a question for the place: something is about to be stored there
  std::map<std::string, std::string> session{};  // and of that: variables, see kHelperVariables
};

// Nothing when it is malformed; `detail` then names the member, never a value.
std::optional<CredentialRequest> parse_credential_request(std::string_view body, std::string& detail);

// For whom: `keep` may be stored and given again, `use` is for one request, `store` is the body of a request to
// store it.
enum class To { keep, use, store };
Secret to_json(const JobCredential& credential, To purpose);

// The answer to a question for the place: the helper, for how many seconds a lease lasts, and its names for what
// was asked.
std::string to_json(std::string_view helper, std::chrono::seconds lifetime,
                    const std::vector<CredentialPattern>& places);

}  // namespace mintfs::broker
