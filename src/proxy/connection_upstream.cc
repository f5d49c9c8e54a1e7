// The upstream's half of Connection: sends the request on, and brings the answer back.
#include "proxy/cargo_index.h"
#include "proxy/connection.h"
#include "proxy/lfs.h"
#include "proxy/links.h"
#include "proxy/redirect.h"
#include "proxy/services/service.h"
#include "proxy/worker.h"

#include <spdlog/logger.h>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <array>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using Kind = BodyFraming::Kind;

constexpr int kMaxRedirects = 5;
constexpr int kMaxInterim = 8;
constexpr std::size_t kMaxWhole = kMaxBatch;  // bytes of an answer that is read whole

// Whether a registry may want another credential than the stored one.
bool has_token_service(const broker::ConnectorConfig& connector) {
  return broker::serves_oci(connector.connector_class) && connector.auth.type == broker::AuthConfig::Type::basic;
}

bool is_redirect(unsigned status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

Awaitable<bool> Connection::forward(BodySource& body) {
  // What can be sent again, after a stale connection or to where a redirect leads.
  const bool replayable =
      request_.framing.kind == Kind::none && (request_.method == Method::get || request_.method == Method::head);
  const bool advertise = git_.kind == ServiceRequest::Kind::advertise;
  const std::string base(advertise ? git_.base : std::string_view());
  if (const Errc error = advertise ? Errc{} : follow_move(); error != Errc{})
    co_return co_await refuse(error, detail_of(error), &body);
  bool fresh = false;
  for (int hop = 0; hop <= kMaxRedirects;) {
    const std::string connector = grant_->connector().name.text();
    if (cut_) co_return co_await refuse(Errc::lease_closed, {}, &body);
    if (aborted_) co_return false;
    if (const Errc error = choose_upstream(); error != Errc{}) co_return co_await refuse(error, connector, &body);
    Errc failure{};
    if (has_token_service(grant_->connector())) failure = co_await choose_registry_credential();
    if (cut_) failure = Errc::lease_closed;  // with the last bytes that it waited for: cut() comes once
    if (failure == Errc{}) failure = co_await connect(fresh);
    if (failure == Errc{}) {
      failure = co_await exchange(body);
      // A kept connection that the server had closed already: the request never reached it.
      if (failure == Errc::upstream_unreachable && replayable && upstream_->reused && !upstream_->aborted &&
          upstream_->in.filled().empty() && !fresh) {
        fresh = true;
        continue;
      }
    }
    if (failure == Errc::upstream_refused) worker_.registry_tokens().forget(grant_->connector());
    if (cut_) failure = Errc::lease_closed;
    if (answered_ && advertise && hop == 0) worker_.shared().moves.forget(grant_->connector(), base);
    if (answered_) co_return failure == Errc{};
    if (failure != Errc{}) {
      if (failure != Errc::lease_closed && worker_.may_tell(connector, failure))
        worker_.shared().log.warn("connector '{}': {}", connector, broker::reason_word(failure));
      co_return co_await refuse(failure, connector, &body);
    }
    if (may_be_handed_on()) {
      failure = co_await answer(body);
      if (answered_) co_return failure == Errc{};
      co_return co_await refuse(failure, connector, &body);
    }
    // A batch is kept, and asks the same wherever it is sent; 303 would have it asked with GET.
    const bool resendable = replayable || (git_.kind == ServiceRequest::Kind::lfs_batch && response_.status != 303);
    if (!resendable || !follow_redirect()) co_return co_await refuse(Errc::upstream_redirect, connector, &body);
    if (const Errc error = authorize(); error != Errc{}) co_return co_await refuse(error, detail_of(error), &body);
    if (advertise) worker_.shared().moves.learn(grant_->connector(), base, git_.base, worker_.now());
    ++hop;
  }
  co_return co_await refuse(Errc::upstream_redirect, grant_->connector().name.text(), &body);
}

// Origin and credential always belong to the very connector that the grant names.
Errc Connection::choose_upstream() {
  credential_ = worker_.shared().credentials.find(grant_->connector());
  if (!credential_) return Errc::connector_unknown;
  try {
    origin_ = worker_.upstream_for(*grant_, counts_);
  } catch (const std::exception& error) {
    if (worker_.may_tell(grant_->connector().name.text(), Errc::upstream_untrusted))
      worker_.shared().log.error("{}", error.what());
    return Errc::upstream_untrusted;
  }
  return Errc{};
}

Awaitable<Errc> Connection::connect(bool fresh) {
  if (!fresh) upstream_ = origin_->take_idle();
  if (!fresh && upstream_) co_return Errc{};
  upstream_ = std::make_unique<UpstreamConnection>(client_.socket().get_executor());
  const auto timeout = worker_.shared().config.connect_timeout;
  wait_for(Wait::upstream, timeout);
  const Errc error = co_await origin_->connect(*upstream_, worker_.now(), timeout);
  wait_ = Wait::nothing;
  co_return timed_out_ ? Errc::upstream_timeout : error;
}

// Sends the request and handles the answer. Errc{} with !answered_ means: a redirect was read.
Awaitable<Errc> Connection::exchange(BodySource& body) {
  using namespace asio::experimental::awaitable_operators;
  const auto& address = grant_->connector().address;
  const std::string authority = address.authority();
  const bool batch = git_.kind == ServiceRequest::Kind::lfs_batch;
  // What was kept is the whole body, or will be given out once more in front of the rest.
  const bool whole = !kept_.empty() && body.done();
  const BodyFraming framing = whole ? BodyFraming{Kind::length, kept_.size()} : request_.framing;
  write_request_head(request_,
                     Outgoing{.method = request_.method_text,
                              .prefix = address.prefix,
                              .path = routed_.target.path,
                              .folded = routed_.target.folded,
                              .query = routed_.target.query,
                              .has_query = routed_.target.has_query,
                              .authority = authority,
                              .framing = framing,
                              .identity_only = batch || changes_body(git_.links)},
                     out_);
  if (body.done()) {
    const std::string_view secret = credential_->line_for(git_.kind == ServiceRequest::Kind::other).reveal();
    const std::array<asio::const_buffer, 4> parts{
        asio::const_buffer(out_.data(), out_.size()), asio::const_buffer(secret.data(), secret.size()),
        asio::const_buffer("\r\n", 2), asio::const_buffer(kept_.data(), kept_.size())};
    wait_for(Wait::upstream, worker_.shared().config.upstream_timeout);
    if (co_await upstream_->stream.write(parts)) co_return blame_upstream();
    sent_ = true;
    co_return co_await receive(body);
  }
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  if (!co_await invite_body()) co_return Errc::request_timeout;
  // The server may answer before it has read everything, and go on reading: both at once.
  auto [sent, failure] = co_await (send(body) && receive(body));
  if (answered_) co_return failure;
  if (client_failed_) co_return Errc::request_malformed;
  // Neither side moved in time: whose turn it was is whom to blame.
  if (timed_out_ && failure == Errc::upstream_timeout && sent == RelayEnd::source_failed)
    co_return Errc::request_timeout;
  co_return failure;
}

Awaitable<RelayEnd> Connection::send(BodySource& body) {
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  Relay relay{.source = body,
              .sink = upstream_->stream,
              .buffers = worker_.buffers(),
              .chunked = request_.framing.kind == Kind::chunked,
              .filter = nullptr,
              .may_go_on = [this] { return !timed_out_ && !upstream_->aborted; }};
  const RelayEnd end =
      co_await relay.run({out_, credential_->line_for(git_.kind == ServiceRequest::Kind::other).reveal(), "\r\n"});
  if (end == RelayEnd::complete) {
    sent_ = true;
    if (!answered_) wait_for(Wait::upstream, worker_.shared().config.upstream_timeout);
  }
  if (end == RelayEnd::source_failed) {
    client_failed_ = !timed_out_ && !upstream_->aborted;
    upstream_->abort();  // half a request must not be taken for a whole one
  }
  co_return end;
}

Errc Connection::blame_upstream() const {
  if (cut_) return Errc::lease_closed;
  return timed_out_ ? Errc::upstream_timeout : Errc::upstream_unreachable;
}

Awaitable<Errc> Connection::receive_head(Method method) {
  auto& in = upstream_->in;
  for (int interim = 0; interim < kMaxInterim; ++interim) {
    std::size_t from = 0;
    std::size_t end = 0;
    while ((end = find_header_end(in.filled(), from)) == std::string_view::npos) {
      if (in.filled().size() > kMaxHeaderSection) co_return Errc::upstream_malformed;
      const Transfer read = co_await upstream_->stream.read_some(in.room());
      if (read.error) co_return in.filled().empty() || timed_out_ || cut_ ? blame_upstream() : Errc::upstream_malformed;
      in.commit(read.size);
    }
    if (parse_response(in.filled().substr(0, end), method, response_)) co_return Errc::upstream_malformed;
    if (response_.status >= 200) {
      response_size_ = end;
      co_return Errc{};
    }
    in.consume(end);
  }
  co_return Errc::upstream_malformed;
}

Awaitable<Errc> Connection::receive(BodySource& body) {
  Errc failure = co_await receive_head(request_.method);
  if (failure == Errc{}) {
    if (response_.status == 401 || response_.status == 403) {
      failure = Errc::upstream_refused;
    } else if (is_redirect(response_.status)) {
      // Left to the caller: the new place must be authorized first.
    } else if (is_read_whole()) {
      failure = co_await answer_whole();
    } else {
      failure = co_await answer(body);
    }
  }
  if (!sent_) {
    // The rest of the request is of no use to anybody.
    upstream_->abort();
    wait_for(Wait::body, std::chrono::seconds(1));  // the tick cancels again what this may miss
    client_.cancel();
  }
  co_return failure;
}

Awaitable<Errc> Connection::answer(BodySource& body) {
  auto& in = upstream_->in;
  const bool page = response_.status / 100 != 2;  // an error or the like, which may echo the request
  std::string location;
  if (const Errc failure = point_fields(location); failure != Errc{}) co_return failure;
  std::unique_ptr<BodyFilter> filter = page ? std::make_unique<Scrubber>(credential_->patterns) : filter_of_links();
  const bool rewritten = !page && filter != nullptr;
  if (rewritten && count_fields(response_.fields, FieldId::content_encoding) > 0) co_return Errc::upstream_malformed;
  BodySource source(upstream_->stream, in.filled_bytes().subspan(response_size_), response_.framing,
                    ChunkedDecoder::Side::response);
  BodyFraming relayed = response_.framing;
  if (rewritten && relayed.kind == Kind::length) relayed = {Kind::chunked, 0};
  if (relayed.kind == Kind::chunked && request_.version_minor == 0) relayed = {Kind::until_close, 0};
  if (relayed.kind == Kind::until_close && request_.version_minor == 1) relayed = {Kind::chunked, 0};
  // What cannot be read cannot be scrubbed.
  const bool unreadable = page && relayed.kind != Kind::none && std::erase_if(response_.fields, [](const Field& field) {
                            return field.id == FieldId::content_encoding;
                          });
  if (unreadable) relayed = {Kind::length, 0};

  const bool reusable = request_.keep_alive && relayed.kind != Kind::until_close && !closing_ && (sent_ || body.done());
  std::string head;
  write_response_head(response_, relayed, reusable, request_, head, location);
  credential_->patterns.scrub(head);
  if (!reusable) closing_ = true;

  answered_ = true;
  // Its end is the end of the connection: however that breaks, it must not look like one.
  if (relayed.kind == Kind::until_close) client_.reset_when_closed(true);
  if (sent_) wait_for(Wait::body, worker_.shared().config.body_timeout);
  if (unreadable) {
    const std::array<asio::const_buffer, 1> parts{asio::const_buffer(head.data(), head.size())};
    const bool failed = static_cast<bool>(co_await client_.write(parts));
    co_return failed ? Errc::request_timeout : Errc{};
  }
  Relay relay{.source = source,
              .sink = client_,
              .buffers = worker_.buffers(),
              .chunked = relayed.kind == Kind::chunked,
              .filter = filter.get(),
              .may_go_on = [this] { return !timed_out_ && !cut_; }};
  const RelayEnd end = co_await relay.run({head, {}, {}});
  wait_ = Wait::nothing;
  if (end != RelayEnd::complete) {
    client_.abort();  // the client must not take this for the whole answer
    if (end == RelayEnd::source_failed && !timed_out_ && !cut_ && !aborted_ && !client_failed_)
      failure_ = Errc::upstream_malformed;
    co_return Errc::upstream_malformed;
  }
  if (relayed.kind == Kind::until_close) client_.reset_when_closed(false);
  put_upstream_back(source);
  co_return Errc{};
}

// For the next request, where nothing of this exchange is left on it. `source` has given the answer's body.
void Connection::put_upstream_back(BodySource& source) {
  auto& in = upstream_->in;
  if (!response_.keep_alive || !sent_ || upstream_->aborted || !source.surplus().empty() ||
      in.filled().size() != response_size_ + source.used())
    return;
  in.consume(response_size_ + source.used());
  origin_->put_back(std::move(upstream_), worker_.now());
  upstream_ = nullptr;
}

// What cannot be pointed to this proxy piece by piece; it is small.
bool Connection::is_read_whole() const {
  if (response_.status / 100 != 2) return false;
  if (git_.kind == ServiceRequest::Kind::lfs_batch) return true;
  return git_.links == Links::cargo && request_.method == Method::get && response_.framing.kind != Kind::none;
}

boost::system::error_code Connection::rewrite_whole(std::string_view json, std::string& out) const {
  const auto& connector = grant_->connector();
  if (git_.links == Links::cargo)
    return rewrite_index_config(json, connector.address, routed_.target.path, own_base(), out);
  return rewrite_batch(json, connector.address, connector.lfs_origins, own_base(), credential_->patterns, out);
}

Awaitable<Errc> Connection::answer_whole() {
  if (count_fields(response_.fields, FieldId::content_encoding) > 0) co_return Errc::upstream_malformed;
  auto& in = upstream_->in;
  BodySource source(upstream_->stream, in.filled_bytes().subspan(response_size_), response_.framing,
                    ChunkedDecoder::Side::response);
  std::span<char> payload;
  if (source.take_buffered(payload)) co_return Errc::upstream_malformed;
  std::string json(payload.data(), payload.size());
  RelayBuffer buffer(worker_.buffers());
  while (!source.done()) {
    const BodySource::Piece piece = co_await source.next(buffer.room());
    if (piece.error) co_return blame_upstream();
    json.append(piece.payload.data(), piece.payload.size());
    if (json.size() > kMaxWhole) co_return Errc::upstream_malformed;
  }
  std::string rewritten;
  if (const auto error = rewrite_whole(json, rewritten)) co_return broker::to_errc(error);
  const bool reusable = request_.keep_alive && !closing_;
  std::string head;
  write_response_head(response_, {Kind::length, rewritten.size()}, reusable, request_, head);
  credential_->patterns.scrub(head);
  if (!reusable) closing_ = true;
  answered_ = true;
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  const std::array<asio::const_buffer, 2> parts{asio::const_buffer(head.data(), head.size()),
                                                asio::const_buffer(rewritten.data(), rewritten.size())};
  if (co_await client_.write(parts)) co_return Errc::request_timeout;
  wait_ = Wait::nothing;
  put_upstream_back(source);
  co_return Errc{};
}

// Points the request to where the upstream's redirect leads, when that is the same origin.
bool Connection::follow_redirect() {
  const auto location = single_value(response_.fields, FieldId::location);
  if (!location) return false;
  auto target = resolve_redirect(grant_->connector().address, routed_.target.path, *location);
  return target && point_to(std::move(*target));
}

// Points the request to where its repository has moved, when that is known; a request of info/refs
// asks the server itself.
Errc Connection::follow_move() {
  if (!git_.repository_known()) return Errc{};
  auto target = worker_.shared().moves.find(grant_->connector(), git_.base, worker_.now());
  if (!target) return Errc{};
  target->append(routed_.target.path, git_.base.size());
  if (routed_.target.has_query) target->append("?").append(routed_.target.query);
  return point_to(std::move(*target)) ? authorize() : Errc::upstream_redirect;
}

// The path is a new one, so it is told anew what it asks for, and the caller has it authorized. It
// must be the same kind of thing: a login page is not what was asked for.
bool Connection::point_to(std::string target) {
  redirect_ = std::move(target);
  const ServiceRequest before = git_;
  if (parse_target(redirect_, routed_.target) || classify(grant_->connector(), request_.method, routed_.target, git_))
    return false;
  if (git_.kind == ServiceRequest::Kind::lfs_batch) git_.operation = before.operation;  // its body says so
  if (before.links == Links::cargo) git_.links = Links::cargo;  // the client reads it as what it asked for
  return git_.kind == before.kind;
}

}  // namespace mintfs::proxy
