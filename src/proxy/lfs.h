// The Git LFS batch API (git-lfs docs/api/batch.md), as far as a proxy must understand it.
//
// An answer tells the client where to send objects and with which header. What points to the
// upstream is pointed to the proxy, and no header carries the upstream's credential (GitLab hands
// its caller's Authorization back).
#pragma once

#include "broker/config.h"
#include "broker/error.h"
#include "broker/policy.h"
#include "proxy/scrub.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace mintfs::proxy {

inline constexpr std::size_t kMaxBatch = 1024 * 1024;  // bytes of a batch request or answer

// What a batch request asks for: "download" is fetch, "upload" is push. request_malformed unless
// there is exactly one `operation` whatever its letter case (servers differ in which of two they
// take); body_too_large.
broker::Result<broker::Operation> batch_operation(std::string_view json);

// Replaces `out` by the answer with every action's `href` and `header` rewritten. `proxy_base` is
// ".../connectors/<space>/<name>" without a trailing slash. Actions lose their credentials, since a
// server may mint one for its caller there and its caller is the proxy; those at one of `origins` keep
// theirs unless it is ours. upstream_malformed, also for a link to the upstream itself that the proxy
// could not be asked for.
boost::system::error_code rewrite_batch(std::string_view json, const broker::Address& upstream,
                                        std::span<const broker::Address> origins, std::string_view proxy_base,
                                        const ScrubPatterns& credential, std::string& out);

}  // namespace mintfs::proxy
