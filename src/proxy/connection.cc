#include "proxy/connection.h"

#include "broker/encoding.h"
#include "proxy/git_service.h"
#include "proxy/lfs.h"
#include "proxy/services/service.h"
#include "proxy/worker.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using Kind = BodyFraming::Kind;

constexpr std::uint64_t kLeastProgress = 1024;  // bytes per body_timeout
constexpr std::size_t kMaxLinger = 4 * 1024 * 1024;
constexpr std::chrono::seconds kLingerTime{5};

// Counts the requests under way of one lease and of one user, over all workers. A user may have a
// quarter of all connections busy, however many leases.
class LeaseSlot {
 public:
  LeaseSlot(Shared& shared, const broker::Lease& lease) : shared_(shared), serial_(lease.serial), uid_(lease.uid) {
    auto counts = shared_.requests.lock();
    of_lease_ = &counts->by_lease[serial_];
    of_user_ = &counts->by_user[uid_];
    const auto& config = shared_.config;
    admitted_ = *of_lease_ < config.max_per_lease && *of_user_ < std::max(1U, config.max_connections / 4);
    *of_lease_ += 1;
    *of_user_ += 1;
  }
  // Who has just asked is likely to ask again: a count of zero goes when there are many.
  ~LeaseSlot() {
    auto counts = shared_.requests.lock();
    if (--*of_lease_ == 0 && counts->by_lease.size() > kKept) counts->by_lease.erase(serial_);
    if (--*of_user_ == 0 && counts->by_user.size() > kKept) counts->by_user.erase(uid_);
  }
  LeaseSlot(const LeaseSlot&) = delete;
  LeaseSlot& operator=(const LeaseSlot&) = delete;
  bool admitted() const { return admitted_; }

 private:
  static constexpr std::size_t kKept = 1024;

  Shared& shared_;
  std::uint64_t serial_;
  uid_t uid_;
  std::uint32_t* of_lease_;  // a map's nodes stay where they are; ours is not zero
  std::uint32_t* of_user_;
  bool admitted_ = false;
};

}  // namespace

Connection::Connection(Worker& worker, Socket socket, bool tls)
    : worker_(worker),
      client_(std::move(socket)),
      tls_(tls),
      client_origin_(broker::ClientOrigin::of(client_.socket().native_handle())),
      share_(worker.shared().kept) {}

void Connection::wait_for(Wait what, std::chrono::seconds bound) {
  wait_ = what;
  deadline_ = worker_.now() + bound;
  if (what == Wait::body) mark();
}

// Without asking the kernel, since this is done for every body: next to nothing waits at its beginning.
void Connection::mark() {
  mark_ = {.client_received = client_.received(), .client_taken = client_.sent()};
  if (upstream_) {
    mark_.upstream_received = upstream_->stream.received();
    mark_.upstream_taken = upstream_->stream.sent();
  }
}

// Whether a body has moved on enough since the mark, which is set anew. A client must send or take
// kLeastProgress, so that nobody holds a connection by a byte now and then. From an upstream anything
// will do while the client has taken all there was: git servers keep a connection alive by five bytes
// while they think. For a push it counts as well what the upstream has taken.
bool Connection::progressed() {
  Mark now{.client_received = client_.received(), .client_taken = client_.taken()};
  if (upstream_) {
    now.upstream_received = upstream_->stream.received();
    now.upstream_taken = upstream_->stream.taken();
  }
  const auto grown = [](std::uint64_t from, std::uint64_t to) { return to > from ? to - from : 0; };
  const std::uint64_t client =
      grown(mark_.client_received, now.client_received) + grown(mark_.client_taken, now.client_taken);
  const bool has_taken_all = now.client_taken == client_.sent();
  const bool good = client >= kLeastProgress || grown(mark_.upstream_taken, now.upstream_taken) >= kLeastProgress ||
                    (has_taken_all && grown(mark_.upstream_received, now.upstream_received) > 0);
  mark_ = now;
  return good;
}

