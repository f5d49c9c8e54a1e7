#include "client/control_client.h"

#include "broker/config.h"
#include "broker/secret_json.h"

#include <boost/beast/http/error.hpp>
#include <boost/json.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace mintfs::client {
namespace {

namespace json = boost::json;

std::string to_sentence(const std::filesystem::path& socket, const boost::system::error_code& error) {
  const std::string name = socket.string();
  if (error.value() == ENOENT || error.value() == ECONNREFUSED)
    return "mintfsd is not running (nothing listens at " + name +
           "); start it with 'mintfsd --config FILE', or name its socket with --socket or MINTFS_SOCKET";
  if (error.value() == EACCES)
    return "you may not reach " + name + "; ask its administrator, or name another socket with --socket";
  return "cannot talk to mintfsd at " + name + ": " + error.message() + "; 'mintfs doctor' finds out more";
}

bool has_hung_up(const boost::system::error_code& error) {
  return error == boost::beast::http::error::end_of_stream || error.value() == ECONNRESET || error.value() == EPIPE;
}

constexpr char kUnreadable[] = "mintfsd's answer cannot be read; compare the versions with 'mintfs --version'";

json::object parse(const std::string& body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (error || !value.is_object()) throw Unreachable(kUnreadable);
  return value.get_object();
}

json::array array_of(const json::object& answer, std::string_view member) {
  const auto* value = answer.if_contains(member);
  return value != nullptr && value->is_array() ? value->get_array() : json::array();
}

std::string lease_path(std::string_view id) {
  const bool plain =
      std::all_of(id.begin(), id.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  if (id.empty() || !plain)
    throw Refused(404, "lease-closed", "This is not the id of a lease; 'mintfs lease list' shows those there are.");
  return "/v1/leases/" + std::string(id);
}

}  // namespace

HttpAnswer ControlClient::exchange(std::string_view method, std::string target, std::string body) const {
  try {
    const HttpRequest request{
        .method = std::string(method), .target = std::move(target), .body = std::move(body), .deadline = deadline_};
    try {
      return ask(socket_, request);
    } catch (const boost::system::system_error& failure) {
      // A daemon that was killed or upgraded right now; its successor listens on the same socket.
      if (!has_hung_up(failure.code())) throw;
      return ask(socket_, request);
    }
  } catch (const boost::system::system_error& failure) {
    if (failure.code().value() == ETIMEDOUT)
      throw Silent("mintfsd listens at " + socket_.string() + ", but has not answered for " +
                   std::to_string(deadline_.count()) + " s; restart it if that lasts");
    throw Unreachable(to_sentence(socket_, failure.code()));
  } catch (const ForeignServer& foreign) {
    throw Unreachable("what listens at " + socket_.string() + " belongs to user " + std::to_string(foreign.uid()) +
                      ", and only a mintfsd of root, of your own, or in a directory that root gave it is trusted; name "
                      "another socket with --socket");
  }
}

json::object ControlClient::call(std::string_view method, std::string target, std::string body) const {
  const HttpAnswer answer = exchange(method, std::move(target), std::move(body));
  if (answer.status == 204) return {};
  json::object object = parse(answer.body);
  if (answer.status < 200 || answer.status > 299)
    throw Refused(answer.status, text(object, "reason"), text(object, "detail"));
  return object;
}

// It may hold a pod's token.
json::object ControlClient::open_lease(const json::object& request) const {
  return call("POST", "/v1/leases", std::string(broker::serialize_secret(request).reveal()));
}

json::object ControlClient::call_lease(std::string_view method, std::string_view id) const try {
  return call(method, lease_path(id));
} catch (const Refused& refusal) {
  throw Refused(refusal.status(), refusal.reason(), std::string(id) + ": " + refusal.what());
}

void ControlClient::close_lease(std::string_view id) const { call_lease("DELETE", id); }

json::object ControlClient::renew_lease(std::string_view id, const json::object& renewal) const {
  return call("POST", lease_path(id) + "/renew", std::string(broker::serialize_secret(renewal).reveal()));
}

json::object ControlClient::show_lease(std::string_view id) const { return call_lease("GET", id); }

json::array ControlClient::list_leases() const { return array_of(call("GET", "/v1/leases"), "leases"); }

json::array ControlClient::list_connectors() const { return array_of(call("GET", "/v1/connectors"), "connectors"); }

json::object ControlClient::test_policy(const json::object& question) const {
  return call("POST", "/v1/policy/test", json::serialize(question));
}

std::optional<json::object> ControlClient::call_credentials(std::string_view lease, std::string_view verb,
                                                            const json::object& request) const {
  broker::Secret body = broker::serialize_secret(request);
  HttpAnswer answer =
      exchange("POST", lease_path(lease) + "/credentials/" + std::string(verb), std::string(body.reveal()));
  auto read = broker::parse_secret_json(answer.body);
  broker::wipe(answer.body);
  if (answer.status == 204) return std::nullopt;
  if (!read || !read->is_object()) throw Unreachable(kUnreadable);
  json::object object = std::move(read->get_object());
  if (answer.status != 200) throw Refused(answer.status, text(object, "reason"), text(object, "detail"));
  return object;
}

std::optional<json::object> ControlClient::get_credential(std::string_view lease, const json::object& wanted) const {
  return call_credentials(lease, "get", wanted);
}

void ControlClient::store_credential(std::string_view lease, const json::object& credential) const {
  call_credentials(lease, "store", credential);
}

void ControlClient::erase_credential(std::string_view lease, const json::object& which) const {
  call_credentials(lease, "erase", which);
}

std::optional<json::object> ControlClient::find_credential(std::string_view lease, const json::object& question) const {
  return call_credentials(lease, "place", question);
}

void ControlClient::hand_over_credentials(std::string_view from, std::string_view to) const {
  call_credentials(from, "hand-over", {{"to", json::string_view(to.data(), to.size())}});
}

json::object ControlClient::upgrade() const { return call("POST", "/v1/upgrade"); }

json::object ControlClient::status() const { return call("GET", "/v1/status"); }

std::filesystem::path default_socket() {
  if (const char* named = std::getenv("MINTFS_SOCKET"); named != nullptr && *named != '\0') return named;
  std::filesystem::path machine = "/run/mintfs/control.sock";
  const auto directory = broker::default_runtime_dir();
  if (directory.empty()) return machine;
  auto own = directory / "control.sock";
  std::error_code ignored;
  return !std::filesystem::exists(own, ignored) && std::filesystem::exists(machine, ignored) ? machine : own;
}

std::string text(const json::object& object, std::string_view member) {
  const auto* value = object.if_contains(json::string_view(member.data(), member.size()));
  if (value == nullptr) return {};
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

}  // namespace mintfs::client
