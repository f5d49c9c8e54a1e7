#include "broker/process_watch.h"

#include "broker/readiness.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include <fstream>
#include <iterator>
#include <sstream>

#include <sys/syscall.h>
#include <unistd.h>

namespace mintfs::broker {

namespace asio = boost::asio;

std::uint64_t process_start_time(pid_t pid, const char* proc) {
  std::ifstream file(std::string(proc) + "/" + std::to_string(pid) + "/stat");
  const std::string line{std::istreambuf_iterator<char>(file), {}};
  // Field 2 is the program's name in parentheses and may hold spaces and parentheses itself; field
  // 22, the start time, is the 20th behind it (proc(5)).
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  std::uint64_t start_time = 0;
  fields >> start_time;
  return fields ? start_time : 0;
}

ProcessWatch::ProcessWatch(asio::io_context& context, Broker& broker) : context_(context), broker_(broker) {}

void ProcessWatch::adopt() {
  for (const LeasePtr& lease : broker_.leases().all())
    if (lease->process.pid != 0) watch(lease);
}

void ProcessWatch::lease_opened(const LeasePtr& lease) {
  if (lease->process.pid == 0) return;
  asio::post(context_, [this, lease] { watch(lease); });
}

void ProcessWatch::lease_closed(const LeasePtr& lease) {
  if (lease->process.pid == 0) return;
  asio::post(context_, [this, id = lease->id] {
    const auto found = processes_.find(id);
    if (found == processes_.end()) return;
    boost::system::error_code ignored;
    found->second->close(ignored);  // ends the wait
    processes_.erase(found);
  });
}

void ProcessWatch::watch(const LeasePtr& lease) {
  // Another thread may have closed it before this call came through.
  if (!broker_.find_lease(lease->id)) return;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, lease->process.pid, 0));
  if (pidfd < 0) return broker_.close_for(lease->id, "process-ended");
  const auto process = std::make_shared<Process>(context_);
  boost::system::error_code error;
  process->assign(pidfd, error);
  if (error) {  // epoll is at its bound (ENOSPC): the descriptor is still ours
    ::close(pidfd);
    return broker_.close_for(lease->id, "process-unwatched");
  }
  if (process_start_time(lease->process.pid) != lease->process.start_time)
    return broker_.close_for(lease->id, "process-ended");
  if (processes_.try_emplace(lease->id, process).second) asio::co_spawn(context_, wait(lease, process), asio::detached);
}

asio::awaitable<void> ProcessWatch::wait(LeasePtr lease, std::shared_ptr<Process> process) {
  const auto error = co_await wait_readable(*process);
  if (error) co_return;  // the lease was closed first
  broker_.close_for(lease->id, "process-ended");
}

}  // namespace mintfs::broker
