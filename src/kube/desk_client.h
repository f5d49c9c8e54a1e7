// Asks the gateways' lease desk, as this node's daemon.
//
// A connection per call: thousands of nodes would else hold those that a desk has. Calls are bounded in size and
// time; certificate and name are always verified, and the token is read again when its file has changed. Of the
// context's thread.
#pragma once

#include "broker/config.h"
#include "kube/api.h"
#include "kube/cluster.h"
#include "kube/failure.h"
#include "kube/lease_desk.h"
#include "kube/trust.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>

namespace mintfs::kube {

// What a test may play.
class Desk {
 public:
  virtual ~Desk() = default;
  // An answer of any status is an answer.
  virtual boost::asio::awaitable<Outcome<DeskAnswer>> ask(Call call) = 0;
};

class DeskClient final : public Desk {
 public:
  struct Limits {
    std::size_t answer = 64 * 1024;
    // Together less than mintfs-csi waits for the daemon.
    std::chrono::seconds connect{4};
    std::chrono::seconds exchange{10};
  };

  // Throws std::runtime_error with one sentence where the CA file cannot be read.
  DeskClient(boost::asio::io_context& context, broker::Address gateway, const std::filesystem::path& ca_file,
             const std::filesystem::path& token_file, Limits limits);

  boost::asio::awaitable<Outcome<DeskAnswer>> ask(Call call) override;

 private:
  boost::asio::io_context& context_;
  broker::Address gateway_;
  Trust trust_;
  TokenFile token_;
  Limits limits_;
};

}  // namespace mintfs::kube
