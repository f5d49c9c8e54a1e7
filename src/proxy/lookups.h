// Asks for the addresses of names (getaddrinfo), which may take as long as a name server likes.
//
// A lookup cannot be ended, so it runs on a thread of its own and is left to itself when nobody waits
// for it any more: it holds neither a request nor the end of the daemon. A few at once, so that one
// dead name server does not keep the other names from being asked. Thread-safe.
#pragma once

#include "broker/error.h"

#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mintfs::proxy {

using Addresses = std::vector<boost::asio::ip::address>;

// Blocks. upstream_unreachable when the name has no address or cannot be asked for.
broker::Result<Addresses> ask_system(const std::string& host);

class Lookups {
 public:
  static constexpr std::size_t kThreads = 8;
  using Ask = std::function<broker::Result<Addresses>(const std::string& host)>;
  using Done = std::function<void(broker::Result<Addresses>)>;

  explicit Lookups(Ask ask = ask_system);
  ~Lookups();  // does not wait
  Lookups(const Lookups&) = delete;
  Lookups& operator=(const Lookups&) = delete;

  // Whoever holds it is told the outcome; once it is destroyed, `done` is not called any more.
  class Ticket {
   public:
    explicit Ticket(Done done);
    ~Ticket();
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

   private:
    friend class Lookups;
    struct Outcome;
    std::shared_ptr<Outcome> outcome_;
  };

  // `done` is called once, on another thread, and must not block. May throw when there is no memory.
  std::unique_ptr<Ticket> start(std::string host, Done done);

 private:
  struct Queue;
  static void work(const std::shared_ptr<Queue>& queue);

  std::shared_ptr<Queue> queue_;
};

}  // namespace mintfs::proxy
