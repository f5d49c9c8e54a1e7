#include "proxy/server.h"

#include <spdlog/logger.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <cerrno>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace mintfs::proxy {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace

Server::Server(const ProxyConfig& config, broker::Broker& broker, CredentialStore& credentials, spdlog::logger& log,
               ServerTls& tls, std::vector<Listener> listeners)
    : shared_{config, broker, credentials, log, tls}, workers_([&] {
        std::vector<std::unique_ptr<Worker>> workers;
        for (std::uint32_t i = 0; i < config.threads; ++i) workers.push_back(std::make_unique<Worker>(shared_, i));
        return workers;
      }()) {
  for (auto& listener : listeners) {
    const StreamProtocol protocol(listener.family(), 0);
    const auto address = listener.address();
    entrances_.push_back({Acceptor(workers_.front()->context(), protocol, listener.release()), address});
  }
}

Server::~Server() { stop(); }

std::vector<int> Server::descriptors() {
  std::vector<int> descriptors;
  descriptors.reserve(entrances_.size());
  for (auto& entrance : entrances_) descriptors.push_back(entrance.acceptor.native_handle());
  return descriptors;
}

void Server::start() {
  running_ = true;
  begin_accepting();
  for (auto& worker : workers_) worker->start();
}

void Server::begin_accepting() {
  for (auto& entrance : entrances_)
    asio::co_spawn(workers_.front()->context().get_executor(), accept(entrance), [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);  // told where the loop runs
    });
}

void Server::pause() {
  asio::post(workers_.front()->context(), [this] {
    paused_ = true;
    error_code ignored;
    for (auto& entrance : entrances_) entrance.acceptor.cancel(ignored);
  });
}

void Server::resume() {
  asio::post(workers_.front()->context(), [this] {
    if (std::exchange(paused_, false)) begin_accepting();
  });
}

Awaitable<void> Server::accept(Entrance& entrance) {
  while (entrance.acceptor.is_open() && !paused_) {
    bool failed = false;
    try {
      Worker& worker = *workers_[next_++ % workers_.size()];
      Socket socket(worker.context());
      auto [error] = co_await entrance.acceptor.async_accept(socket, as_tuple);
      if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) break;
      if ((failed = static_cast<bool>(error))) {
        shared_.log.warn("cannot accept a connection: {}", error.message());
      } else {
        error_code ignored;
        if (!entrance.address.is_unix()) socket.set_option(Tcp::no_delay(true), ignored);
        worker.adopt(std::move(socket), entrance.address.tls);
      }
    } catch (const std::exception& error) {
      shared_.log.error("a connection could not be taken: {}", error.what());
      failed = true;
    }
    if (!failed) continue;
    // Out of descriptors or memory: connections wait in the kernel's queue for a better moment.
    Timer pause(workers_.front()->context());
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(as_tuple);
  }
}

void Server::stop(bool leaves_sockets) {
  if (!std::exchange(running_, false)) return;
  asio::post(workers_.front()->context(), [this] {
    error_code ignored;
    for (auto& entrance : entrances_) entrance.acceptor.close(ignored);
  });
  for (const auto& entrance : entrances_)
    if (!leaves_sockets && entrance.address.is_unix()) ::unlink(entrance.address.socket.c_str());
  for (auto& worker : workers_) worker->drain();
  // Each worker's thread ends with its last connection; join them all within the time to drain.
  auto joined = std::async(std::launch::async, [this] {
    for (auto& worker : workers_) worker->join();
  });
  if (joined.wait_for(shared_.config.drain_timeout) == std::future_status::timeout) abort();
  joined.wait();
}

void Server::abort() {
  for (auto& worker : workers_) worker->abort();
}

std::size_t Server::idle_upstreams() const {
  std::size_t sum = 0;
  for (const auto& worker : workers_) sum += worker->idle_upstreams();
  return sum;
}

void Server::lease_closed(const broker::LeasePtr& lease) {
  for (auto& worker : workers_) worker->cut(lease);
}

}  // namespace mintfs::proxy
