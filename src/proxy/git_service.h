// What a request wants of a Git server: which operation on which repository.
//
// The forms are those of gitprotocol-http (smart and dumb) and of the Git LFS API. What is none of
// them may be read (GET, HEAD) only where the connector says so (`plain_get`) and all repositories are
// allowed, since the stored credential opens far more pages of a host than its repositories. A path
// that could name two repositories ("/a/info/refs/info/refs", "/a/.git/HEAD") is refused.
#pragma once

#include "broker/error.h"
#include "proxy/path.h"
#include "proxy/request.h"
#include "proxy/service_request.h"

namespace mintfs::proxy {

// Whether the Git LFS API is asked.
bool is_lfs(ServiceRequest::Kind kind);

// request_malformed where the path or query is ambiguous, operation_denied for a method that the
// resource does not have.
boost::system::error_code classify(Method method, const Target& target, ServiceRequest& out);

}  // namespace mintfs::proxy
