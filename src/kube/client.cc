#include "kube/client.h"

#include "broker/secret_json.h"
#include "kube/fields.h"

#include <boost/json/value.hpp>

#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::size_t kMaxStatus = 64 * 1024;
constexpr std::size_t kPiece = 16 * 1024;

Outcome<json::object> read_object(std::string_view text) {
  auto value = broker::parse_secret_json(text);
  if (!value || !value->is_object())
    return Failure{.reason = Reason::malformed, .message = "the API server sent something that is not a JSON object"};
  return std::move(value->as_object());
}

// One JSON object a line (RFC: none; the API's "watch" convention).
class Watch final : public Stream {
 public:
  Watch(std::unique_ptr<Connection> connection, std::size_t limit, std::chrono::seconds silence)
      : connection_(std::move(connection)), limit_(limit), silence_(silence) {}

  asio::awaitable<Outcome<json::object>> next() override {
    for (;;) {
      if (const std::size_t end = unread_.find('\n', searched_); end != WipedString::npos) {
        auto event = read_object({unread_.data() + begin_, end - begin_});
        begin_ = searched_ = end + 1;
        co_return event;
      }
      make_room();
      if (unread_.size() > limit_)
        co_return Failure{.reason = Reason::too_large,
                          .message = "an event is over " + std::to_string(limit_) + " bytes"};
      const auto got = co_await connection_->read_some(piece_, silence_);
      if (!got && got.error().reason == Reason::timed_out && unread_.empty())
        co_return Failure{.reason = Reason::silent, .message = "a watch brings nothing"};
      if (!got) co_return got.error();
      if (*got == 0 && !unread_.empty())
        co_return Failure{.reason = Reason::unreachable, .message = "a watch ended in the middle of an event"};
      if (*got == 0) co_return Failure{.reason = Reason::ended, .message = "a watch ended"};
      unread_.append(piece_.data(), *got);
    }
  }

 private:
  void make_room() {
    unread_.erase(0, begin_);
    begin_ = 0;
    searched_ = unread_.size();
    if (unread_.empty() && unread_.capacity() > 4 * kPiece) WipedString().swap(unread_);
  }

  std::unique_ptr<Connection> connection_;
  std::size_t limit_;
  std::chrono::seconds silence_;
  std::array<char, kPiece> piece_;
  WipedString unread_;
  std::size_t begin_ = 0;     // of the next event
  std::size_t searched_ = 0;  // up to here there is no end of it
};

Reason reason_of(unsigned status, std::string_view word, bool later) {
  switch (status) {
    case 401:
      return Reason::unauthorized;
    case 403:
      return Reason::forbidden;
    case 404:
      return Reason::not_found;
    case 409:
      return word == "AlreadyExists" ? Reason::already_exists : Reason::conflict;
    case 410:
      return Reason::gone;
    case 429:
      return Reason::too_many;
    case 503:
      return later ? Reason::too_many : Reason::server_failed;
    default:
      return status >= 500 ? Reason::server_failed : status >= 400 ? Reason::invalid : Reason::malformed;
  }
}

}  // namespace

Failure to_failure(unsigned status, std::string_view body, std::optional<std::chrono::seconds> retry_after) {
  std::string_view word;
  std::string_view message;
  const auto value = broker::parse_secret_json(body);
  if (value && value->is_object()) {
    word = text_at(value->get_object(), {"reason"});
    message = text_at(value->get_object(), {"message"});
    if (!retry_after) {
      const auto seconds = number_at(value->get_object(), {"details", "retryAfterSeconds"});
      if (seconds && *seconds > 0) retry_after = std::chrono::seconds(std::min<std::int64_t>(*seconds, 300));
    }
  }
  return {.reason = reason_of(status, word, retry_after.has_value()),
          .message = "the API server answers " + std::to_string(status) +
                     (message.empty() ? std::string() : ": " + printable(message)),
          .retry_after = retry_after};
}

Failure to_failure(const json::object& status) {
  const auto code = number_at(status, {"code"}).value_or(500);
  const std::string_view word = text_at(status, {"reason"});
  const bool gone = word == "Expired" || word == "Gone";
  return {.reason =
              gone ? Reason::gone : reason_of(code > 0 && code < 1000 ? static_cast<unsigned>(code) : 500, word, false),
          .message = "a watch ended with " + std::to_string(code) + ": " + printable(text_at(status, {"message"}))};
}

Client::Client(asio::io_context& context, Cluster cluster, Limits limits)
    : context_(context),
      cluster_(std::move(cluster)),
      limits_(limits),
      token_(cluster_.token_file),
      trust_(cluster_.ca_file) {}

asio::awaitable<Outcome<Client::ConnectionPtr>> Client::connect() {
  auto connection = std::make_unique<Connection>(context_, trust_.get());
  if (auto failed = co_await connection->connect(cluster_.server, limits_.connect)) co_return std::move(*failed);
  co_return connection;
}

// On the given connection, or where that has just ended, on a new one.
asio::awaitable<Outcome<Client::Exchange>> Client::exchange(Call call, ConnectionPtr connection) {
  auto token = token_.get();
  if (!token) co_return token.error();
  if (connection && connection->can_be_used_again()) {
    const auto head = co_await connection->ask(call, cluster_.server, *token, limits_.exchange);
    if (head) co_return Exchange{std::move(connection), *head};
    if (connection->was_answered() || !call.repeatable || head.error().reason == Reason::timed_out)
      co_return head.error();
  }
  auto fresh = co_await connect();
  if (!fresh) co_return fresh.error();
  const auto head = co_await (*fresh)->ask(call, cluster_.server, *token, limits_.exchange);
  if (!head) co_return head.error();
  co_return Exchange{std::move(*fresh), *head};
}

asio::awaitable<Outcome<json::object>> Client::send(Call call) {
  auto asked = co_await exchange(std::move(call), std::move(kept_));
  if (!asked) co_return asked.error();
  const bool good = asked->head.status >= 200 && asked->head.status < 300;
  const auto body = co_await asked->connection->read_all(good ? limits_.answer : kMaxStatus);
  if (!body) co_return body.error();
  if (!kept_ && asked->connection->can_be_used_again()) kept_ = std::move(asked->connection);
  if (!good) co_return to_failure(asked->head.status, {body->data(), body->size()}, asked->head.retry_after);
  co_return read_object({body->data(), body->size()});
}

asio::awaitable<Outcome<std::unique_ptr<Stream>>> Client::watch(std::string target) {
  Call call{.target = std::move(target)};
  auto asked = co_await exchange(std::move(call), nullptr);
  if (!asked) co_return asked.error();
  if (asked->head.status == 200)
    co_return std::make_unique<Watch>(std::move(asked->connection), limits_.event, limits_.silence);
  const auto body = co_await asked->connection->read_all(kMaxStatus);
  if (!body) co_return body.error();
  co_return to_failure(asked->head.status, {body->data(), body->size()}, asked->head.retry_after);
}

}  // namespace mintfs::kube
