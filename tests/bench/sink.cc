// The two ends of a stream benchmark, which must never be what limits it: bodies are discarded inside the kernel
// (MSG_TRUNC: no copy to user space) or sent from one buffer.
//   sink get PORT PATH            GET from 127.0.0.1:PORT, discard the body
//   sink post PORT PATH BYTES     POST a body of BYTES that begins like a git push (one command, a flush, a pack)
//   sink serve PORT               the upstream of `post`: discards each request body, answers 200
// AUTHORIZATION in the environment is sent as that header. get and post print one JSON object: status, bytes,
// seconds, rate (MB/s, 10^6), or fail when the status is not 200 or the body is cut.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t buffer_size = 1 << 20;

struct Message {
  std::string head;
  long long length = 0;  // Content-Length
  long long early = 0;   // body bytes that came with the head
};

sockaddr_in loopback(const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) throw std::runtime_error("the peer stopped reading");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Reads one head; an empty one means that the peer closed.
Message receive_head(int fd) {
  Message message;
  std::vector<char> buffer(16 * 1024);
  size_t end = std::string::npos;
  while (end == std::string::npos) {
    const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n <= 0) return {};
    message.head.append(buffer.data(), static_cast<size_t>(n));
    end = message.head.find("\r\n\r\n");
  }
  message.early = static_cast<long long>(message.head.size() - end - 4);
  message.head.resize(end + 2);
  for (size_t at = 0; at < message.head.size(); at = message.head.find("\r\n", at) + 2)
    if (strncasecmp(message.head.c_str() + at, "content-length:", 15) == 0)
      message.length = std::atoll(message.head.c_str() + at + 15);
  return message;
}

void discard(int fd, long long bytes) {
  static std::vector<char> unused(buffer_size);
  while (bytes > 0) {
    const size_t wanted = std::min<size_t>(buffer_size, static_cast<size_t>(bytes));
    const ssize_t n = recv(fd, unused.data(), wanted, MSG_TRUNC);
    if (n <= 0) throw std::runtime_error("the body was cut");
    bytes -= n;
  }
}

// A push of one new branch as git frames it (gitprotocol-pack), so that a git-aware proxy can read its commands.
std::string push_head() {
  std::string command = std::string(40, '0') + ' ' + std::string(40, '1') + " refs/heads/bench";
  command += std::string(1, '\0') + " report-status\n";
  char length[5];
  std::snprintf(length, sizeof length, "%04zx", command.size() + 4);
  return length + command + "0000PACK";
}

int request(const std::string& method, const char* port, const std::string& path, long long bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect");

  std::string head = method + ' ' + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + port + "\r\n";
  if (const char* credential = std::getenv("AUTHORIZATION"))
    head += std::string{"Authorization: "} + credential + "\r\n";
  if (method == "POST")
    head += "Content-Type: application/x-git-receive-pack-request\r\nContent-Length: " + std::to_string(bytes) + "\r\n";
  head += "\r\n";

  const auto begin = std::chrono::steady_clock::now();
  send_all(fd, head);
  if (method == "POST") {
    std::string block = push_head();
    block.resize(buffer_size);
    for (long long left = bytes; left > 0;) {
      const size_t n = std::min<size_t>(block.size(), static_cast<size_t>(left));
      send_all(fd, std::string_view{block}.substr(0, n));
      if (left == bytes) std::fill(block.begin(), block.end(), 'x');
      left -= static_cast<long long>(n);
    }
  }
  const Message answer = receive_head(fd);
  const int status = answer.head.size() > 12 ? std::atoi(answer.head.c_str() + 9) : 0;
  discard(fd, answer.length - answer.early);
  const double seconds = std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count();
  const long long moved = method == "POST" ? bytes : answer.length;
  std::printf("{\"status\": %d, \"bytes\": %lld, \"seconds\": %.4f, \"rate\": %.1f}\n", status, moved, seconds,
              static_cast<double>(moved) / seconds / 1e6);
  return status == 200 ? 0 : 1;
}

int serve(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(listener, 64) != 0)
    throw std::runtime_error("cannot listen");
  std::signal(SIGCHLD, SIG_IGN);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    if (fork() == 0) {
      close(listener);
      for (Message message = receive_head(fd); !message.head.empty(); message = receive_head(fd)) {
        discard(fd, message.length - message.early);
        send_all(fd,
                 "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-receive-pack-result\r\n"
                 "Content-Length: 4\r\n\r\n0000");
      }
      _exit(0);
    }
    close(fd);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string act = argc > 1 ? argv[1] : "";
  try {
    if (act == "get" && argc == 4) return request("GET", argv[2], argv[3], 0);
    if (act == "post" && argc == 5) return request("POST", argv[2], argv[3], std::atoll(argv[4]));
    if (act == "serve" && argc == 3) return serve(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sink: %s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: sink get PORT PATH | sink post PORT PATH BYTES | sink serve PORT\n");
  return 2;
}
