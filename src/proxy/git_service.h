// What a request wants of a Git server: which operation on which repository.
//
// The forms are those of gitprotocol-http (smart and dumb) and of the Git LFS API. What is none of
// them may be read (GET, HEAD) only where the connector says so (`plain_get`) and all repositories are
// allowed, since the stored credential opens far more pages of a host than its repositories. A path
// that could name two repositories ("/a/info/refs/info/refs", "/a/.git/HEAD") is refused.
#pragma once

#include "broker/error.h"
#include "broker/policy.h"
#include "proxy/path.h"
#include "proxy/request.h"

#include <cstdint>
#include <string_view>

namespace mintfs::proxy {

struct GitRequest {
  enum class Kind : std::uint8_t {
    advertise,     // GET info/refs?service=...
    upload_pack,   // POST git-upload-pack
    receive_pack,  // POST git-receive-pack
    lfs_batch,     // POST info/lfs/objects/batch; the operation is in the body: see batch_operation
    lfs_locks,
    lfs_object,
    dumb,  // plain files of a repository
    other,
  };
  Kind kind = Kind::other;
  broker::Operation operation = broker::Operation::fetch;  // of lfs_batch: until the body is known
  std::string_view repository;                             // canonical; a view into the target's path
  std::string_view base;                                   // "/acme/app.git": the path in front of the service's part
  bool repository_known = false;
};

// Whether the Git LFS API is asked.
bool is_lfs(GitRequest::Kind kind);

// request_malformed where the path or query is ambiguous, operation_denied for a method that the
// resource does not have.
boost::system::error_code classify(Method method, const Target& target, GitRequest& out);

}  // namespace mintfs::proxy
