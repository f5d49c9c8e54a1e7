// Takes away the lease objects of whose making no answer came: one may be there, and nobody has its key.
//
// Its pod would get another one and had one less to open. It is deleted at once, and again when the watch shows it: the
// API server may make it after it was asked to delete it. What even so stays ends with its pod, which owns it. Bounded
// in number, and in how often it asks. Of the context's thread.
#pragma once

#include "broker/broker.h"
#include "kube/api.h"
#include "kube/backoff.h"
#include "kube/failure.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <deque>
#include <string>

namespace mintfs::kube {

class UnmadeLeases final : public broker::LeaseObserver {
 public:
  static constexpr std::size_t kMost = 1024;  // beyond, the oldest is left to its pod's end
  static constexpr int kAttempts = 8;         // while the API server is away: some two minutes

  UnmadeLeases(boost::asio::io_context& context, Api& api, Pause& pause, Chance chance);

  // Whether what was asked for with this outcome may have been done all the same.
  static bool may_be_there(Reason reason) noexcept;

  // `target` is the object's.
  void take_away(std::string id, std::string target);

  void lease_opened(const broker::LeasePtr& lease) override;
  void lease_closed(const broker::LeasePtr&) override {}

 private:
  struct Unmade {
    std::string id;
    std::string target;
  };
  boost::asio::awaitable<void> remove(Unmade unmade);

  boost::asio::io_context& context_;
  Api& api_;
  Pause& pause_;
  Chance chance_;
  std::deque<Unmade> unmade_;
};

}  // namespace mintfs::kube
