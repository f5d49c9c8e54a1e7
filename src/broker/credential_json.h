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

Secret to_json(const JobCredential& credential, bool ephemeral);

}  // namespace mintfs::broker
