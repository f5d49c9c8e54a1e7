#include "broker/service_manager.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

// The other end: what a service manager hears.
class Manager {
 public:
  explicit Manager(const std::string& name) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    if (name[0] == '@') address.sun_path[0] = '\0';
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())),
              0);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Manager() {
    ::close(socket_);
    for (const char* name : {"NOTIFY_SOCKET", "FDSTORE", "MINTFS_KEEPER"}) unsetenv(name);
  }

  // The next message, or nothing; a descriptor that comes along is put into `given`.
  std::string heard(int* given = nullptr) {
    char text[256];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec part{.iov_base = text, .iov_len = sizeof text};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t size = recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    if (size < 0) return {};
    if (const cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr && given != nullptr)
      std::memcpy(given, CMSG_DATA(rights), sizeof *given);
    return {text, static_cast<std::size_t>(size)};
  }

 private:
  int socket_;
};

TEST(ServiceManager, IsToldByPathAndByAbstractName) {
  const test::TempDir directory;
  const std::string path = (directory.path() / "notify").string();
  for (const std::string& name : {path, "@" + path}) {
    Manager manager(name);
    const ServiceManager ours;
    EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr) << "no child takes it for its own";
    ours.notify("READY=1");
    EXPECT_EQ(manager.heard(), "READY=1") << name;
    EXPECT_FALSE(ours.keeps()) << "nobody said so";
  }
}

TEST(ServiceManager, ThatIsNotThereDoesNoHarm) {
  for (const std::string& name : {std::string("/nonexistent/notify"), std::string("relative"), std::string(200, '/')}) {
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    const ServiceManager ours;
    EXPECT_NO_THROW(ours.notify("READY=1"));
    EXPECT_NO_THROW(ours.keep("x", 0));
  }
  const ServiceManager ours;
  ours.notify("READY=1");
  ours.synchronise();
  EXPECT_TRUE(ours.environment().empty());
}

TEST(ServiceManager, IsGivenADescriptorInPlaceOfTheFormer) {
  const test::TempDir directory;
  Manager manager((directory.path() / "notify").string());
  setenv("FDSTORE", "16", 1);
  const ServiceManager ours;
  ASSERT_TRUE(ours.keeps());
  EXPECT_FALSE(ours.exchanges_init());
  const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ours.keep("proxy", file);
  EXPECT_EQ(manager.heard(), "FDSTOREREMOVE=1\nFDNAME=proxy");
  int given = -1;
  EXPECT_EQ(manager.heard(&given), "FDSTORE=1\nFDPOLL=0\nFDNAME=proxy");
  struct stat a, b;
  ASSERT_EQ(fstat(file, &a), 0);
  ASSERT_EQ(fstat(given, &b), 0);
  EXPECT_EQ(a.st_rdev, b.st_rdev);
  ours.forget("proxy");
  EXPECT_EQ(manager.heard(), "FDSTOREREMOVE=1\nFDNAME=proxy");
  ::close(file);
  ::close(given);
}

TEST(ServiceManager, IsWaitedForUntilItHasRead) {
  const test::TempDir directory;
  Manager manager((directory.path() / "notify").string());
  setenv("FDSTORE", "16", 1);
  const ServiceManager ours;
  std::thread waiting([&] { ours.synchronise(); });
  int barrier = -1;
  while (manager.heard(&barrier).empty()) std::this_thread::yield();
  ::close(barrier);
  waiting.join();  // it would take five seconds otherwise
}

TEST(ServiceManager, GivesWhatItKeptByName) {
  int status = 0;
  const pid_t child = fork();  // descriptors from 3 on are spoken for, here
  if (child == 0) {
    const int a = open("/dev/null", O_RDONLY), b = open("/dev/zero", O_RDONLY);
    if (dup2(a, 53) < 0 || dup2(b, 54) < 0 || dup2(53, 3) < 0 || dup2(54, 4) < 0) _exit(1);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "fuse:view", 1);
    ServiceManager ours;
    if (std::getenv("LISTEN_FDS") != nullptr) _exit(2);
    if (ours.take("view") != 4 || ours.take("view") != -1 || ours.take("proxy") != -1 || ours.take("fuse") != 3)
      _exit(3);
    _exit((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 ? 0 : 4);
  }
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ServiceManager, KeptForAnotherProcessIsNotTaken) {
  setenv("LISTEN_PID", "1", 1);
  setenv("LISTEN_FDS", "1", 1);
  setenv("LISTEN_FDNAMES", "fuse", 1);
  ServiceManager ours;
  EXPECT_EQ(ours.take("fuse"), -1);
}

TEST(ServiceManager, IsHandedOnToASuccessor) {
  const test::TempDir directory;
  const Manager manager((directory.path() / "notify").string());
  setenv("FDSTORE", "32", 1);
  setenv("MINTFS_KEEPER", "1", 1);
  const ServiceManager ours;
  EXPECT_TRUE(ours.exchanges_init());
  EXPECT_EQ(ours.environment(), (std::vector<std::string>{"NOTIFY_SOCKET=" + (directory.path() / "notify").string(),
                                                          "FDSTORE=32", "MINTFS_KEEPER=1"}));
}

}  // namespace
}  // namespace mintfs::broker
