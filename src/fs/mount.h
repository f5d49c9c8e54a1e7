// The view as a mounted file system: requests of the kernel go to a Tree. With mount_operations, the only user of
// libfuse.
//
// One thread answers all requests. That is enough because no answer waits: an open is a few
// microseconds of CPU, a read copies from memory, and the kernel holds the reader's pages (direct_io)
// before it sends the request, so a reader that is stopped, swapped out or never comes back holds
// nothing here. A second thread would cost locks, and with clone_fd lose requests at a crash.
//
// The kernel keeps names and attributes for 60 s and is told when a lease opens or closes. Those
// notifications wait in the kernel for a directory's lock, which a process may hold while the loop
// thread answers it. So they are sent by the thread that opened or closed the lease, never by the
// loop, and under a lock that the loop never takes.
//
// The mount outlives this process when somebody else holds the descriptor of /dev/fuse and the
// SharedState: requests then wait in the kernel. A successor is given both and goes on where its
// predecessor stopped, in the middle of a request if need be: the kernel sends again what was not
// answered (FUSE_NOTIFY_RESEND, Linux 6.9), or else the successor finds it in the state.
#pragma once

#include "broker/broker.h"
#include "fs/shared_state.h"
#include "fs/tree.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

struct fuse_session;

namespace mintfs::fs {

class Mount final : public broker::LeaseObserver {
 public:
  // What an earlier daemon left; the descriptors become ours. -1: nothing.
  struct Inherited {
    int fuse = -1;
    int state = -1;
  };
  struct Options {
    Inherited inherited{};
    // Told of each new mount: gives both descriptors, which stay ours, to who will outlive this process.
    std::function<void(int fuse, int state)> keep{};
    // Whether who is told by `keep` does the INIT exchange (fs/handshake.h) before that returns.
    bool keeper_exchanges = false;
    // Whether to ask the kernel to send again what was not answered; off only to test what else helps.
    bool resend = true;
    // Called on the loop thread when the loop ends without stop(), leave() or pause(): somebody unmounted
    // it or aborted its connection. It must not call those; it tells main to.
    std::function<void()> on_exit{};
  };

  // The mount outlives the broker's use of it as an observer.
  Mount(broker::Broker& broker, const std::filesystem::path& mountpoint);
  Mount(broker::Broker& broker, const std::filesystem::path& mountpoint, Options options);
  ~Mount() override;  // stops
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  // Goes on with the mount that was inherited, or mounts, and begins to answer, on a thread of its own with
  // all signals blocked but SIGURG, whose handler it replaces with one that does nothing (it ends the
  // loop's read). Returns whether the mount was inherited. Throws std::runtime_error with one sentence that
  // names the thing and the next step.
  bool start();
  // Unmounts, also when files are open, and waits for the thread. Any number of times.
  void stop();
  // Ends without unmounting: whoever holds the descriptor goes on with it.
  void leave();
  // Answers nothing from now on, so that another process with the same descriptor can, until resume().
  // No request is in work between the two.
  void pause();
  void resume();

  // Whether there is a mount to go on with; until start().
  bool inherits() const { return options_.inherited.fuse >= 0; }
  int descriptor() const { return fuse_; }
  const broker::OpenCounts& opens() const { return tree_.opens(); }  // any thread
  int state() const { return state_->descriptor(); }
  bool alive() const { return alive_.load(std::memory_order_relaxed); }

  void lease_opened(const broker::LeasePtr& lease) override;  // any thread but the loop's
  void lease_closed(const broker::LeasePtr& lease) override;  // any thread but the loop's

 private:
  void begin();
  void end();
  void run();
  void process(std::size_t size);
  void take_up();
  void invalidate(const std::string& name);

  std::filesystem::path mountpoint_;
  Options options_;
  std::unique_ptr<SharedState> state_;
  Tree tree_;
  fuse_session* session_ = nullptr;  // from start to stop; owns fuse_
  int fuse_ = -1;
  bool taken_over_ = false;  // the mount was made by a predecessor
  std::thread loop_;
  std::atomic<bool> alive_{false};
  std::atomic<bool> ending_{false};
  std::mutex notify_mutex_;
  bool notify_ = false;
};

}  // namespace mintfs::fs