void Connection::tick(SteadyTime now) {
  if (counts_ != nullptr) count_bytes();
  // Again at each tick until it holds: what cancel() ends is only what waits at that moment.
  if (wait_ == Wait::nothing || now < deadline_) return;
  if (wait_ == Wait::body && !timed_out_ && progressed()) {
    deadline_ = now + worker_.shared().config.body_timeout;
    return;
  }
  timed_out_ = true;
  if (wait_ == Wait::upstream || wait_ == Wait::body)
    if (upstream_) upstream_->abort();
  if (wait_ != Wait::upstream) client_.cancel();
}

void Connection::cut(const broker::Lease& lease) {
  if (!grant_ || grant_->lease().serial != lease.serial || cut_) return;
  cut_ = true;
  if (upstream_) upstream_->abort();
  if (answered_ || !upstream_) {
    client_.abort();
  } else if (wait_ == Wait::body) {
    client_.cancel();
  }
}

void Connection::drain() {
  closing_ = true;
  if (wait_ == Wait::request) client_.abort();
}

void Connection::abort() {
  closing_ = aborted_ = true;
  if (upstream_) upstream_->abort();
  client_.abort();
}

// The TLS handshake, where there is one; false when there is nobody to serve.
Awaitable<bool> Connection::greet() {
  if (!tls_) co_return true;
  const ServerTls::ContextPtr context = worker_.shared().tls.current();
  if (!context) co_return false;
  wait_for(Wait::request, worker_.shared().config.header_timeout);
  const error_code error = co_await client_.accept_tls(context.get());
  if (!error || !client_.was_http() || aborted_ || timed_out_) co_return !error && !aborted_ && !timed_out_;
  closing_ = true;
  co_await refuse(Errc::request_malformed, "this is the https port", nullptr);
  co_await linger();
  co_return false;
}

Awaitable<void> Connection::run() {
  if (!co_await greet()) co_return;
  while (!aborted_ && co_await read_head()) {
    BodySource body(client_, in_.filled_bytes().subspan(head_size_), request_.framing, ChunkedDecoder::Side::request);
    const SteadyTime began = std::chrono::steady_clock::now();
    const bool reusable = co_await serve(body);
    count_request(began);
    grant_.reset();
    upstream_.reset();
    origin_.reset();
    credential_.reset();
    kept_ = {};
    share_.release();
    broker::wipe(basic_);
    if (aborted_) co_return;
    if (!reusable || closing_ || !body.done()) {
      co_await linger();
      co_return;
    }
    in_.consume(head_size_ + body.used());
    if (!body.surplus().empty()) in_.replace(body.surplus());
    in_.shrink();
  }
}

// False when there is no further request.
Awaitable<bool> Connection::read_head() {
  std::size_t from = 0;
  timed_out_ = sent_ = client_failed_ = answered_ = audited_ = cut_ = false;
  failure_ = {};
  routed_.space = routed_.name = {};
  git_ = {};
  token_field_ = {};
  const auto& config = worker_.shared().config;
  if (in_.filled().empty()) {
    wait_for(Wait::request, trusted_ ? config.idle_timeout : config.header_timeout);
  } else {
    wait_for(Wait::head, config.header_timeout);
  }
  while (true) {
    const std::size_t end = find_header_end(in_.filled(), from);
    Errc failure{};
    if (end != std::string_view::npos) {
      head_size_ = end;
      wait_ = Wait::nothing;
      const auto error = parse_request(in_.filled().substr(0, head_size_), request_);
      if (!error) co_return true;
      failure = broker::to_errc(error);
    } else if (!may_begin_request(in_.filled())) {
      failure = Errc::request_malformed;
    } else if (in_.filled().size() > kMaxHeaderSection) {
      failure = Errc::header_too_large;
    } else {
      const Transfer read = co_await client_.read_some(in_.room());
      if (!read.error && !timed_out_) {
        if (wait_ == Wait::request) wait_for(Wait::head, config.header_timeout);
        in_.commit(read.size);
        continue;
      }
      if (!timed_out_ || in_.filled().empty()) co_return false;
      failure = Errc::request_timeout;
    }
    request_ = {};
    closing_ = true;
    co_await refuse(failure, {}, nullptr);
    co_await linger();
    co_return false;
  }
}

