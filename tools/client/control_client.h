// The control API as a C++ object: what tools know of the daemon.
//
// Blocking; each call is one connection. Answers are the daemon's JSON objects as docs/openapi.yaml
// describes them.
#pragma once

#include "client/http.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mintfs::client {

// The daemon could not be asked; what() names the socket and the next step.
class Unreachable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// It listens and did not answer in time.
class Silent : public Unreachable {
 public:
  using Unreachable::Unreachable;
};

// The daemon said no; what() is its sentence.
class Refused : public std::runtime_error {
 public:
  Refused(unsigned status, std::string reason, const std::string& detail)
      : std::runtime_error(detail), status_(status), reason_(std::move(reason)) {}
  unsigned status() const { return status_; }
  const std::string& reason() const { return reason_; }  // a reason word of broker/error.h

 private:
  unsigned status_;
  std::string reason_;
};

class ControlClient {
 public:
  static constexpr std::chrono::seconds kPatience{90};       // starting a successor takes a while
  static constexpr std::chrono::seconds kShortPatience{10};  // of who asks how it is

  explicit ControlClient(std::filesystem::path socket, std::chrono::seconds deadline = kPatience)
      : socket_(std::move(socket)), deadline_(deadline) {}

  // Each throws Unreachable or Refused.
  boost::json::object open_lease(const boost::json::object& request) const;
  void close_lease(std::string_view id) const;
  boost::json::object renew_lease(std::string_view id, const boost::json::object& renewal) const;
  boost::json::object show_lease(std::string_view id) const;
  boost::json::array list_leases() const;
  boost::json::array list_connectors() const;
  boost::json::object test_policy(const boost::json::object& question) const;
  // What a job stores, as git's credential protocol names it; get gives nothing where there is none.
  std::optional<boost::json::object> get_credential(std::string_view lease, const boost::json::object& wanted) const;
  void store_credential(std::string_view lease, const boost::json::object& credential) const;
  void erase_credential(std::string_view lease, const boost::json::object& which) const;
  // Where the machine's helper of this lease keeps it; nothing where mintfsd itself does.
  std::optional<boost::json::object> find_credential(std::string_view lease, const boost::json::object& question) const;
  void hand_over_credentials(std::string_view from, std::string_view to) const;
  boost::json::object status() const;
  boost::json::object upgrade() const;  // returns when the new daemon has lived through its trial

  const std::filesystem::path& socket() const { return socket_; }

 private:
  HttpAnswer exchange(std::string_view method, std::string target, std::string body) const;
  std::optional<boost::json::object> call_credentials(std::string_view lease, std::string_view verb,
                                                      const boost::json::object& request) const;
  boost::json::object call(std::string_view method, std::string target, std::string body = {}) const;
  boost::json::object call_lease(std::string_view method, std::string_view id) const;

  std::filesystem::path socket_;
  std::chrono::seconds deadline_;
};

// MINTFS_SOCKET, else the socket in the default runtime_dir, else (for a user without a daemon of
// their own) the machine's.
std::filesystem::path default_socket();

// A member of an answer as text; empty when it is not there.
std::string text(const boost::json::object& object, std::string_view member);

}  // namespace mintfs::client
