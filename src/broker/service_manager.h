// Who started the daemon and what it keeps for it: systemd, or mintfs-keeper, which speaks the same two
// protocols. sd_notify(3): the daemon says how it is and gives descriptors to be kept (FDSTORE=1).
// sd_listen_fds(3): its successor finds them by their names.
//
// Without a service manager everything here does nothing.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mintfs::broker {

class ServiceManager {
 public:
  // Takes what is said in the environment (NOTIFY_SOCKET, FDSTORE, MINTFS_KEEPER, LISTEN_*) out of it, so
  // that no child takes it for its own.
  ServiceManager();
  ~ServiceManager();  // closes what nobody took
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // A descriptor that was kept under this name, the caller's from here on; -1 when there is none.
  int take(std::string_view name);

  // "READY=1", "MAINPID=123"; a failure is of no interest to us.
  void notify(std::string_view state) const noexcept;
  // Keeps a duplicate of the descriptor, in place of what had this name.
  void keep(std::string_view name, int descriptor) const noexcept;
  // Keeps nothing under this name any more.
  void forget(std::string_view name) const noexcept;
  // Returns when all that was sent before has been read, or after five seconds.
  void synchronise() const noexcept;

  // Whether what is kept outlives the process. systemd says so by FDSTORE from version 254 on; the unit
  // file says it for older ones.
  bool keeps() const { return keeps_; }
  // Whether it does the INIT exchange of the descriptor that it is given under the name "fuse".
  bool exchanges_init() const { return exchanges_init_; }

  // The environment that makes this the successor's service manager too.
  std::vector<std::string> environment() const;

 private:
  void send(std::string_view state, int descriptor) const noexcept;

  std::string socket_;
  std::string store_;
  bool keeps_ = false;
  bool exchanges_init_ = false;
  std::vector<std::pair<std::string, int>> kept_;
};

}  // namespace mintfs::broker
