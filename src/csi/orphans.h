// Closes leases of this driver whose view is mounted nowhere any more.
//
// The mount table and the labels of the leases are all the state there is: nothing can be lost or out of step.
// An orphan is what is left where the daemon was away when its pod ended, or where this program was killed
// between opening a lease and mounting it. They are looked for at the start and after each such event, until the daemon
// has been asked with success.
#pragma once

#include "client/control_client.h"
#include "csi/mounter.h"
#include "csi/volume.h"

#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <stop_token>
#include <thread>

namespace spdlog {
class logger;
}

namespace mintfs::csi {

class Orphans {
 public:
  Orphans(const client::ControlClient& control, const Mounter& mounter, const Settings& settings, spdlog::logger& log);

  // There may be some. Any thread.
  void look();
  // While one is held, leases may be open that are not mounted yet.
  std::shared_lock<std::shared_mutex> keep_off() { return std::shared_lock(under_way_); }

 private:
  void run(const std::stop_token& stop);
  bool close_all();  // whether it is known that none is left

  const client::ControlClient& control_;
  const Mounter& mounter_;
  const Settings& settings_;
  spdlog::logger& log_;
  std::shared_mutex under_way_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool wanted_ = true;
  std::jthread thread_;  // the last: it uses all the others
};

}  // namespace mintfs::csi
