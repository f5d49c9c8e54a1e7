// One client connection: reads a request, has it checked, relays it, answers; again until either
// side closes.
//
// The order is what makes it a boundary: the head is checked strictly, the path brought into its
// one form, the git operation told, the token redeemed for exactly that; only a Grant leads to the
// upstream. Whatever fails before the upstream's answer has begun becomes a text/plain answer;
// after that the connection is cut, so that half an answer is never taken for a whole one.
#pragma once

#include "broker/broker.h"
#include "proxy/asio.h"
#include "proxy/body.h"
#include "proxy/credentials/credential.h"
#include "proxy/head_buffer.h"
#include "proxy/kept_bytes.h"
#include "proxy/path.h"
#include "proxy/receive_pack.h"
#include "proxy/registry_challenge.h"
#include "proxy/relay.h"
#include "proxy/request.h"
#include "proxy/response.h"
#include "proxy/rewrite.h"
#include "proxy/service_request.h"
#include "proxy/stream.h"
#include "proxy/traffic.h"
#include "proxy/upstream_pool.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mintfs::proxy {

class Worker;

class Connection {
 public:
  Connection(Worker& worker, Socket socket, bool tls);

  Awaitable<void> run();

  // From the worker's thread, between two steps of run():
  void tick(SteadyTime now);             // ends what has waited too long
  void cut(const broker::Lease& lease);  // ends a request of this lease
  void drain();                          // ends it now when idle, after this request otherwise
  void abort();                          // ends it now
  // For the one that must make room for another: who never showed a good token may go in any state,
  // others only while no request is under way, the head of the next one included.
  bool is_evictable() const { return !aborted_ && (!trusted_ || wait_ == Wait::request || wait_ == Wait::head); }
  bool is_trusted() const { return trusted_; }  // a good token was shown on it
  uid_t user() const { return user_; }          // whose lease the last good token belonged to

 private:
  // What run() waits for; tells what to end when it takes too long.
  enum class Wait : std::uint8_t { nothing, request, head, body, upstream };

  void wait_for(Wait what, std::chrono::seconds bound);
  void mark();
  bool progressed();

  Awaitable<bool> greet();
  Awaitable<bool> read_head();
  Awaitable<bool> serve(BodySource& body);
  broker::Errc tell(const broker::ConnectorConfig& connector);
  broker::Errc tell_and_authorize();
  Awaitable<bool> serve_registry_root(BodySource& body);
  bool must_ask_for_password();
  Awaitable<bool> ask_for_password(BodySource& body);
  Awaitable<broker::Errc> keep(BodySource& body, const std::function<broker::Result<bool>()>& look);
  Awaitable<broker::Errc> read_batch(BodySource& body);
  Awaitable<bool> serve_push(BodySource& body);
  Awaitable<broker::Errc> read_push(BodySource& body, PushReader& push);
  Awaitable<bool> refuse_push(BodySource& body, const PushReader& push, std::span<const broker::Decision> decisions);
  Awaitable<broker::Errc> swallow(BodySource& body);
  Awaitable<bool> invite_body();
  std::string_view detail_of(broker::Errc error) const;
  broker::Access access() const;
  void decode_authorization();
  broker::Errc authorize(bool undecided = false);
  Awaitable<bool> forward(BodySource& body);
  broker::Errc choose_upstream();
  Awaitable<broker::Errc> connect(bool fresh);
  Awaitable<broker::Errc> exchange(BodySource& body);
  Awaitable<RelayEnd> send(BodySource& body);
  Awaitable<broker::Errc> receive_head(Method method);
  Awaitable<broker::Errc> ask_registry(Upstream& upstream, const broker::Address& address, std::string target,
                                       std::string_view secret, std::string& body);
  Awaitable<broker::Errc> choose_registry_credential();
  Awaitable<broker::Errc> ask_token_service(TokenRealm realm, std::string scope);
  Awaitable<broker::Errc> receive(BodySource& body);
  Awaitable<broker::Errc> answer(BodySource& body);
  bool is_read_whole() const;
  Awaitable<broker::Errc> answer_whole();
  void put_upstream_back(BodySource& source);
  boost::system::error_code rewrite_whole(std::string_view json, std::string& out) const;
  bool may_be_handed_on() const;
  std::unique_ptr<BodyFilter> filter_of_links() const;
  broker::Errc point_fields(std::string& location);
  std::string own_base() const;
  Awaitable<bool> refuse(broker::Errc code, std::string_view detail, const BodySource* body);
  Awaitable<void> linger();
  void count_bytes();
  void count_request(SteadyTime began);

  bool follow_redirect();
  broker::Errc follow_move();
  bool point_to(std::string target);
  broker::Errc blame_upstream() const;
  std::string_view token() const;

  Worker& worker_;
  Stream client_;
  const bool tls_;
  const broker::ClientOrigin client_origin_;
  HeadBuffer in_;
  std::size_t head_size_ = 0;
  Wait wait_ = Wait::request;
  SteadyTime deadline_;
  // What had been moved when the time that deadline_ ends began; see progressed().
  struct Mark {
    std::uint64_t client_received = 0;
    std::uint64_t client_taken = 0;
    std::uint64_t upstream_received = 0;
    std::uint64_t upstream_taken = 0;
  };
  Mark mark_;
  bool timed_out_ = false;
  bool closing_ = false;  // no request after this one
  bool aborted_ = false;  // ended by abort(): nothing new may begin
  bool cut_ = false;      // the lease was closed
  bool trusted_ = false;  // a good token was shown on this connection
  uid_t user_ = 0;        // of the last one's lease
  broker::VerifiedToken last_token_;

  // The request under way; reused by the next.
  RequestHead request_;
  Routed routed_;
  ServiceRequest git_;
  std::string kept_;              // of the body: an LFS batch, the beginning of a push
  KeptBytes::Share share_;        // of what all requests keep
  std::string redirect_;          // target of the redirect that is followed
  std::string basic_;             // decoded Basic credentials: ":" and the token; wiped
  std::string_view token_field_;  // the token where it came in a field of the class's own
  std::string link_;              // of the answer's field Link, pointed to the proxy
  std::optional<broker::Grant> grant_;
  std::shared_ptr<Upstream> origin_;
  CredentialPtr credential_;
  std::unique_ptr<UpstreamConnection> upstream_;
  ResponseHead response_;
  std::size_t response_size_ = 0;  // of its header section
  std::string out_;
  bool sent_ = false;                  // the whole request has left
  bool client_failed_ = false;         // the client, not the upstream, ended the request's body
  bool answered_ = false;              // the answer's head has left
  bool audited_ = false;               // the broker has refused it, and written that down
  ConnectorCounts* counts_ = nullptr;  // of the connector, from when its upstream is asked
  broker::Errc failure_{};             // what it was refused for, or how the upstream broke off
  std::uint64_t counted_received_ = 0;
  std::uint64_t counted_sent_ = 0;
};

}  // namespace mintfs::proxy
