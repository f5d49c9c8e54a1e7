// How a daemon hands over to its successor (broker/upgrade.h): the other half of daemon.cc.
#include "daemon.h"

#include "broker/readiness.h"

#include <spdlog/spdlog.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <string>

#include <unistd.h>

namespace mintfs {

namespace asio = boost::asio;

// The answer to POST /v1/upgrade.
asio::awaitable<broker::ControlAnswer> Daemon::upgrade() {
  if (stopping_ || upgrade_.is_handing_over())
    co_return broker::ControlApi::refuse(broker::Errc::too_many, "mintfsd is about to end.");
  log_.info("starting {} to take over", start_.program);
  const broker::Upgrade::Outcome outcome = co_await upgrade_.run();
  if (outcome.successor == 0) {
    log_.error("not upgraded, this mintfsd serves on: {}", outcome.failure);
    co_return broker::ControlApi::refuse(broker::Errc::upgrade_failed,
                                         "The new mintfsd failed and this one serves on: " + outcome.failure);
  }
  co_return broker::ControlAnswer{
      .status = 200, .body = boost::json::serialize(boost::json::object{{"pid", outcome.successor}}) + "\n"};
}

broker::Successor::Start Daemon::succession() {
  broker::Successor::Start start{.program = start_.program,
                                 .arguments = start_.arguments,
                                 .environment = manager_.environment(),
                                 .descriptors = {{"fuse", mount_.descriptor()},
                                                 {"view", mount_.state()},
                                                 {"control", control_.descriptor()},
                                                 {"runtime-lock", runtime_lock_.descriptor()},
                                                 {"state-lock", state_lock_.descriptor()}}};
  const auto listeners = server_.descriptors();
  for (std::size_t i = 0; i < listeners.size(); ++i) start.descriptors.emplace_back(listener_name(i), listeners[i]);
  if (admin_) start.descriptors.emplace_back("admin", admin_->descriptor());
  return start;
}

void Daemon::pause() {
  tell_listeners(&broker::HttpServer::pause);
  server_.pause();
  mount_.pause();
}

void Daemon::resume() {
  runtime_lock_.sign();
  state_lock_.sign();
  watch_.adopt();
  // The new one may have given others under these names.
  keep_sockets();
  keep_view(mount_.descriptor(), mount_.state());
  mount_.resume();
  server_.resume();
  tell_listeners(&broker::HttpServer::resume);
}

void Daemon::leave(pid_t successor) {
  log_.info("process {} serves from now on; {} connections are finished here", successor, server_.connections());
  runtime_lock_.release();
  state_lock_.release();
  tell_listeners(&broker::HttpServer::leave);
  stop(true);
}

void Daemon::warn(const std::string& sentence) { log_.warn("{}", sentence); }

// The service manager must know whom it starts again. The predecessor says it, unless it was killed before.
asio::awaitable<void> Daemon::outlive_predecessor() {
  asio::posix::stream_descriptor channel(context_, ::dup(predecessor_.channel()));
  const auto error = co_await broker::wait_readable(channel);
  if (error) co_return;
  manager_.notify("MAINPID=" + std::to_string(::getpid()));
  left_socket_->remove();
}

}  // namespace mintfs
