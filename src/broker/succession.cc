#include "broker/succession.h"

#include "broker/exec_vector.h"
#include "broker/readiness.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace asio = boost::asio;

constexpr int kFirstDescriptor = 3;  // SD_LISTEN_FDS_START
constexpr std::size_t kMaxMessage = 4096;

// Numbers above all that the child must have at fixed places.
class Spares {
 public:
  explicit Spares(const std::vector<std::pair<std::string, int>>& descriptors) {
    for (const auto& [name, descriptor] : descriptors) {
      const int spare = ::fcntl(descriptor, F_DUPFD_CLOEXEC, kFirstDescriptor + static_cast<int>(descriptors.size()));
      if (spare < 0) throw std::system_error(errno, std::generic_category(), "no descriptors left");
      numbers_.push_back(spare);
    }
  }
  ~Spares() {
    for (const int each : numbers_) ::close(each);
  }
  Spares(const Spares&) = delete;
  Spares& operator=(const Spares&) = delete;
  const std::vector<int>& numbers() const { return numbers_; }

 private:
  std::vector<int> numbers_;
};

// In the child of a process with threads: system calls only.
[[noreturn]] void become(const char* program, char** arguments, char** environment, char* own_pid,
                         const std::vector<int>& descriptors, int most) {
  for (std::size_t i = 0; i < descriptors.size(); ++i)
    if (::dup2(descriptors[i], kFirstDescriptor + static_cast<int>(i)) < 0) ::_exit(127);
  // Not all that is open here is closed by exec: a connection must not outlive its relay in the new daemon.
  const int above = kFirstDescriptor + static_cast<int>(descriptors.size());
  if (::close_range(static_cast<unsigned>(above), ~0U, 0) != 0)  // Linux 5.9
    for (int each = above; each < most; ++each) ::close(each);
  // "LISTEN_PID=" and room for the number.
  char* end = own_pid;
  while (*end != '=') ++end;
  char digits[12];
  int count = 0;
  for (pid_t pid = ::getpid(); pid > 0; pid /= 10) digits[count++] = static_cast<char>('0' + pid % 10);
  while (count > 0) *++end = digits[--count];
  *++end = '\0';
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();  // a signal to the old daemon's group is not meant for the new one
  ::execve(program, arguments, environment);
  ::_exit(127);
}

std::string to_sentence(std::string_view message) {
  if (message.starts_with(kFailed)) return std::string(message.substr(kFailed.size()));
  return "the new mintfsd did not keep to the protocol";
}

}  // namespace

Successor::Successor(asio::io_context& context, const Start& start) : channel_(context) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot make a socket pair");
  channel_.assign(ends[0]);
  auto descriptors = start.descriptors;
  descriptors.emplace_back(Predecessor::kChannel, ends[1]);

  std::vector<std::string> environment;
  for (char** each = environ; *each != nullptr; ++each) environment.emplace_back(*each);
  environment.insert(environment.end(), start.environment.begin(), start.environment.end());
  std::string names;
  for (const auto& [name, descriptor] : descriptors) names += (names.empty() ? "" : ":") + name;
  environment.push_back("LISTEN_FDNAMES=" + names);
  environment.push_back("LISTEN_FDS=" + std::to_string(descriptors.size()));
  environment.push_back("LISTEN_PID=            ");

  const auto arguments = exec_vector(start.arguments);
  const auto variables = exec_vector(environment);
  std::vector<char*> argument_list = arguments, variable_list = variables;
  try {
    const Spares spares(descriptors);
    const int most = static_cast<int>(::sysconf(_SC_OPEN_MAX));
    pid_ = ::fork();
    if (pid_ == 0)
      become(start.program.c_str(), argument_list.data(), variable_list.data(), environment.back().data(),
             spares.numbers(), most);
  } catch (...) {
    ::close(ends[1]);
    throw;
  }
  const int error = errno;
  ::close(ends[1]);
  if (pid_ < 0) throw std::system_error(error, std::generic_category(), "cannot start a process");
}

Successor::~Successor() { kill(); }

void Successor::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

void Successor::let_go() {
  pid_ = 0;
  channel_.close();
}

void Successor::tell(std::string_view word) {
  [[maybe_unused]] const auto sent =
      ::send(channel_.native_handle(), word.data(), word.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

// False: nothing came in time. An empty message: it has ended.
asio::awaitable<std::pair<bool, std::string>> Successor::receive(std::chrono::milliseconds patience) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(channel_.get_executor());
  timer.expires_after(patience);
  boost::system::error_code late;
  const auto first =
      co_await (wait_readable(channel_) || timer.async_wait(asio::redirect_error(asio::use_awaitable, late)));
  if (first.index() == 1) co_return std::pair(false, std::string());
  std::array<char, kMaxMessage> text;
  const ssize_t size = ::recv(channel_.native_handle(), text.data(), text.size(), MSG_DONTWAIT);
  co_return std::pair(true, std::string(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0));
}

asio::awaitable<std::string> Successor::expect(std::string_view word, std::chrono::seconds patience) {
  const auto [came, message] = co_await receive(patience);
  if (!came) co_return "the new mintfsd did not get ready in " + std::to_string(patience.count()) + " s";
  if (message.empty()) co_return "the new mintfsd ended at its start; its last words are in the log";
  co_return message == word ? std::string() : to_sentence(message);
}

asio::awaitable<std::string> Successor::survives(std::chrono::milliseconds trial) {
  const auto [came, message] = co_await receive(trial);
  if (!came) co_return std::string();
  co_return message.empty() ? "the new mintfsd ended right after its start; its last words are in the log"
                            : to_sentence(message);
}

Predecessor::~Predecessor() {
  if (channel_ >= 0) ::close(channel_);
}

bool Predecessor::watches() const noexcept {
  char byte = 0;
  return exists() && ::recv(channel_, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) != 0;
}

void Predecessor::tell(std::string_view word) const noexcept {
  if (exists()) [[maybe_unused]]
    const auto sent = ::send(channel_, word.data(), std::min(word.size(), kMaxMessage), MSG_NOSIGNAL);
}

void Predecessor::expect(std::string_view word) const {
  if (!exists()) return;
  std::array<char, kMaxMessage> text;
  ssize_t size = 0;
  while ((size = ::recv(channel_, text.data(), text.size(), 0)) < 0 && errno == EINTR) {
  }
  if (size > 0 && std::string_view(text.data(), static_cast<std::size_t>(size)) != word)
    throw std::runtime_error(
        "the daemon before this one does not speak this version's protocol; stop it and start anew");
}

}  // namespace mintfs::broker
