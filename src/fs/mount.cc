#include "fs/mount.h"

#include "fs/handshake.h"
#include "fs/mount_operations.h"
#include "fs/mountpoint.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

// A request id that the kernel does not use: it counts up from zero.
constexpr std::uint64_t kUnusedUnique = 0x7ffffffffffffffe;
constexpr std::size_t kPage = 4096;
// linux/fuse.h of Linux 6.9; older kernels answer EINVAL.
constexpr int kNotifyResend = 7;

// While libfuse mounts, what it says goes into the error; it has no other way to tell why.
thread_local std::string* said = nullptr;

void listen(fuse_log_level, const char* format, va_list arguments) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, arguments);
  if (said != nullptr) *said = line;
}

struct Destroy {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }  // closes the descriptor
};
using Session = std::unique_ptr<fuse_session, Destroy>;

// `place` is where to mount, or "/dev/fd/N" for a mount that there is.
Session make_session(const std::string& place, Tree& tree, const std::string& options, std::string& reason) {
  std::string words = options;
  char program[] = "mintfsd", option[] = "-o";
  char* arguments[] = {program, option, words.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(options.empty() ? 1 : 3, arguments);
  const fuse_lowlevel_ops all = mount_operations();

  said = &reason;
  fuse_set_log_func(listen);
  Session session(fuse_session_new(&args, &all, sizeof all, &tree));
  fuse_opt_free_args(&args);
  if (session && fuse_session_mount(session.get(), place.c_str()) != 0) session.reset();
  said = nullptr;
  return session;
}

Session mount(const std::filesystem::path& path, Tree& tree) {
  std::string options = "ro,nosuid,nodev,noexec,noatime,fsname=mintfs,subtype=mintfs";
  if (may_allow_other()) options += ",allow_other";
  std::string reason;
  Session session = make_session(path.string(), tree, options, reason);
  if (!session) throw std::runtime_error(mount_failure(path, reason));
  return session;
}

// The kernel has ended the connection of a descriptor that answers POLLERR (fuse_dev_poll()).
bool is_connected(int fuse) {
  struct stat status {};
  const bool device = ::fstat(fuse, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(10, 229);
  pollfd asked{.fd = fuse, .events = POLLIN, .revents = 0};
  return device && ::poll(&asked, 1, 0) >= 0 && (asked.revents & (POLLERR | POLLNVAL)) == 0;
}

// Shows libfuse what was agreed on with the kernel. It answers to a request id that nobody waits for.
void replay_init(fuse_session* session, SharedState& state) {
  alignas(fuse_in_header) std::array<char, kMaxInit> request{};
  const std::size_t size = init_size(state.init());
  std::copy_n(state.init().data(), size, request.data());
  std::memcpy(request.data() + offsetof(fuse_in_header, unique), &kUnusedUnique, sizeof kUnusedUnique);
  fuse_buf buffer{};
  buffer.mem = request.data();
  buffer.size = size;
  fuse_session_process_buf(session, &buffer);
}

// Maps the pages into this process, without a change of what is in them.
//
// The kernel copies a request to memory and an answer from it. Where a page is not mapped yet it cannot do so
// while the process is being killed: it then answers EIO itself (fuse_dev_do_read() and fuse_dev_do_write(),
// whose get_user_pages() gives up once SIGKILL is pending) instead of leaving the request to a successor.
void map_for_writing(std::span<char> memory) {
  for (std::size_t at = 0; at < memory.size(); at += kPage) {
    volatile char& byte = memory[at];
    byte = byte;
  }
  ::mlock(memory.data(), memory.size());  // where it may: so that they stay
}

// All but SIGURG, which ends the read of the loop.
sigset_t loop_signals() {
  sigset_t set;
  sigfillset(&set);
  sigdelset(&set, SIGURG);
  return set;
}

void set_blocking(int descriptor, bool blocking) {
  const int flags = fcntl(descriptor, F_GETFL);
  fcntl(descriptor, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

}  // namespace

Mount::Mount(broker::Broker& broker, const std::filesystem::path& mountpoint) : Mount(broker, mountpoint, Options()) {}

Mount::Mount(broker::Broker& broker, const std::filesystem::path& mountpoint, Options options)
    : mountpoint_(std::filesystem::absolute(mountpoint)),
      options_(std::move(options)),
      state_([this] {
        const int inherited = std::exchange(options_.inherited.state, -1);
        auto state = inherited >= 0 ? SharedState::adopt(inherited) : nullptr;
        return state ? std::move(state) : SharedState::make();
      }()),
      tree_(broker, *state_, mountpoint_.string()) {}

Mount::~Mount() {
  stop();
  if (options_.inherited.fuse >= 0) ::close(options_.inherited.fuse);
}

bool Mount::start() {
  const int inherited = std::exchange(options_.inherited.fuse, -1);
  Session session;
  if (inherited >= 0 && init_size(state_->init()) != 0 && is_connected(inherited) && is_view_mounted(mountpoint_)) {
    std::string reason;
    session = make_session("/dev/fd/" + std::to_string(inherited), tree_, "", reason);
  }
  const bool taken_over = taken_over_ = session != nullptr;
  if (!taken_over) {
    if (inherited >= 0) {
      // It cannot be used, and whoever still holds it keeps it alive: a mere look at the path would wait for good.
      ::close(inherited);
      if (is_view_mounted(mountpoint_)) detach(mountpoint_);
    }
    prepare_mountpoint(mountpoint_);
    session = mount(mountpoint_, tree_);
    tree_.clear();
    std::fill(state_->init().begin(), state_->init().end(), '\0');
  }
  const int fuse = fuse_session_fd(session.get());
  if (!taken_over) {
    try {
      if (options_.keeper_exchanges) options_.keep(fuse, state_->descriptor());
      const int error = options_.keeper_exchanges ? 0 : exchange_init(fuse, state_->init());
      if (error != 0 || init_size(state_->init()) == 0)
        throw std::runtime_error(
            mount_failure(mountpoint_, error != 0 ? std::strerror(error) : "nobody greets the kernel"));
      if (!options_.keeper_exchanges && options_.keep) options_.keep(fuse, state_->descriptor());
    } catch (...) {
      fuse_session_unmount(session.get());
      throw;
    }
  }
  replay_init(session.get(), *state_);

  session_ = session.release();
  fuse_ = fuse;
  try {
    if (taken_over) {
      tree_.reload();
      take_up();
    }
    begin();
  } catch (const std::system_error& error) {
    if (!taken_over) fuse_session_unmount(session_);
    Destroy()(std::exchange(session_, nullptr));
    throw std::runtime_error(std::string("cannot start the thread of the view: ") + error.what());
  }
  return taken_over;
}

// What the predecessor had read and not answered. There is at most one such request.
void Mount::take_up() {
  set_blocking(fuse_, true);
  const fuse_out_header resend{.len = sizeof resend, .error = kNotifyResend, .unique = 0};
  if (options_.resend && ::write(fuse_, &resend, sizeof resend) == sizeof resend) return;
  fuse_in_header last{};
  std::memcpy(&last, state_->request().data(), sizeof last);
  // One that was answered after all is answered twice, which the kernel refuses with ENOENT.
  if (last.unique != 0 && last.unique != state_->answered() && last.len <= state_->request().size()) process(last.len);
}

void Mount::begin() {
  struct sigaction wake {};
  wake.sa_handler = [](int) {};  // without SA_RESTART: a read that waits ends with EINTR
  sigaction(SIGURG, &wake, nullptr);
  set_blocking(fuse_, true);
  map_for_writing(state_->request());

  const sigset_t blocked = loop_signals();
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  ending_ = false;
  alive_ = true;
  try {
    loop_ = std::thread([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    alive_ = false;
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  const std::lock_guard lock(notify_mutex_);
  notify_ = true;
}

void Mount::run() {
  const auto buffer = state_->request();
  while (!ending_) {
    const ssize_t size = ::read(fuse_, buffer.data(), buffer.size());
    if (size > 0) {
      process(static_cast<std::size_t>(size));
    } else if (size == 0 || (errno != EINTR && errno != ENOENT && errno != EAGAIN)) {
      break;  // ENODEV: unmounted
    } else if (errno == EAGAIN && !ending_) {
      set_blocking(fuse_, true);  // a predecessor's doing: the flag belongs to all who hold the descriptor
    }
  }
  alive_ = false;
  if (!ending_ && options_.on_exit) options_.on_exit();
}

void Mount::process(std::size_t size) {
  fuse_buf buffer{};
  buffer.mem = state_->request().data();
  buffer.size = size;
  std::uint64_t unique = 0;
  std::memcpy(&unique, state_->request().data() + offsetof(fuse_in_header, unique), sizeof unique);
  fuse_session_process_buf(session_, &buffer);
  state_->set_answered(unique);
}

// Ends the loop; the connection stays.
void Mount::end() {
  {
    // Notifications under way end while the loop still answers whom they wait for.
    const std::lock_guard lock(notify_mutex_);
    notify_ = false;
  }
  ending_ = true;
  // A read that begins now returns at once, and one that waits is interrupted.
  set_blocking(fuse_, false);
  pthread_kill(loop_.native_handle(), SIGURG);
  loop_.join();
}

void Mount::pause() {
  if (loop_.joinable()) end();
}

void Mount::resume() {
  if (session_ == nullptr || loop_.joinable()) return;
  tree_.reload();
  take_up();
  begin();
}

void Mount::leave() {
  if (session_ == nullptr) return;
  pause();
  Destroy()(std::exchange(session_, nullptr));
  fuse_ = -1;
}

void Mount::stop() {
  if (session_ == nullptr) return;
  pause();
  fuse_session_unmount(session_);  // what this process has mounted, with libfuse's note of where
  if (taken_over_) detach(mountpoint_);
  Destroy()(std::exchange(session_, nullptr));  // closes the connection: whoever still waits gets ECONNABORTED
  fuse_ = -1;
}

void Mount::lease_opened(const broker::LeasePtr& lease) { invalidate(lease->id); }

void Mount::lease_closed(const broker::LeasePtr& lease) {
  tree_.forget(*lease);
  invalidate(lease->id);
}

// Not fuse_lowlevel_notify_delete(): that one fails with ENOTEMPTY, and libfuse prints so, while a
// file below is open. This takes the directory out of the kernel's cache with all that is below it.
void Mount::invalidate(const std::string& name) {
  const std::lock_guard lock(notify_mutex_);
  if (notify_) fuse_lowlevel_notify_inval_entry(session_, kRoot, name.c_str(), name.size());
}

}  // namespace mintfs::fs
