#include "broker/helper_process.h"

#include "broker/exec_vector.h"
#include "broker/process_watch.h"
#include "broker/readiness.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;

constexpr unsigned kCapKill = 5, kCapSetgid = 6, kCapSetuid = 7;  // linux/capability.h
constexpr rlim_t kDescriptors = 1024;
constexpr std::chrono::seconds kDeath{2};
constexpr std::chrono::milliseconds kLook{50};

// In the child of a process with threads: system calls only.
[[noreturn]] void become(const HelperRun& run, int input, const std::vector<char*>& programs, char** arguments,
                         char** environment) {
  const int nowhere = ::open("/dev/null", O_RDWR);
  if (nowhere < 0 || ::dup2(input, STDIN_FILENO) < 0 || ::dup2(nowhere, STDOUT_FILENO) < 0 ||
      ::dup2(nowhere, STDERR_FILENO) < 0 || ::close_range(3, ~0U, 0) != 0)
    ::_exit(127);
  ::setsid();
  ::umask(077);
  const rlimit descriptors{kDescriptors, kDescriptors}, none{0, 0};
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  ::setrlimit(RLIMIT_CORE, &none);
  // By system call: glibc's functions would make the threads of our memory's owner do the same.
  if (::geteuid() != run.uid &&
      (::syscall(SYS_setgroups, run.groups.size(), run.groups.data()) != 0 ||
       ::syscall(SYS_setresgid, run.gid, run.gid, run.gid) != 0 ||
       ::syscall(SYS_setresuid, run.uid, run.uid, run.uid) != 0 || ::geteuid() != run.uid || ::getuid() != run.uid))
    ::_exit(127);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::chdir("/") != 0) ::_exit(127);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t unblocked;
  sigemptyset(&unblocked);
  ::sigprocmask(SIG_SETMASK, &unblocked, nullptr);
  for (const char* program : programs)
    if (program != nullptr) ::execve(program, arguments, environment);
  ::_exit(127);
}

// Where the program may be: execvpe(3) would look in our own PATH.
std::vector<std::string> candidates(const HelperRun& run) {
  const std::string& name = run.command.front();
  if (name.find('/') != std::string::npos) return {name};
  constexpr std::string_view kPath = "PATH=";
  std::string_view path = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string_view variable : run.environment)
    if (variable.starts_with(kPath)) path = variable.substr(kPath.size());
  std::vector<std::string> found;
  while (!path.empty()) {
    const auto folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(path.size(), folder.size() + 1));
    if (folder.starts_with('/')) found.push_back(std::string(folder) + "/" + name);
  }
  return found;
}

// A pidfd; -1 where nothing could be started.
int start(const HelperRun& run, int input, bool alone) {
  const auto names = candidates(run);
  const auto programs = exec_vector(names);
  auto arguments = exec_vector(run.command), variables = exec_vector(run.environment);
  int pidfd = -1;
  const unsigned long flags = CLONE_PIDFD | SIGCHLD | (alone ? CLONE_NEWPID : 0UL);
  const long pid = ::syscall(SYS_clone, flags, nullptr, &pidfd, nullptr, nullptr);
  if (pid == 0) become(run, input, programs, arguments.data(), variables.data());
  if (pid < 0 && alone) return start(run, input, false);
  return pid < 0 ? -1 : pidfd;
}

// The number of a process that a pidfd stands for; its group has the same.
pid_t pid_of(int pidfd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(pidfd));
  std::string word;
  pid_t pid = -1;
  while (file >> word)
    if (word == "Pid:") file >> pid;
  return pid;
}

// True when the pidfd's process has ended before the time is over.
asio::awaitable<bool> ends(asio::posix::stream_descriptor& process, std::chrono::seconds patience) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(process.get_executor());
  timer.expires_after(patience);
  boost::system::error_code late;
  const auto first =
      co_await (wait_readable(process) || timer.async_wait(asio::redirect_error(asio::use_awaitable, late)));
  co_return first.index() == 0;
}

// Nothing where it is gone, or cannot be watched.
std::optional<asio::posix::stream_descriptor> watched(asio::io_context& context, pid_t pid) {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return std::nullopt;
  asio::posix::stream_descriptor process(context);
  boost::system::error_code error;
  if (process.assign(pidfd, error); error) {
    ::close(pidfd);
    return std::nullopt;
  }
  return process;
}

}  // namespace

asio::awaitable<bool> run_helper(asio::io_context& context, const HelperRun& run, std::chrono::seconds patience) {
  int ends_of_pipe[2];
  if (::pipe2(ends_of_pipe, O_CLOEXEC | O_NONBLOCK) != 0) co_return false;
  // It is read as a whole before anything could block: a pipe holds 64 KiB.
  const ssize_t written = ::write(ends_of_pipe[1], run.input.data(), run.input.size());
  ::close(ends_of_pipe[1]);
  ::fcntl(ends_of_pipe[0], F_SETFL, 0);  // the program's end is an ordinary one
  const bool whole = written == static_cast<ssize_t>(run.input.size());
  const int pidfd = whole ? start(run, ends_of_pipe[0], ::geteuid() == 0) : -1;
  ::close(ends_of_pipe[0]);
  if (pidfd < 0) co_return false;
  asio::posix::stream_descriptor process(context, pidfd);
  const pid_t group = pid_of(pidfd);
  const bool in_time = co_await ends(process, patience);
  // Its group with it, and before it is waited for: until then the number is not another's.
  if (group > 0) ::kill(-group, SIGKILL);
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  if (!in_time) [[maybe_unused]]
    const bool killed = co_await ends(process, kDeath);
  siginfo_t status{};
  // One that hangs in the kernel still is left as it is.
  ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &status, WEXITED | WNOHANG);
  co_return in_time&& status.si_code == CLD_EXITED&& status.si_status == 0;
}

bool can_become(uid_t uid) {
  if (::geteuid() == uid) return true;
  std::ifstream file("/proc/self/status");
  std::string word;
  std::uint64_t effective = 0;
  while (file >> word)
    if (word == "CapEff:") file >> std::hex >> effective;
  const auto has = [&](unsigned capability) { return (effective >> capability & 1) != 0; };
  return has(kCapKill) && has(kCapSetgid) && has(kCapSetuid);
}

asio::awaitable<void> wait_for_end(asio::io_context& context, pid_t pid, std::uint64_t start_time,
                                   std::chrono::seconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  if (auto process = watched(context, pid)) {
    // 0: it has ended, or /proc cannot be read; the pidfd tells.
    const std::uint64_t started = process_start_time(pid);
    if (started == start_time || started == 0) [[maybe_unused]]
      const bool ended = co_await ends(*process, patience);
    co_return;
  }
  // Without descriptors it is looked for by its number, which needs none.
  asio::steady_timer timer(context);
  while (::kill(pid, 0) == 0 && std::chrono::steady_clock::now() < until) {
    const std::uint64_t started = process_start_time(pid);
    if (started != start_time && started != 0) co_return;
    timer.expires_after(kLook);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace mintfs::broker
