// What the control API answers to one request, apart from how requests come in (control.h).
//
// Every decision about a lease is the broker's; this is its HTTP edge: routes, JSON, status codes.
#pragma once

#include "broker/broker.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mintfs::broker {

struct ControlRequest {
  std::string_view method;
  std::string_view target;
  std::string_view body;
};

struct ControlAnswer {
  unsigned status = 200;
  std::string body{};          // JSON; empty with 204
  bool problem = false;        // the body is a problem document
  std::string_view allow{};    // the Allow header of a 405
  std::string opened_lease{};  // id; to be closed again when the answer cannot be delivered
};

class CredentialApi;
class HelperStores;
class JobCredentials;

class ControlApi {
 public:
  // What GET /v1/status adds to what the broker itself knows; a JSON object as text.
  using Status = std::function<std::string()>;

  ControlApi(Broker& broker, std::filesystem::path mount, Status status);
  ~ControlApi();

  // From here on there are the routes for what jobs store. Both outlive this object.
  void serve_credentials(JobCredentials& credentials, HelperStores& stores);

  ControlAnswer answer(const Caller& caller, const ControlRequest& request);

  // The answer to what does not get as far as a route; also what every error above becomes.
  static ControlAnswer refuse(Errc error, std::string_view detail = {});
  // All connections are taken, by whomever.
  static ControlAnswer unavailable();

 private:
  ControlAnswer open_lease(const Caller& caller, std::string_view body);
  ControlAnswer list_leases(const Caller& caller);
  ControlAnswer show_lease(const Caller& caller, std::string_view id);
  ControlAnswer close_lease(const Caller& caller, std::string_view id);
  ControlAnswer renew_lease(const Caller& caller, std::string_view id, std::string_view body);
  ControlAnswer list_connectors(const Caller& caller);
  ControlAnswer test_policy(const Caller& caller, std::string_view body);
  ControlAnswer status();

  ControlAnswer answer_credentials(const Caller& caller, std::string_view rest, const ControlRequest& request);

  Broker& broker_;
  std::unique_ptr<CredentialApi> credentials_;
  std::filesystem::path mount_;
  Status status_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

// The HTTP status of an error at this edge.
unsigned to_http_status(Errc error) noexcept;

}  // namespace mintfs::broker
