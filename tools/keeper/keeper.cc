// mintfs-keeper -- mintfsd --config FILE: outlives mintfsd where no systemd does.
//
// It starts mintfsd, keeps the descriptors that mintfsd gives it, and starts it again with them when it ends.
// So a mount whose daemon was killed waits instead of dying, and so do callers of the listening sockets. It
// speaks systemd's own protocols, sd_notify(3) with FDSTORE and sd_listen_fds(3), which leaves mintfsd one way
// to be started. What it adds to them:
//
//   fuse       a descriptor of this name has just been mounted: the INIT exchange (fs/handshake.h) is done
//              here, by the process that will not die, and the request goes to the start of "view"
//   TAKEOVER=1 from a newer keeper, with a socket: it is given all that is kept, and this one ends
//
// Nobody but its own user is listened to. Nothing is allocated after the start; all tables have fixed sizes.
// Signals: SIGTERM and SIGINT end mintfsd for good and then the keeper; SIGHUP and SIGUSR2 go to mintfsd.
#include "fs/handshake.h"
#include "keeper/packet.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {  // glibc 2.36 forgets that
#include <sys/pidfd.h>
}

namespace {

using namespace mintfs::keeper;
using Text = std::string_view;
constexpr int kMostKept = 32, kFirst = 3;  // the child's descriptors begin at 3
constexpr int kHealthy = 1000, kShortest = 100, kLongest = 10'000, kHandshake = 5'000;  // milliseconds
constexpr char kSelf[] = "keeper", kChild[] = "child ";                                 // names in a takeover

struct Kept {
  int descriptor = -1;
  char name[32] = {};
} kept[kMostKept];

char** command = nullptr;
char path[kMaxPath];
const char* upper = nullptr;                  // the socket of our own service manager, if any
int listener = -1, signals = -1, child = -1;  // child: a pidfd
pid_t child_pid = 0;
bool ready = false, stopping = false;
long long started = 0, restart_at = 0;  // milliseconds; 0: never
int failures = 0;

[[noreturn]] void fail(const char* what, const char* next) {
  SAY("%s: %s; %s", what, std::strerror(errno), next);
  std::exit(1);
}

long long now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1'000'000;
}

Kept* find(Text name) {
  Kept* const found =
      std::find_if(kept, kept + kMostKept, [&](auto& k) { return k.descriptor >= 0 && name == k.name; });
  return found == kept + kMostKept ? nullptr : found;
}

void forget(Text name) {
  if (Kept* const old = find(name)) close(std::exchange(old->descriptor, -1));
}

void keep(Text name, int descriptor) {
  forget(name);
  Kept* const place = std::find_if(kept, kept + kMostKept, [](auto& k) { return k.descriptor < 0; });
  if (place == kept + kMostKept || name.empty() || name.size() >= sizeof place->name || name.find(':') != Text::npos) {
    SAY("a descriptor is refused: no room, or a bad name");
    close(descriptor);
    return;
  }
  place->descriptor = raised(descriptor);
  place->name[name.copy(place->name, sizeof place->name - 1)] = '\0';
}

// A mount that was just made waits for the answer to its INIT.
void greet_kernel() {
  const Kept *const fuse = find("fuse"), *const view = find("view");
  char request[mintfs::fs::kMaxInit] = {};
  if (fuse == nullptr || view == nullptr || pread(view->descriptor, request, sizeof request, 0) < 0 ||
      mintfs::fs::init_size(request) != 0)
    return;
  pollfd waiting{.fd = fuse->descriptor, .events = POLLIN, .revents = 0};
  const int error =
      poll(&waiting, 1, kHandshake) == 1 ? mintfs::fs::exchange_init(fuse->descriptor, request) : ETIMEDOUT;
  if (error != 0 || pwrite(view->descriptor, request, sizeof request, 0) < 0)
    SAY("the mount is not greeted: %s", std::strerror(error != 0 ? error : errno));
}

void watch(pid_t pid, int pidfd) {
  if (child >= 0) close(child);
  child_pid = pid;
  child = pidfd < 0 ? -1 : raised(pidfd);
}

// Gives everything away and ends; mintfsd goes on and does not notice.
void hand_over(int socket) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%d", kChild, static_cast<int>(child_pid));
  bool whole = send(socket, kSelf, listener) && (child < 0 || send(socket, text, child));
  for (const Kept& each : kept) whole = whole && (each.descriptor < 0 || send(socket, each.name, each.descriptor));
  close(socket);
  SAY("%s", whole ? "a newer keeper has taken over" : "the newer keeper did not take all; this one goes on");
  if (whole) std::exit(0);
}

void handle_message() {
  char room[4096];
  int descriptor = -1;
  const Text text = receive(listener, room, sizeof room - 1, descriptor, false);
  room[text.size()] = '\0';
  const Text name = value_of(text, "FDNAME"), pid = value_of(text, "MAINPID");
  if (value_of(text, "TAKEOVER") == "1" && descriptor >= 0) return hand_over(descriptor);
  if (value_of(text, "FDSTORE") == "1" && descriptor >= 0) {
    keep(name, std::exchange(descriptor, -1));
    if (name == "fuse") greet_kernel();
  } else if (value_of(text, "FDSTOREREMOVE") == "1") {
    forget(name);
  } else if (!pid.empty()) {
    const int successor = std::atoi(pid.data());
    if (const int pidfd = pidfd_open(successor, 0); pidfd >= 0) watch(successor, pidfd), restart_at = 0, ready = true;
  } else if (!text.empty() && value_of(text, "BARRIER") != "1") {
    ready = ready || value_of(text, "READY") == "1";
    const int manager = upper == nullptr ? -1 : connected(upper);
    if (manager >= 0) send(manager, text, -1), close(manager);
  }
  if (descriptor >= 0) close(descriptor);
}