// Answers one request; false when the connection cannot carry another.
Awaitable<bool> Connection::serve(BodySource& body) {
  if (const auto error = route(request_.target, routed_)) co_return co_await refuse(broker::to_errc(error), {}, &body);
  if (!request_.authorization && must_ask_for_password()) co_return co_await ask_for_password(body);
  if (routed_.registry && routed_.name.empty()) co_return co_await serve_registry_root(body);
  Errc error = tell_and_authorize();
  const bool batch = git_.kind == ServiceRequest::Kind::lfs_batch;  // fetches or pushes: that is in its body
  if (error != Errc{}) co_return co_await refuse(error, detail_of(error), &body);
  const LeaseSlot slot(worker_.shared(), grant_->lease());
  if (!slot.admitted()) co_return co_await refuse(Errc::too_many, "requests of one lease or user at once", &body);
  trusted_ = true;
  user_ = grant_->lease().uid;
  if (batch) {
    if (error = co_await read_batch(body); error != Errc{}) co_return co_await refuse(error, {}, &body);
    if (error = authorize(); error != Errc{}) co_return co_await refuse(error, detail_of(error), &body);
  }
  if (git_.kind == ServiceRequest::Kind::receive_pack && grant_->restricts_references())
    co_return co_await serve_push(body);
  co_return co_await forward(body);
}

// What the connector's class makes of the request.
Errc Connection::tell(const broker::ConnectorConfig& connector) {
  const auto connector_class = connector.connector_class;
  if (routed_.registry && !broker::serves_oci(connector_class)) return Errc::connector_unknown;
  if (const auto error = classify(connector, request_.method, routed_.target, git_)) return broker::to_errc(error);
  if (git_.links == Links::location && request_.method == Method::post && mounts(routed_.target))
    routed_.target.has_query = false, routed_.target.query = {};
  if (const auto name = token_field(connector_class); !name.empty() && !request_.authorization) {
    const auto is_it = [&](const Field& field) { return iequals(field.name, name); };
    if (std::count_if(request_.fields.begin(), request_.fields.end(), is_it) == 1)
      token_field_ = std::find_if(request_.fields.begin(), request_.fields.end(), is_it)->value;
  }
  return Errc{};
}

// The class is that of the connector that is granted, also when a reload comes between.
Errc Connection::tell_and_authorize() {
  static const broker::ConnectorConfig unknown;
  for (broker::ConnectorsPtr table = worker_.shared().broker.connectors();;) {
    const auto found = table->find(broker::ConnectorNameView{routed_.space, routed_.name});
    Errc error = tell(found == table->end() ? unknown : found->second);
    if (error == Errc{}) error = authorize(git_.kind == ServiceRequest::Kind::lfs_batch);
    if (error != Errc{} || grant_->connectors() == table) return error;
    table = grant_->connectors();
  }
}

std::string_view Connection::detail_of(Errc error) const {
  return error == Errc::repository_denied ? git_.name() : std::string_view();
}

std::string_view Connection::token() const {
  if (!request_.authorization) return token_field_;
  std::string_view value = *request_.authorization;
  // "token" is what GitHub's own tools say for "Bearer".
  for (const std::string_view scheme : {"bearer ", "token "})
    if (value.size() > scheme.size() && iequals(value.substr(0, scheme.size()), scheme))
      return value.substr(scheme.size());
  const std::size_t colon = basic_.find(':');
  if (colon == std::string::npos) return {};
  const std::string_view pair = basic_;
  // SonarQube's clients send a token as the user.
  return colon + 1 == pair.size() ? pair.substr(0, colon) : pair.substr(colon + 1);
}

broker::Access Connection::access() const {
  return {.space = routed_.space,
          .connector = routed_.name,
          .operation = git_.operation,
          .lfs = is_lfs(git_.kind),
          .repository = git_.name(),
          .reach = git_.reach,
          .origin = &client_origin_};
}

void Connection::decode_authorization() {
  broker::wipe(basic_);
  basic_.clear();
  if (request_.authorization && request_.authorization->size() > 6 &&
      iequals(request_.authorization->substr(0, 6), "basic ") &&
      request_.authorization->size() < 2 * broker::kMaxTokenSize) {
    if (auto decoded = broker::base64_decode(request_.authorization->substr(6))) basic_ = std::move(*decoded);
  }
}

