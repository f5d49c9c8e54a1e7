#include "mintfs/foreground.h"

#include "broker/exec_vector.h"
#include "mintfs/environment.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::cli {
namespace {

constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

int to_exit_status(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

// What the terminal sends goes to the whole group, but for SIGHUP when the line is cut: that goes to
// the leader of the session (tty_vhangup in the kernel's drivers/tty/tty_io.c).
bool was_sent_to_us_alone(const siginfo_t& signal) {
  if (signal.si_code != SI_KERNEL) return true;
  return signal.si_signo == SIGHUP && ::getsid(0) == ::getpid();
}

int wait_for(pid_t child, const HeldSignals& signals) {
  for (;;) {
    siginfo_t signal{};
    if (::sigwaitinfo(&signals.held(), &signal) < 0) continue;  // EINTR: stopped and continued
    if (signal.si_signo != SIGCHLD) {
      if (was_sent_to_us_alone(signal)) ::kill(child, signal.si_signo);
      continue;
    }
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) return to_exit_status(status);
  }
}

}  // namespace

HeldSignals::HeldSignals() {
  sigemptyset(&held_);
  for (const int number : {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF,
                           SIGIO, SIGPWR, SIGSTKFLT})
    sigaddset(&held_, number);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) sigaddset(&held_, number);
  ::sigprocmask(SIG_BLOCK, &held_, &before_);
  ::signal(SIGCHLD, SIG_DFL);  // inherited as ignored, it would take the exit status away
}

HeldSignals::~HeldSignals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

int run_in_foreground(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                      const HeldSignals& signals) {
  const auto arguments = broker::exec_vector(command);
  const auto variables = broker::exec_vector(environment);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "cannot start a process");
  if (child > 0) return wait_for(child, signals);

  ::sigprocmask(SIG_SETMASK, &signals.before(), nullptr);
  ::execvpe(arguments[0], arguments.data(), variables.data());
  const int error = errno;
  std::fprintf(stderr, "mintfs: cannot run '%s': %s\n", arguments[0], std::strerror(error));
  ::_exit(error == ENOENT ? kNotFound : kCannotExecute);
}

}  // namespace mintfs::cli
