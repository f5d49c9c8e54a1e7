// mintfs-keeper -- mintfsd --config FILE: outlives mintfsd where no systemd does.
//
// It starts mintfsd, keeps the descriptors that mintfsd gives it, and starts it again with them when it ends.
// So a mount whose daemon was killed waits instead of dying, and so do callers of the listening sockets. It
// speaks systemd's own protocols, sd_notify(3) with FDSTORE and sd_listen_fds(3), which leaves mintfsd one way
// to be started. What it adds to them:
//
//   fuse       a descriptor of this name has just been mounted: the INIT exchange (fs/handshake.h) is done
//              here, by the process that will not die, and the request goes to the start of "view"
//   TAKEOVER=1 from a newer keeper, with a socket: it is told there, in the same words, all that is kept
//              ("keeper" is the socket that messages come to), and this one ends
//
// Nobody but its own user is listened to. Nothing is allocated after the start; all tables have fixed sizes.
// Signals: SIGTERM and SIGINT end mintfsd for good and then the keeper; SIGHUP and SIGUSR2 go to mintfsd.
#include "fs/handshake.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {  // glibc 2.36 forgets that
#include <sys/pidfd.h>
}

namespace {

using Text = std::string_view;
constexpr int kMost = 32, kLongestName = 31;
// Where descriptors are: the child's begin at 3, ours are above them.
constexpr int kFirst = 3, kListener = 60, kSignals = 61, kChild = 62, kGiven = 63, kKept = 64;
constexpr int kHealthy = 1000, kShortest = 100, kLongest = 10'000, kPatience = 5'000;  // milliseconds

char names[kMost][kLongestName + 1];  // of the descriptors kKept, kKept + 1 and so on; empty: there is none
char** command;
char path[sizeof sockaddr_un::sun_path];
const char* upper;  // the socket of our own service manager, if any
sigset_t heard;
pid_t child = 0;  // kChild is its pidfd
bool ready = false, stopping = false;
long long started = 0, restart_at = 0;  // milliseconds; 0: never
int failures = 0;

// One line, cut off where it is too long. dprintf(3) would allocate.
[[gnu::format(printf, 1, 2)]] void say(const char* format, ...) {
  char line[1024] = "mintfs-keeper: ";
  std::size_t size = std::strlen(line);
  va_list values;
  va_start(values, format);
  std::vsnprintf(line + size, sizeof line - size, format, values);
  va_end(values);
  size = std::strlen(line);
  line[size++] = '\n';
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, size);
}

[[noreturn]] void fail(const char* what, const char* next) {
  say("%s: %s; %s", what, std::strerror(errno), next);
  std::exit(1);
}

long long now() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

void move(int from, int to) {
  dup3(from, to, O_CLOEXEC);
  close(from);
}

