// Connection's part that judges a push by the references it changes, before a byte of it goes upstream.
//
// All or nothing: where one reference is refused none is sent on, since what the pack is good for cannot be
// told from outside. The answer is git's own, so that git names each reference with the reason.
#include "proxy/connection.h"
#include "proxy/worker.h"

#include <algorithm>
#include <array>

namespace mintfs::proxy {
namespace {

using broker::Errc;

constexpr std::string_view kResultType = "application/x-git-receive-pack-result";

std::vector<std::string> reasons_of(std::span<const broker::Decision> decisions) {
  std::vector<std::string> reasons;
  reasons.reserve(decisions.size());
  for (const auto& decision : decisions)
    reasons.push_back("mintfs: " + (decision.allowed() ? std::string("not sent, since another reference was refused")
                                                       : broker::refusal_sentence(decision)));
  return reasons;
}

}  // namespace

Awaitable<bool> Connection::serve_push(BodySource& body) {
  std::string_view coding;
  if (count_fields(request_.fields, FieldId::content_encoding, &coding) > 0 && !iequals(coding, "identity"))
    co_return co_await refuse(Errc::reference_denied, "a compressed push, whose references cannot be read", &body);
  PushReader push;
  if (const Errc failure = co_await read_push(body, push); failure != Errc{})
    co_return co_await refuse(failure, "the commands of the push", &body);
  std::vector<broker::Decision> decisions;
  decisions.reserve(push.commands().size());
  for (const auto& command : push.commands())
    decisions.push_back(grant_->decide({.reference = command.reference, .change = command.change}));
  if (!std::all_of(decisions.begin(), decisions.end(), [](const auto& each) { return each.allowed(); }))
    co_return co_await refuse_push(body, push, decisions);
  if (!body.done()) body.give_again(kept_);
  co_return co_await forward(body);
}

// Without a command there is no pack either: whatever follows would be for another reader.
Awaitable<Errc> Connection::read_push(BodySource& body, PushReader& push) {
  const std::function<broker::Result<bool>()> look = [&]() -> broker::Result<bool> {
    if (const auto error = push.read(kept_)) return broker::to_errc(error);
    if (!push.done() || !push.commands().empty()) return push.done();
    if (kept_.size() > push.size()) return Errc::request_malformed;
    return false;
  };
  const Errc failure = co_await keep(body, look);
  if (failure != Errc{}) co_return failure;
  co_return push.done() ? Errc{} : Errc::request_malformed;
}

Awaitable<bool> Connection::refuse_push(BodySource& body, const PushReader& push,
                                        std::span<const broker::Decision> decisions) {
  const auto first = std::find_if(decisions.begin(), decisions.end(), [](const auto& each) { return !each.allowed(); });
  const std::string& reference = push.commands()[static_cast<std::size_t>(first - decisions.begin())].reference;
  worker_.shared().broker.note_refusal(Errc::reference_denied, access(), &grant_->lease(), reference);
  audited_ = true;
  // git listens only when it has sent everything.
  if (const Errc failure = co_await swallow(body); failure != Errc{}) co_return co_await refuse(failure, {}, &body);
  if (!push.wants_report())
    co_return co_await refuse(Errc::reference_denied, reference + ": " + broker::refusal_sentence(*first), &body);
  const bool reusable = request_.keep_alive && !closing_;
  if (!reusable) closing_ = true;
  write_result(kResultType, report_status(push, reasons_of(decisions)), reusable, out_);
  answered_ = true;
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  const std::array<asio::const_buffer, 1> parts{asio::const_buffer(out_.data(), out_.size())};
  const error_code error = co_await client_.write(parts);
  wait_ = Wait::nothing;
  co_return !error && reusable;
}

// Reads the rest of the body and forgets it.
Awaitable<Errc> Connection::swallow(BodySource& body) {
  wait_for(Wait::body, worker_.shared().config.body_timeout);
  RelayBuffer buffer(worker_.buffers());
  while (!body.done()) {
    const BodySource::Piece piece = co_await body.next(buffer.room());
    if (cut_) co_return Errc::lease_closed;
    if (piece.error || timed_out_) co_return timed_out_ ? Errc::request_timeout : Errc::request_malformed;
  }
  wait_ = Wait::nothing;
  co_return Errc{};
}

}  // namespace mintfs::proxy
