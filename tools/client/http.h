// One HTTP/1.1 request and its answer, over a Unix socket or TCP, on a connection of its own.
//
// Blocking, with a deadline for the whole of it. Failures to connect, write or read throw
// boost::system::system_error; an answer of any status is an answer.
#pragma once

#include "broker/config.h"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <sys/types.h>

namespace mintfs::client {

struct HttpRequest {
  std::string method = "GET";
  std::string target;
  std::string authorization{};      // the header's value; empty: none
  std::string body{};               // sent as JSON when not empty
  std::filesystem::path ca_file{};  // https only: the authorities to trust; empty: the system's
  std::chrono::seconds deadline{20};
  std::size_t answer_size = 64 * 1024 * 1024;  // an answer is cut behind this many bytes
};

struct HttpAnswer {
  unsigned status = 0;
  std::string body;
};

// Somebody else's process listens at the socket.
class ForeignServer : public std::runtime_error {
 public:
  explicit ForeignServer(uid_t uid)
      : std::runtime_error("the server belongs to user " + std::to_string(uid)), uid_(uid) {}
  uid_t uid() const { return uid_; }

 private:
  uid_t uid_;
};

// Over a Unix socket, to a server of root, of this process's own user, or of a user to whom root gave the
// socket's directory: whoever else listens there could hand the caller anything. Throws ForeignServer before a byte is
// sent.
HttpAnswer ask(const std::filesystem::path& socket, const HttpRequest& request);
// http or https; certificate and name are verified.
HttpAnswer ask(const broker::Address& server, const HttpRequest& request);

// Throws when no TCP connection comes about.
void try_connect(const broker::Address& server, std::chrono::seconds deadline);

}  // namespace mintfs::client
