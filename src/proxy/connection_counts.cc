// The part of Connection that counts what it has done.
#include "proxy/connection.h"

namespace mintfs::proxy {

// What moved since it was last counted, for the request under way; called now and then, so that a long
// transfer is seen before its end. Bytes of a request that is refused are nobody's.
void Connection::count_bytes() {
  const std::uint64_t received = client_.received();
  const std::uint64_t sent = client_.sent();
  if (counts_ != nullptr) {
    ConnectorCounts::OfWork& counts = (*counts_)[work_of(git_)];
    counts.received.add(received - counted_received_);
    counts.sent.add(sent - counted_sent_);
  }
  counted_received_ = received;
  counted_sent_ = sent;
}

void Connection::count_request(SteadyTime began) {
  count_bytes();
  if (counts_ == nullptr) return;
  const SteadyTime now = std::chrono::steady_clock::now();
  (*counts_)[work_of(git_)].durations.observe(now - began);
  if (is_of_upstream(failure_) || (failure_ == broker::Errc{} && answered_))
    counts_->note({.error = failure_, .at = now});
  counts_ = nullptr;
}

}  // namespace mintfs::proxy
