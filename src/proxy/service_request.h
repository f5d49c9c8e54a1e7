// What a request wants of its upstream: which operation on which repository, and what in the answer must be
// pointed to the proxy. Told by the connector's class alone (service.h), never by what a client claims.
#pragma once

#include "broker/decision.h"
#include "broker/policy.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::proxy {

// Links of an answer that lead to the upstream.
enum class Links : std::uint8_t {
  none,
  packument,  // of npm: "tarball" of a JSON document
  index,      // of PyPI: HTML or JSON
  cargo,      // of cargo: the configuration of a sparse index
  location,   // of OCI: the header fields Location and Link
};

// Whether the body is another one than the upstream's.
constexpr bool changes_body(Links links) {
  return links == Links::packument || links == Links::index || links == Links::cargo;
}

struct ServiceRequest {
  enum class Kind : std::uint8_t {
    advertise,     // GET info/refs?service=...
    upload_pack,   // POST git-upload-pack
    receive_pack,  // POST git-receive-pack
    lfs_batch,     // POST info/lfs/objects/batch; the operation is in the body: see batch_operation
    lfs_locks,
    lfs_object,
    dumb,      // plain files of a Git repository
    artifact,  // anything of a server that is not git's: a package, an image, an API's resource
    other,     // a page that belongs to no repository
  };
  Kind kind = Kind::other;
  broker::Operation operation = broker::Operation::fetch;  // of lfs_batch: until the body is known
  std::string_view repository{};                           // canonical; a view into the target's path
  std::string_view base{};                                 // "/acme/app.git": the path in front of the service's part
  broker::Reach reach = broker::Reach::page;
  Links links = Links::none;
  std::string named{};  // the repository where its name does not stand in the path as it is

  std::string_view name() const { return named.empty() ? repository : std::string_view(named); }
  bool repository_known() const { return reach == broker::Reach::repository; }
};

}  // namespace mintfs::proxy
