// The bodies of the credential routes of the control API. Pure; described in docs/openapi.yaml.
#pragma once

#include "broker/job_credential.h"

#include <boost/json/fwd.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace mintfs::broker {

struct CredentialRequest {
  JobCredential credential{};  // what of it is there
  bool authtype = false;       // the asker knows "authtype" and "credential"
  std::string to{};            // of a hand-over: the other lease
};

// Nothing when it is malformed; `detail` then names the member, never a value.
std::optional<CredentialRequest> parse_credential_request(std::string_view body, std::string& detail);

// For whom: `keep` may be stored and given again, `use` is for one request, `store` is the body of a request to
// store it.
enum class To { keep, use, store };
Secret to_json(const JobCredential& credential, To purpose);

}  // namespace mintfs::broker