// In the child.
[[noreturn]] void run_command() {
  char names[kMostKept * sizeof(Kept::name) + kMostKept] = {}, number[16];
  int count = 0;
  for (const Kept& each : kept) {
    if (each.descriptor < 0) continue;
    dup2(each.descriptor, kFirst + count);
    if (count++ > 0) std::strcat(names, ":");
    std::strcat(names, each.name);
  }
  const auto set = [&](const char* name, int value) {
    std::snprintf(number, sizeof number, "%d", value);
    setenv(name, number, 1);
  };
  setenv("NOTIFY_SOCKET", path, 1);
  setenv("LISTEN_FDNAMES", names, 1);
  set("LISTEN_FDS", count);
  set("LISTEN_PID", getpid());
  set("FDSTORE", kMostKept);
  set("MINTFS_KEEPER", 1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(command[0], command);
  SAY("cannot run %s: %s", command[0], std::strerror(errno));
  _exit(127);
}

void start_child() {
  started = now();
  restart_at = 0;
  ready = false;
  const pid_t pid = fork();
  if (pid == 0) run_command();
  watch(pid, pid < 0 ? -1 : pidfd_open(pid, 0));
  if (child < 0) restart_at = now() + kLongest;  // out of processes
}

void child_ended() {
  watch(0, -1);
  if (stopping) return;
  failures = ready && now() - started >= kHealthy ? 0 : failures + 1;
  const int pause = failures == 0 ? 0 : std::min(kShortest << std::min(failures - 1, 10), kLongest);
  SAY("%s has ended; it is started again in %d ms", command[0], pause);
  restart_at = now() + pause;
}

void handle_signal() {
  signalfd_siginfo signal{};
  if (read(signals, &signal, sizeof signal) != sizeof signal) return;
  const int number = static_cast<int>(signal.ssi_signo);
  while (number == SIGCHLD && waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  const bool ends = number == SIGTERM || number == SIGINT;
  stopping |= ends;
  // SIGINT: mintfsd does not leave the view mounted for a successor.
  if (number != SIGCHLD && child >= 0) pidfd_send_signal(child, ends ? SIGINT : number, nullptr, 0);
}

// Asks a keeper that is there for all it has. False when there is none.
bool take_over() {
  const int socket = connected(path);
  int ends[2], descriptor = -1;
  char room[128];
  if (socket < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return false;
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  send(socket, "TAKEOVER=1", ends[1]);
  close(ends[1]);
  close(socket);
  for (Text name; !(name = receive(ends[0], room, sizeof room - 1, descriptor, true)).empty();) {
    room[name.size()] = '\0';
    if (name == kSelf)
      listener = raised(descriptor);
    else if (name.starts_with(kChild))
      watch(std::atoi(room + sizeof kChild - 1), descriptor);
    else
      keep(name, descriptor);
  }
  close(ends[0]);
  if (listener < 0) fail("the keeper at this socket gives nothing away", "stop it first");
  return ready = true;
}

void listen_at_path() {
  char* const slash = std::strrchr(path, '/');
  if (slash != nullptr && slash != path) {
    *slash = '\0';
    if (mkdir(path, 0711) == 0) chmod(path, 0711);  // whatever the umask says: jobs pass through it
    *slash = '/';
  }
  listener = listening(path);
  if (listener < 0) fail(path, "choose another place with --socket");
  listener = raised(listener);
}

void read_arguments(int count, char** arguments) {
  const char* const home = geteuid() == 0 ? "/run" : std::getenv("XDG_RUNTIME_DIR");
  const char* place = nullptr;
  int at = 1;
  if (count > 2 && Text(arguments[1]) == "--socket") place = arguments[2], at = 3;
  if (at < count && Text(arguments[at]) == "--") ++at;
  const bool asked = at < count && Text(arguments[at]) == "--help";
  if (at >= count || arguments[at][0] == '-' || (place == nullptr && home == nullptr)) {
    dprintf(asked ? STDOUT_FILENO : STDERR_FILENO, "usage: mintfs-keeper [--socket PATH] -- mintfsd --config FILE\n");
    std::exit(asked ? 0 : 2);
  }
  const int size = place != nullptr ? std::snprintf(path, sizeof path, "%s", place)
                                    : std::snprintf(path, sizeof path, "%s/mintfs/keeper.sock", home);
  errno = ENAMETOOLONG;
  if (size >= static_cast<int>(sizeof path)) fail("the socket's path", "choose a shorter one with --socket");
  command = arguments + at;
  upper = std::getenv("NOTIFY_SOCKET");
}

}  // namespace

int main(int count, char** arguments) {
  read_arguments(count, arguments);
  // What it keeps opens repositories: no core dump, no debugger.
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // an upgraded mintfsd becomes our child
  sigset_t set;
  sigemptyset(&set);
  for (const int each : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR2}) sigaddset(&set, each);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals = raised(signalfd(-1, &set, SFD_CLOEXEC));
  if (!take_over()) listen_at_path();
  if (child < 0) start_child();

  while (!stopping || child >= 0) {
    pollfd waiting[] = {{.fd = listener, .events = POLLIN, .revents = 0},
                        {.fd = signals, .events = POLLIN, .revents = 0},
                        {.fd = child, .events = POLLIN, .revents = 0}};
    const long long left = restart_at == 0 ? -1 : std::max(0LL, restart_at - now());
    if (poll(waiting, 3, static_cast<int>(left)) < 0) continue;
    if (waiting[0].revents != 0)
      handle_message();  // first: what a process gave before it ended is kept
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
