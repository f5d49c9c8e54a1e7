// A listening socket, open before anything else starts: a taken port is told at once, and the port that
// the system chose (port 0) is known before the first token names it.
#pragma once

#include "broker/config.h"

#include <string>
#include <vector>

namespace mintfs::proxy {

class Listener {
 public:
  // `inherited` are the listening sockets of a predecessor: one that listens there is used and taken out.
  // Throws std::runtime_error with one sentence.
  // `key` is the setting that says where, for the sentence.
  explicit Listener(broker::ListenAddress address, std::vector<int>* inherited = nullptr,
                    std::string key = "proxy.listen");
  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;

  const broker::ListenAddress& address() const { return address_; }  // with the port that was given
  std::string url() const;                                           // "http://127.0.0.1:8418"
  int family() const;                                                // AF_INET, AF_INET6 or AF_UNIX
  int release();                                                     // the descriptor, then the caller's

 private:
  bool adopt(int inherited);
  void open_tcp();
  void open_unix();

  broker::ListenAddress address_;
  std::string key_;
  int descriptor_ = -1;
};

// One for each address; what is left of `inherited` is closed.
std::vector<Listener> listen_on(const std::vector<broker::ListenAddress>& addresses, std::vector<int> inherited);

}  // namespace mintfs::proxy
