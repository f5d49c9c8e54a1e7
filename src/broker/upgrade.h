// The old daemon's part in an upgrade (broker/succession.h): it starts the next one, stops answering, and then
// leaves for good or, where the next one fails, serves on as if nothing had been.
#pragma once

#include "broker/broker.h"
#include "broker/credential_handover.h"
#include "broker/job_credentials.h"
#include "broker/service_manager.h"
#include "broker/succession.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <optional>
#include <set>
#include <string>

#include <sys/types.h>

namespace mintfs::broker {

// A daemon that can be succeeded. All on the thread of its context.
class Succeeded {
 public:
  virtual ~Succeeded() = default;
  // How the next one is started, and what it is given.
  virtual Successor::Start succession() = 0;
  // Answers nobody from here on, and closes nothing: whoever asks waits.
  virtual void pause() = 0;
  // Serves on after all. What it had the service manager keep may have been replaced meanwhile.
  virtual void resume() = 0;
  // `successor` serves: finishes what is under way and ends.
  virtual void leave(pid_t successor) = 0;
  // Does what a signal asks for.
  virtual void handle(int signal) = 0;
  // Something went wrong that stops nothing.
  virtual void warn(const std::string& sentence) = 0;
};

class Upgrade {
 public:
  Upgrade(boost::asio::io_context& context, Succeeded& daemon, ServiceManager& manager, Broker& broker,
          JobCredentials& credentials)
      : context_(context), daemon_(daemon), manager_(manager), broker_(broker), credentials_(credentials) {}

  // Whether one is under way, or is over and the successor serves.
  bool is_handing_over() const { return handing_over_; }
  // Keeps a signal for who serves then.
  void defer(int signal) { deferred_.insert(signal); }

  struct Outcome {
    pid_t successor = 0;       // who serves now; 0: the daemon that was there
    std::string failure = {};  // why; one sentence
  };
  // Not while one is under way.
  boost::asio::awaitable<Outcome> run();

  // The name under which a successor finds what jobs have stored.
  static constexpr char kCredentials[] = "job-credentials";

 private:
  Successor::Start start();
  boost::asio::awaitable<std::string> try_successor(Successor& next);
  void hand_over(Successor& next);
  void resume();

  boost::asio::io_context& context_;
  Succeeded& daemon_;
  ServiceManager& manager_;
  Broker& broker_;
  JobCredentials& credentials_;
  std::optional<CredentialHandover> credentials_under_way_;
  std::set<int> deferred_;
  bool handing_over_ = false;
};

}  // namespace mintfs::broker
