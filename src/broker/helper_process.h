// Runs a credential helper of the machine as a job's user, for a bounded time.
//
// The program is the user's choice and so is nothing to trust: it gets the user's ids and no others, no
// descriptor but its standard ones, the variables it is given and no more, no new privileges, and ends with
// all that it has started where the system lets us make a pid namespace (root may).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <string>
#include <vector>

#include <sys/types.h>

namespace mintfs::broker {

struct HelperRun {
  std::vector<std::string> command;      // argv[0] is looked for in the PATH of `environment`
  std::vector<std::string> environment;  // "NAME=value"
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups{};
  std::string input{};  // less than a pipe holds
};

// Whether it ended with 0 in time. On the thread of the context, which it does not hold up.
boost::asio::awaitable<bool> run_helper(boost::asio::io_context& context, const HelperRun& run,
                                        std::chrono::seconds patience);

// Whether this process may become that user.
bool can_become(uid_t uid);

// Returns when the process has ended, at once where there is none of that start time, or after `patience`. Waits also
// where no descriptor is left, then by looking again and again.
boost::asio::awaitable<void> wait_for_end(boost::asio::io_context& context, pid_t pid, std::uint64_t start_time,
                                          std::chrono::seconds patience);

}  // namespace mintfs::broker
