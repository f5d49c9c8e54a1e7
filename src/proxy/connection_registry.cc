// Connection's part for clients that want to be asked for a password, and for those of image registries, which know a
// host and ask for "/v2/" there before all else.
#include "proxy/connection.h"
#include "proxy/registry_challenge.h"
#include "proxy/services/service.h"
#include "proxy/worker.h"

#include <algorithm>
#include <array>

namespace mintfs::proxy {
namespace {

using broker::Errc;

constexpr std::string_view kVersion = "Docker-Distribution-Api-Version: registry/2.0\r\n";

}  // namespace

// Of a request that shows no token in Authorization.
bool Connection::must_ask_for_password() {
  if (routed_.registry) return true;
  const broker::ConnectorsPtr table = worker_.shared().broker.connectors();
  const auto found = table->find(broker::ConnectorNameView{routed_.space, routed_.name});
  if (found == table->end() || !waits_to_be_asked(found->second.connector_class)) return false;
  const auto own = token_field(found->second.connector_class);
  return own.empty() || std::none_of(request_.fields.begin(), request_.fields.end(),
                                     [&](const Field& field) { return iequals(field.name, own); });
}

// Such a client shows its token only when asked for one. Git never comes here, see write_challenge().
Awaitable<bool> Connection::ask_for_password(BodySource& body) {
  const bool reusable = request_.keep_alive && !closing_ && body.done();
  if (!reusable) closing_ = true;
  write_challenge(reusable, request_.method == Method::head, out_);
  answered_ = true;
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  const std::array<asio::const_buffer, 1> parts{asio::const_buffer(out_.data(), out_.size())};
  const error_code error = co_await client_.write(parts);
  wait_ = Wait::nothing;
  co_return !error && reusable;
}

// "/v2/" names no connector, the token does. It is checked, and nobody else is asked.
Awaitable<bool> Connection::serve_registry_root(BodySource& body) {
  std::string named;  // outlives what redeem() makes of the token
  git_.kind = ServiceRequest::Kind::artifact;
  git_.reach = broker::Reach::protocol;
  if (request_.method != Method::get && request_.method != Method::head)
    co_return co_await refuse(Errc::operation_denied, {}, &body);
  decode_authorization();
  if (token().empty()) co_return co_await refuse(Errc::token_malformed, {}, &body);
  broker::ParsedToken& parsed = worker_.scratch().token;
  if (!broker::parse_token(token(), parsed)) named = parsed.claims.connector;
  const std::size_t slash = named.find('/');
  if (slash != std::string::npos) {
    routed_.space = std::string_view(named).substr(0, slash);
    routed_.name = std::string_view(named).substr(slash + 1);
  }
  Errc error = authorize(true);
  if (error == Errc{} && !broker::serves_oci(grant_->connector().connector_class)) error = Errc::connector_unknown;
  if (error != Errc{}) {
    const bool reusable = co_await refuse(error, {}, &body);
    routed_.space = routed_.name = {};
    co_return reusable;
  }
  routed_.space = routed_.name = {};
  trusted_ = true;
  user_ = grant_->lease().uid;
  const bool reusable = request_.keep_alive && !closing_;
  if (!reusable) closing_ = true;
  write_result("application/json", request_.method == Method::head ? "" : "{}", reusable, out_, kVersion);
  answered_ = true;
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  const std::array<asio::const_buffer, 1> parts{asio::const_buffer(out_.data(), out_.size())};
  const error_code sent = co_await client_.write(parts);
  wait_ = Wait::nothing;
  co_return !sent && reusable;
}

// One GET on a connection of its own, whose answer is small. `secret` is a header line, or nothing.
Awaitable<Errc> Connection::ask_registry(Upstream& upstream, const broker::Address& address, std::string target,
                                         std::string_view secret, std::string& body) {
  const auto& config = worker_.shared().config;
  upstream_ = std::make_unique<UpstreamConnection>(client_.socket().get_executor());
  wait_for(Wait::upstream, config.connect_timeout);
  if (const Errc error = co_await upstream.connect(*upstream_, worker_.now(), config.connect_timeout); error != Errc{})
    co_return timed_out_ ? Errc::upstream_timeout : error;
  const std::string head = "GET " + std::move(target) + " HTTP/1.1\r\nHost: " + address.authority() +
                           "\r\nAccept: application/json\r\nUser-Agent: mintfs\r\nConnection: close\r\n";
  const std::array<asio::const_buffer, 3> parts{asio::const_buffer(head.data(), head.size()),
                                                asio::const_buffer(secret.data(), secret.size()),
                                                asio::const_buffer("\r\n", 2)};
  wait_for(Wait::upstream, config.upstream_timeout);
  if (co_await upstream_->stream.write(parts)) co_return blame_upstream();
  if (const Errc error = co_await receive_head(Method::get); error != Errc{}) co_return error;
  BodySource source(upstream_->stream, upstream_->in.filled_bytes().subspan(response_size_), response_.framing,
                    ChunkedDecoder::Side::response);
  std::span<char> payload;
  if (source.take_buffered(payload)) co_return Errc::upstream_malformed;
  RelayBuffer buffer(worker_.buffers());
  body.reserve(kMaxTokenAnswer);  // it never moves: what it holds is wiped where it stands
  while (true) {
    if (body.size() + payload.size() > kMaxTokenAnswer) co_return Errc::upstream_malformed;
    body.append(payload.data(), payload.size());
    if (source.done()) break;
    const BodySource::Piece piece = co_await source.next(buffer.room());
    if (piece.error) co_return blame_upstream();
    payload = piece.payload;
  }
  wait_ = Wait::nothing;
  co_return Errc{};
}

// A registry that wants a token gets one of its token service, which is asked with the stored credential; any
// other the credential itself.
Awaitable<Errc> Connection::choose_registry_credential() {
  const auto& connector = grant_->connector();
  auto& tokens = worker_.registry_tokens();
  const auto* realm = tokens.realm_of(connector, worker_.now());
  if (realm == nullptr) {
    std::string ignored;
    const Errc error =
        co_await ask_registry(*origin_, connector.address, connector.address.prefix + "/v2/", {}, ignored);
    if (error != Errc{}) co_return error;
    tokens.learn(connector, response_.status == 401 ? find_challenge(response_.fields) : std::nullopt, worker_.now());
    upstream_.reset();
    realm = tokens.realm_of(connector, worker_.now());
  }
  if (realm == nullptr || !*realm) co_return Errc{};
  std::string scope = scope_of(git_, request_.method == Method::del);
  if (auto known = tokens.find(connector, credential_, scope, worker_.now())) {
    credential_ = std::move(known);
    co_return Errc{};
  }
  TokenRealm wanted = **realm;  // what the pointer leads to may go while we wait
  const Errc error = co_await ask_token_service(std::move(wanted), std::move(scope));
  upstream_.reset();
  co_return error;
}

Awaitable<Errc> Connection::ask_token_service(TokenRealm realm, std::string scope) {
  const auto& connector = grant_->connector();
  const std::size_t slash = realm.realm.find('/', realm.realm.find("://") + 3);
  const std::string origin = realm.realm.substr(0, slash);
  const auto address = broker::Address::parse(origin);
  auto target = token_target(slash == std::string::npos ? "/" : realm.realm.substr(slash), realm, scope);
  if (!address || !target) co_return Errc::upstream_malformed;
  const bool own = address->origin() == connector.address.origin();
  const bool named = std::any_of(connector.token_origins.begin(), connector.token_origins.end(),
                                 [&](const auto& each) { return each.origin() == address->origin(); });
  if (!own && !named) co_return Errc::upstream_redirect;
  const auto service = own ? origin_ : worker_.token_service_for(*grant_, *address);
  std::string body;
  Errc error = co_await ask_registry(*service, *address, std::move(*target), credential_->header_line.reveal(), body);
  if (error == Errc{} && response_.status != 200)
    error = response_.status == 401 || response_.status == 403 ? Errc::upstream_refused : Errc::upstream_malformed;
  if (error == Errc{}) {
    if (const auto token = parse_token_answer(body))
      credential_ = worker_.registry_tokens().keep(connector, credential_, scope, *token, worker_.now());
    else
      error = Errc::upstream_malformed;
  }
  broker::wipe(body);
  co_return error;
}

}  // namespace mintfs::proxy
