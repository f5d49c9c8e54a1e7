#include "csi/orphans.h"

#include <spdlog/logger.h>
#include <boost/json.hpp>

#include <chrono>
#include <exception>

namespace mintfs::csi {
namespace {

constexpr std::chrono::seconds kAgain{5};  // nothing tells us when a daemon that was away is back

std::string label(const boost::json::object& lease, std::string_view key) {
  const auto* labels = lease.if_contains("labels");
  return labels != nullptr && labels->is_object() ? client::text(labels->get_object(), key) : std::string();
}

}  // namespace

Orphans::Orphans(const client::ControlClient& control, const Mounter& mounter, const Settings& settings,
                 spdlog::logger& log)
    : control_(control),
      mounter_(mounter),
      settings_(settings),
      log_(log),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void Orphans::look() {
  const std::lock_guard lock(mutex_);
  wanted_ = true;
  wake_.notify_all();
}

void Orphans::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return wanted_; }) && !stop.stop_requested()) {
    wanted_ = false;
    lock.unlock();
    const bool done = close_all();
    lock.lock();
    if (done) continue;
    wanted_ = true;
    wake_.wait_for(lock, stop, kAgain, [] { return false; });
  }
}

bool Orphans::close_all() try {
  // Asked before the mounts are looked at and with nobody opening one, so none is taken for an orphan that is about to
  // be mounted.
  const std::unique_lock alone(under_way_, std::try_to_lock);
  if (!alone) return false;
  const auto leases = control_.list_leases();
  const auto mounted = MountTable::read().leases_below(mounter_.kubelet());
  for (const auto& each : leases) {
    if (!each.is_object()) continue;
    const auto& lease = each.get_object();
    const std::string id = client::text(lease, "id");
    if (label(lease, kDriverLabel) != settings_.driver || label(lease, kKubeletLabel) != settings_.kubelet.string() ||
        mounted.contains(id))
      continue;
    try {
      control_.close_lease(id);
      log_.info("closed lease {}: its view is mounted nowhere any more", id);
    } catch (const client::Refused&) {
      // It has ended meanwhile.
    }
  }
  return true;
} catch (const std::exception& failure) {
  log_.debug("looking for leases without a mount: {}", failure.what());
  return false;
}

}  // namespace mintfs::csi
