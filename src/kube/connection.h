// One HTTP/1.1 connection to the API server, or to a lease desk, by TLS, whose certificate and name are always
// verified.
//
// One exchange at a time: ask(), then the body by read_all() or read_some(). After a failure the connection
// is of no more use. Of one thread.
#pragma once

#include "broker/config.h"
#include "broker/secret.h"
#include "kube/api.h"
#include "kube/failure.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mintfs::kube {

using WipedString = std::basic_string<char, std::char_traits<char>, broker::WipingAllocator<char>>;

class Connection {
 public:
  struct Head {
    unsigned status = 0;
    std::optional<std::chrono::seconds> retry_after{};
  };

  // `peer` is who is there, for failures.
  Connection(boost::asio::io_context& context, boost::asio::ssl::context& trust,
             std::string_view peer = "the API server");
  ~Connection();

  // `bound` is for all of it: the name, the connection, the handshake.
  boost::asio::awaitable<std::optional<Failure>> connect(const broker::Address& server, std::chrono::seconds bound);
  // Sends the call and reads the head of the answer. `bound` is for the whole exchange; for a watch it is
  // for the head, and each read_some() has a bound of its own.
  boost::asio::awaitable<Outcome<Head>> ask(const Call& call, const broker::Address& server,
                                            const broker::Secret& token, std::chrono::seconds bound);
  boost::asio::awaitable<Outcome<WipedString>> read_all(std::size_t limit);
  // 0: the body has ended as its framing says.
  boost::asio::awaitable<Outcome<std::size_t>> read_some(std::span<char> into, std::chrono::seconds bound);

  // Whether another exchange may follow, and the server has not closed it meanwhile.
  bool can_be_used_again();
  // Whether anything of an answer has arrived to the last ask().
  bool was_answered() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mintfs::kube
