#include "credential/child.h"

#include "broker/exec_vector.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::credential {
namespace {

using Clock = std::chrono::steady_clock;

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "no pipe");
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int end(int which) const { return ends_[which]; }
  void close(int which) {
    if (ends_[which] >= 0) ::close(ends_[which]);
    ends_[which] = -1;
  }
  void set_nonblocking(int which) { ::fcntl(ends_[which], F_SETFL, O_NONBLOCK); }

 private:
  std::array<int, 2> ends_{-1, -1};
};

// The child's two pipes, spoken to at once: it may answer before it has read all.
class Talk {
 public:
  Talk(Pipe& in, Pipe& out, std::string_view input, std::size_t most) : in_(in), out_(out), rest_(input), room_(most) {}

  // False when it has said all, or too much.
  bool go_on(int milliseconds) {
    std::array<pollfd, 2> ready = {pollfd{.fd = out_.end(0), .events = POLLIN, .revents = 0},
                                   pollfd{.fd = in_.end(1), .events = POLLOUT, .revents = 0}};
    if (::poll(ready.data(), ready.size(), milliseconds) < 0) return errno == EINTR;
    if (ready[1].revents != 0) write();
    return ready[0].revents == 0 || read();
  }
  bool said_too_much() const { return size_ > room_.size() - 1; }
  broker::Secret take() { return broker::Secret(room_.reveal().substr(0, size_)); }

 private:
  void write() {
    const ssize_t count = ::write(in_.end(1), rest_.data(), rest_.size());
    if (count > 0) rest_.remove_prefix(static_cast<std::size_t>(count));
    if (rest_.empty() || (count < 0 && errno != EAGAIN && errno != EINTR)) in_.close(1);
  }
  bool read() {
    const ssize_t count = ::read(out_.end(0), room_.bytes().data() + size_, room_.size() - size_);
    if (count > 0) size_ += static_cast<std::size_t>(count);
    return count > 0 ? size_ < room_.size() : count < 0 && (errno == EAGAIN || errno == EINTR);
  }

  Pipe& in_;
  Pipe& out_;
  std::string_view rest_;
  broker::Secret room_;
  std::size_t size_ = 0;
};

}  // namespace

Answered ask_child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                   const broker::Secret& input, std::size_t most, std::chrono::seconds patience) {
  Pipe in, out;
  auto arguments = broker::exec_vector(command), variables = broker::exec_vector(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "cannot start a process");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent || ::dup2(in.end(0), STDIN_FILENO) < 0 || ::dup2(out.end(1), STDOUT_FILENO) < 0)
      ::_exit(127);
    ::execvpe(arguments[0], arguments.data(), variables.data());
    ::_exit(127);
  }
  ::signal(SIGPIPE, SIG_IGN);  // a helper need not read all
  in.close(0);
  out.close(1);
  in.set_nonblocking(1);
  out.set_nonblocking(0);
  Talk talk(in, out, input.reveal(), most + 1);
  const auto until = Clock::now() + patience;
  const auto left = [&] { return std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count(); };
  bool late = false;
  while (talk.go_on(static_cast<int>(std::max<std::int64_t>(left(), 0))) && !late) late = left() <= 0;
  // Its answer is over; what it does after that counts too.
  int status = 0;
  pid_t ended = 0;
  while (!late && !talk.said_too_much() && (ended = ::waitpid(pid, &status, WNOHANG)) == 0) {
    late = left() <= 0;
    ::poll(nullptr, 0, 1);
  }
  if (ended != pid) {
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return {};
  }
  return {.ended = true, .status = WIFEXITED(status) ? WEXITSTATUS(status) : -1, .output = talk.take()};
}

}  // namespace mintfs::credential