// A datagram socket that is bound or connected to this path; -1 and errno when it cannot be.
int socket_at(const char* place, decltype(&connect) attach) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  Text(place).copy(address.sun_path, sizeof address.sun_path - 1);
  const int made = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (attach(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return made;
  close(made);
  return -1;
}

// `descriptor` -1: none goes along.
bool send(int to, Text text, int descriptor) {
  iovec part{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof descriptor)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = descriptor < 0 ? 0 : sizeof room;
  auto* const rights = reinterpret_cast<cmsghdr*>(room);
  *rights = {.cmsg_len = CMSG_LEN(sizeof descriptor), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  return sendmsg(to, &message, MSG_NOSIGNAL) >= 0;
}

// The next message of our own user; a descriptor that came with it is kGiven. False when the other end is closed;
// the text is empty where the message does not count.
bool receive(int from, char (&text)[4096]) {
  int descriptor = -1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(ucred)) + CMSG_LEN(sizeof descriptor)];  // the kernel drops a second one
  iovec part{.iov_base = text, .iov_len = sizeof text - 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  const ssize_t size = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  ucred sender{.pid = 0, .uid = ~0U, .gid = ~0U};
  for (cmsghdr* each = size < 0 ? nullptr : CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
    if (each->cmsg_type == SCM_CREDENTIALS)
      std::memcpy(&sender, CMSG_DATA(each), sizeof sender);
    else
      std::memcpy(&descriptor, CMSG_DATA(each), sizeof descriptor);
  const bool ours = sender.uid == geteuid();
  if (size > 0 && !ours) say("a message of user %u is refused; only user %u may speak here", sender.uid, geteuid());
  const bool counts = size > 0 && ours && (message.msg_flags & MSG_TRUNC) == 0;
  text[counts ? size : 0] = '\0';
  if (descriptor >= 0) move(descriptor, kGiven);
  if (!counts) close(kGiven);
  return size > 0 || from == kListener;
}

// The value of "KEY=value" in lines of such; empty where there is none.
Text value_of(Text text, Text key) {
  for (Text line; !text.empty(); text.remove_prefix(std::min(line.size() + 1, text.size()))) {
    line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.substr(key.size()).starts_with('=')) return line.substr(key.size() + 1);
  }
  return "";
}

int place_of(Text name) { return static_cast<int>(std::find(names, names + kMost, name) - names); }

void forget(Text name) {
  if (const int at = place_of(name); at < kMost && !name.empty()) close(kKept + at), names[at][0] = '\0';
}

// What was given, by this name.
void keep(Text name) {
  forget(name);
  const int at = place_of("");
  if (at == kMost || name.empty() || name.size() > kLongestName || name.find(':') != Text::npos)
    return say("a descriptor is refused: no room, or a bad name"), void();
  if (dup3(kGiven, kKept + at, O_CLOEXEC) >= 0) names[at][name.copy(names[at], kLongestName)] = '\0';
}

// A mount that was just made waits for the answer to its INIT.
void greet_kernel() {
  const int fuse = kKept + place_of("fuse"), view = kKept + place_of("view");
  char request[mintfs::fs::kMaxInit] = {};
  if (pread(view, request, sizeof request, 0) < 0 || mintfs::fs::init_size(request) != 0) return;
  pollfd waiting{.fd = fuse, .events = POLLIN, .revents = 0};
  const int error = poll(&waiting, 1, kPatience) == 1 ? mintfs::fs::exchange_init(fuse, request) : ETIMEDOUT;
  if (error != 0 || pwrite(view, request, sizeof request, 0) < 0)
    say("the mount is not greeted: %s", std::strerror(error != 0 ? error : errno));
}

// Gives everything to the newer keeper at kGiven and ends; mintfsd goes on and does not notice.
void hand_over() {
  char text[64];
  std::snprintf(text, sizeof text, "MAINPID=%d", static_cast<int>(child));
  bool whole = child == 0 || send(kGiven, text, kChild);
  for (int at = 0; whole && at < kMost; ++at) {
    std::snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%.*s", kLongestName, names[at]);
    whole = names[at][0] == '\0' || send(kGiven, text, kKept + at);
  }
  whole = whole && send(kGiven, "FDSTORE=1\nFDNAME=keeper", kListener);  // at last: who has it has all
  say("%s", whole ? "a newer keeper has taken over" : "the newer keeper did not take all; this one goes on");
  if (whole) std::exit(0);
}

// One message, of mintfsd or of an older keeper that hands over; false when no more will come.
bool hear(int from) {
  char room[4096];
  const bool more = receive(from, room), given = fcntl(kGiven, F_GETFD) >= 0;
  const Text text = room, name = value_of(text, "FDNAME");
  if (value_of(text, "TAKEOVER") == "1" && given) {
    hand_over();
  } else if (value_of(text, "FDSTORE") == "1" && given) {
    if (from != kListener && name == "keeper")
      dup3(kGiven, kListener, O_CLOEXEC);
    else
      keep(name);
    if (name == "fuse") greet_kernel();
  } else if (value_of(text, "FDSTOREREMOVE") == "1") {
    forget(name);
  } else if (const int pid = std::atoi(value_of(text, "MAINPID").data()); pid != 0) {
    if (!given) move(pidfd_open(pid, 0), kGiven);
    if (dup3(kGiven, kChild, O_CLOEXEC) >= 0) child = pid, restart_at = 0, ready = true;
  } else if (!text.empty() && value_of(text, "BARRIER") != "1") {
    ready = ready || value_of(text, "READY") == "1";
    const int manager = upper == nullptr ? -1 : socket_at(upper, connect);
    if (manager >= 0) send(manager, text, -1), close(manager);
  }
  close(kGiven);
  return more;
}

// In the child, which may allocate.
[[noreturn]] void run_command() {
  std::string list;
  int next = kFirst;
  for (int at = 0; at < kMost; ++at) {
    if (names[at][0] == '\0') continue;
    dup2(kKept + at, next++);
    list.append(list.empty() ? "" : ":").append(names[at]);
  }
  setenv("NOTIFY_SOCKET", path, 1);
  setenv("LISTEN_FDNAMES", list.c_str(), 1);
  setenv("LISTEN_FDS", std::to_string(next - kFirst).c_str(), 1);
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  setenv("FDSTORE", std::to_string(kMost).c_str(), 1);
  setenv("MINTFS_KEEPER", "1", 1);
  sigprocmask(SIG_UNBLOCK, &heard, nullptr);
  execvp(command[0], command);
  say("cannot run %s: %s", command[0], std::strerror(errno));
  _exit(127);
}

void start_child() {
  started = now();
  ready = false;
  child = fork();
  if (child == 0) run_command();
  move(pidfd_open(child, 0), kChild);
  restart_at = 0;
  if (child < 0) child = 0, restart_at = now() + kLongest;  // out of processes
}

void child_ended() {
  child = 0;
  if (stopping) return;
  failures = ready && now() - started >= kHealthy ? 0 : failures + 1;
  const int pause = failures == 0 ? 0 : std::min(kShortest << std::min(failures - 1, 10), kLongest);
  say("%s has ended; it is started again in %d ms", command[0], pause);
  restart_at = now() + pause;
}

void handle_signal() {
  signalfd_siginfo signal{};
  if (read(kSignals, &signal, sizeof signal) != sizeof signal) return;
  const auto number = static_cast<int>(signal.ssi_signo);
  const bool ends = number == SIGTERM || number == SIGINT;
  stopping |= ends;
  // SIGINT: mintfsd does not leave the view mounted for a successor.
  if (child != 0 && number != SIGCHLD) pidfd_send_signal(kChild, ends ? SIGINT : number, nullptr, 0);
}

// Asks a keeper that is there for all it has. False when there is none.
bool take_over() {
  const int older = socket_at(path, connect), yes = 1;
  const timeval patience{.tv_sec = kPatience / 1000, .tv_usec = 0};
  int ends[2];
  if (older < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return false;
  setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
  send(older, "TAKEOVER=1", ends[1]);
  close(ends[1]);
  close(older);
  while (hear(ends[0])) continue;
  close(ends[0]);
  if (fcntl(kListener, F_GETFD) < 0) fail("the keeper at this socket gives nothing away", "stop it first");
  return ready = true;
}

void listen_at_path() {
  const int yes = 1;
  const std::string folder(path, Text(path).rfind('/') + 1);
  if (mkdir(folder.c_str(), 0711) == 0) chmod(folder.c_str(), 0711);  // whatever the umask says: jobs pass through it
  unlink(path);
  const int made = socket_at(path, bind);
  if (made < 0 || chmod(path, 0600) != 0 || setsockopt(made, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0)
    fail(path, "choose another place with --socket");
  move(made, kListener);
}

void read_arguments(int count, char** arguments) {
  const char* place = geteuid() == 0 ? "/run" : std::getenv("XDG_RUNTIME_DIR");
  const char* below = "/mintfs/keeper.sock";
  int at = 1;
  if (count > 2 && Text(arguments[1]) == "--socket") place = arguments[2], below = "", at = 3;
  if (at < count && Text(arguments[at]) == "--") ++at;
  const bool asked = at < count && Text(arguments[at]) == "--help";
  if (at >= count || arguments[at][0] == '-' || place == nullptr) {
    dprintf(asked ? STDOUT_FILENO : STDERR_FILENO, "usage: mintfs-keeper [--socket PATH] -- mintfsd --config FILE\n");
    std::exit(asked ? 0 : 2);
  }
  errno = ENAMETOOLONG;
  if (std::snprintf(path, sizeof path, "%s%s", place, below) >= static_cast<int>(sizeof path))
    fail("the socket's path", "choose a shorter one with --socket");
  command = arguments + at;
  upper = std::getenv("NOTIFY_SOCKET");
}

}  // namespace

int main(int count, char** arguments) {
  read_arguments(count, arguments);
  errno = EMFILE;
  if (sysconf(_SC_OPEN_MAX) < kKept + kMost) fail("the limit of open files", "raise it to 96: ulimit -n 96");
  close_range(kFirst, ~0U, 0);
  prctl(PR_SET_DUMPABLE, 0);         // what it keeps opens repositories: no core dump, no debugger
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // an upgraded mintfsd becomes our child
  for (const int each : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR2}) sigaddset(&heard, each);
  sigprocmask(SIG_BLOCK, &heard, nullptr);
  move(signalfd(-1, &heard, 0), kSignals);
  if (!take_over()) listen_at_path();
  if (child == 0) start_child();

  while (!stopping || child != 0) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) continue;
    pollfd waiting[] = {{.fd = kListener, .events = POLLIN, .revents = 0},
                        {.fd = kSignals, .events = POLLIN, .revents = 0},
                        {.fd = child != 0 ? kChild : -1, .events = POLLIN, .revents = 0}};
    const long long left = restart_at == 0 ? -1 : std::max(0LL, restart_at - now());
    if (poll(waiting, 3, static_cast<int>(left)) < 0) continue;
    if (waiting[0].revents != 0)
      hear(kListener);  // first: what a process gave before it ended is kept
    else if (waiting[1].revents != 0)
      handle_signal();
    else if (waiting[2].revents != 0)
      child_ended();
    else if (restart_at != 0 && now() >= restart_at)
      start_child();
  }
  unlink(path);
  return 0;
}
