// Closes a lease when the process that it is bound to ends.
//
// Each bound process is held by a pidfd (pidfd_open(2)), which becomes readable at the end of the
// process. The start time is compared once, after the pidfd was opened: from then on a reused pid
// can not be mistaken for the process. What cannot be watched is taken for ended.
#pragma once

#include "broker/broker.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include <sys/types.h>

namespace mintfs::broker {

// Start time of a process in clock ticks since boot; 0 when there is no such process. `proc` is where tests have
// another /proc.
std::uint64_t process_start_time(pid_t pid, const char* proc = "/proc");

class ProcessWatch : public LeaseObserver {
 public:
  // Works on `context`, which one thread runs and which outlives this object together with
  // `broker`. Destroyed after the context was run for the last time.
  ProcessWatch(boost::asio::io_context& context, Broker& broker);

  // Watches every lease that is open already (after a restart); gone processes close theirs now.
  // Called before the context runs or on its thread.
  void adopt();

  void lease_opened(const LeasePtr& lease) override;  // any thread
  void lease_closed(const LeasePtr& lease) override;  // any thread

 private:
  using Process = boost::asio::posix::stream_descriptor;

  void watch(const LeasePtr& lease);
  boost::asio::awaitable<void> wait(LeasePtr lease, std::shared_ptr<Process> process);

  boost::asio::io_context& context_;
  Broker& broker_;
  // By lease id; of the context's thread only. Shared with who waits, which may be about to go on when the
  // lease is closed.
  std::unordered_map<std::string, std::shared_ptr<Process>> processes_;
};

}  // namespace mintfs::broker
