#include "proxy/lookups.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace mintfs::proxy {

broker::Result<Addresses> ask_system(const std::string& host) {
  boost::asio::io_context context(1);
  boost::asio::ip::tcp::resolver resolver(context);
  boost::system::error_code error;
  const auto found = resolver.resolve(host, "", error);
  if (error) return broker::Errc::upstream_unreachable;
  Addresses addresses;
  for (const auto& each : found) addresses.push_back(each.endpoint().address());
  return addresses;
}

struct Lookups::Ticket::Outcome {
  std::mutex mutex;
  Done done;  // empty: nobody waits
};

// Shared with threads that may outlive everything else.
struct Lookups::Queue {
  struct Job {
    std::string host;
    std::shared_ptr<Ticket::Outcome> outcome;
  };
  explicit Queue(Ask how) : ask(std::move(how)) {}

  const Ask ask;
  std::mutex mutex;
  std::deque<Job> jobs;
  std::size_t threads = 0;
};

Lookups::Ticket::Ticket(Done done) : outcome_(std::make_shared<Outcome>()) { outcome_->done = std::move(done); }

Lookups::Ticket::~Ticket() {
  const std::lock_guard lock(outcome_->mutex);
  outcome_->done = nullptr;
}

Lookups::Lookups(Ask ask) : queue_(std::make_shared<Queue>(std::move(ask))) {}

Lookups::~Lookups() {
  const std::lock_guard lock(queue_->mutex);
  queue_->jobs.clear();
}

std::unique_ptr<Lookups::Ticket> Lookups::start(std::string host, Done done) {
  auto ticket = std::make_unique<Ticket>(std::move(done));
  const std::lock_guard lock(queue_->mutex);
  if (queue_->threads < kThreads) {
    // It ends when nothing is left to ask.
    std::thread([queue = queue_] { work(queue); }).detach();
    ++queue_->threads;
  }
  queue_->jobs.push_back({std::move(host), ticket->outcome_});
  return ticket;
}

void Lookups::work(const std::shared_ptr<Queue>& queue) {
  while (true) {
    Queue::Job job;
    {
      const std::lock_guard lock(queue->mutex);
      if (queue->jobs.empty()) {
        --queue->threads;
        return;
      }
      job = std::move(queue->jobs.front());
      queue->jobs.pop_front();
    }
    try {
      auto found = queue->ask(job.host);
      const std::lock_guard lock(job.outcome->mutex);
      if (job.outcome->done) std::exchange(job.outcome->done, nullptr)(std::move(found));
    } catch (const std::exception&) {
      // Out of memory: those who wait have a bound of their own.
    }
  }
}

}  // namespace mintfs::proxy
