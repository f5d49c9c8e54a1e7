// One daemon hands over to the next without a gap: what both say to each other.
//
//   old                              new
//   starts it, with descriptors      reads the configuration, keys and secrets: all that can fail
//                       <-- prepared
//   stops answering     --> go
//                                    takes over leases, view, proxy and control socket
//                       <-- serving
//   watches it for a trial time; then finishes its relays and ends
//
// They are the two ends of a socket pair; a message is one packet. Until the trial is over the old daemon
// keeps everything it needs to serve again: a new one that ends, or does not get on in time, is killed and
// has changed nothing but what it did as a daemon (leases opened and closed, audit lines).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace mintfs::broker {

// The old daemon's side. All on the thread of its context.
class Successor {
 public:
  struct Start {
    std::string program;
    std::vector<std::string> arguments;    // from argv[0] on
    std::vector<std::string> environment;  // besides our own
    std::vector<std::pair<std::string, int>> descriptors;
  };
  // Throws std::system_error when it cannot be started.
  Successor(boost::asio::io_context& context, const Start& start);
  // Kills it unless it was let go.
  ~Successor();
  Successor(const Successor&) = delete;
  Successor& operator=(const Successor&) = delete;

  pid_t pid() const { return pid_; }

  // Empty when it said `word` in time; otherwise a sentence that says why not.
  boost::asio::awaitable<std::string> expect(std::string_view word, std::chrono::seconds patience);
  // Empty when it lives on all the time.
  boost::asio::awaitable<std::string> survives(std::chrono::milliseconds trial);
  void tell(std::string_view word);
  // Ends it, and returns when it has ended.
  void kill();
  // The trial is over: from here on it stands on its own.
  void let_go();

 private:
  boost::asio::awaitable<std::pair<bool, std::string>> receive(std::chrono::milliseconds patience);

  boost::asio::posix::stream_descriptor channel_;
  pid_t pid_ = 0;
};

// The new daemon's side: blocking, before its context runs.
class Predecessor {
 public:
  // `channel` is what it was given under the name kChannel; -1: there is no predecessor, and every call
  // does nothing.
  explicit Predecessor(int channel) : channel_(channel) {}
  ~Predecessor();
  Predecessor(const Predecessor&) = delete;
  Predecessor& operator=(const Predecessor&) = delete;

  bool exists() const { return channel_ >= 0; }
  // Readable once the trial is over: the predecessor is done with us, or has ended.
  int channel() const { return channel_; }
  // Whether there is one and the trial is not over: it may go on with all that it gave us.
  bool watches() const noexcept;
  void tell(std::string_view word) const noexcept;
  // Waits for `word`. A predecessor that has ended says everything.
  void expect(std::string_view word) const;

  static constexpr std::string_view kChannel = "successor";

 private:
  int channel_;
};

inline constexpr std::string_view kPrepared = "prepared", kGo = "go", kServing = "serving";
// Followed by the sentence with which the new daemon ends.
inline constexpr std::string_view kFailed = "failed ";

}  // namespace mintfs::broker
