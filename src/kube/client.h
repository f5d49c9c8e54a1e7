// A client of the Kubernetes API server.
//
// Every answer and every event of a watch is bounded, in size and in time. One connection is kept between
// calls; each watch has its own. The service account's token and the cluster's certificates are read again
// when their files have changed. Of the context's thread; it outlives the coroutines that use it.
#pragma once

#include "kube/api.h"
#include "kube/cluster.h"
#include "kube/connection.h"
#include "kube/trust.h"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <memory>

namespace mintfs::kube {

class Client final : public Api {
 public:
  struct Limits {
    std::size_t answer = 32 << 20;  // a page of 500 objects
    std::size_t event = 4 << 20;    // etcd takes objects of 1.5 MiB
    std::chrono::seconds connect{10};
    std::chrono::seconds exchange{60};
    // Between two events of a watch. The server sends a bookmark about every minute, but none while no object of
    // the collection has changed since the server's own start.
    std::chrono::seconds silence{65};
  };

  // Throws std::runtime_error with one sentence where the CA file cannot be read.
  Client(boost::asio::io_context& context, Cluster cluster, Limits limits);

  boost::asio::awaitable<Outcome<boost::json::object>> send(Call call) override;
  boost::asio::awaitable<Outcome<std::unique_ptr<Stream>>> watch(std::string target) override;

  const Cluster& cluster() const { return cluster_; }

 private:
  using ConnectionPtr = std::unique_ptr<Connection>;
  struct Exchange {
    ConnectionPtr connection;
    Connection::Head head;
  };

  boost::asio::awaitable<Outcome<ConnectionPtr>> connect();
  boost::asio::awaitable<Outcome<Exchange>> exchange(Call call, ConnectionPtr connection);

  boost::asio::io_context& context_;
  Cluster cluster_;
  Limits limits_;
  TokenFile token_;
  Trust trust_;
  ConnectionPtr kept_;
};

// What a status code and the Status object behind it say.
Failure to_failure(unsigned status, std::string_view body, std::optional<std::chrono::seconds> retry_after);
// The same for the Status object that an ERROR event carries.
Failure to_failure(const boost::json::object& status);

}  // namespace mintfs::kube