Errc Connection::authorize(bool undecided) {
  decode_authorization();
  if (request_.authorization && token().empty()) return Errc::token_malformed;
  broker::Access wanted = access();
  wanted.undecided = undecided;
  auto grant = worker_.shared().broker.redeem(token(), wanted, worker_.scratch(), &last_token_);
  audited_ = !grant;
  if (!grant) return broker::to_errc(grant.error());
  grant_.emplace(std::move(*grant));
  return Errc{};
}

// Keeps the body's beginning until `look` has seen enough, or all of it.
Awaitable<Errc> Connection::keep(BodySource& body, const std::function<broker::Result<bool>()>& look) {
  kept_.clear();
  const auto failure = [&] {
    return cut_ ? Errc::lease_closed : timed_out_ ? Errc::request_timeout : Errc::request_malformed;
  };
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  if (!co_await invite_body()) co_return failure();
  std::span<char> payload;
  if (body.take_buffered(payload)) co_return failure();
  RelayBuffer buffer(worker_.buffers());
  while (true) {
    if (!share_.grow(user_, kept_.size() + payload.size())) co_return Errc::too_many;
    kept_.append(payload.data(), payload.size());
    const auto enough = look();
    if (!enough) co_return broker::to_errc(enough.error());
    if (*enough || body.done()) break;
    const BodySource::Piece piece = co_await body.next(buffer.room());
    if (piece.error || timed_out_ || cut_) co_return failure();
    payload = piece.payload;
  }
  wait_ = Wait::nothing;
  co_return Errc{};
}

// The operation of an LFS batch is in its body, which is small and is kept.
Awaitable<Errc> Connection::read_batch(BodySource& body) {
  const std::function<broker::Result<bool>()> look = [this]() -> broker::Result<bool> {
    if (kept_.size() > kMaxBatch) return Errc::body_too_large;
    return false;
  };
  const Errc failure = co_await keep(body, look);
  if (failure != Errc{}) co_return failure;
  const auto operation = batch_operation(kept_);
  if (!operation) co_return broker::to_errc(operation.error());
  git_.operation = *operation;
  co_return Errc{};
}

// Lets a client go on that waits to be asked for its body (RFC 9110 section 10.1.1).
Awaitable<bool> Connection::invite_body() {
  if (!std::exchange(request_.expect_continue, false)) co_return true;
  const std::array<asio::const_buffer, 1> interim{asio::const_buffer(kContinue.data(), kContinue.size())};
  const error_code error = co_await client_.write(interim);
  co_return !error;
}

// Answers with an error; true when the connection can carry another request.
Awaitable<bool> Connection::refuse(Errc code, std::string_view detail, const BodySource* body) {
  const bool reusable =
      request_.keep_alive && !closing_ && body != nullptr && body->done() && code != Errc::request_malformed;
  write_error(code, detail, reusable, request_.method == Method::head, out_);
  if (!reusable) closing_ = true;
  if (!audited_) worker_.shared().broker.note_refusal(code, access(), grant_ ? &grant_->lease() : nullptr);
  failure_ = code;
  audited_ = answered_ = true;
  timed_out_ = false;
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  const std::array<asio::const_buffer, 1> parts{asio::const_buffer(out_.data(), out_.size())};
  const error_code error = co_await client_.write(parts);
  wait_ = Wait::nothing;
  co_return !error && reusable;
}

// Closing a socket with unread bytes resets it, and the client may lose the answer: say that
// nothing more comes, and read on for a moment.
Awaitable<void> Connection::linger() {
  client_.shutdown_send();
  timed_out_ = false;
  wait_for(Wait::request, kLingerTime);
  std::array<char, 4096> ignored;
  for (std::size_t total = 0; total < kMaxLinger;) {
    const Transfer read = co_await client_.read_some(ignored);
    if (read.error || timed_out_) break;
    total += read.size;
  }
  client_.abort();
}

}  // namespace mintfs::proxy
