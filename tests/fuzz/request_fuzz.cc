// What parse_request lets through has one reading: a second parse of the head that we would send on
// agrees with the first about method, target and framing, and what it says of its sender is gone.
#include "proxy/request.h"
#include "proxy/rewrite.h"
#include "require.h"

#include <cstddef>
#include <cstdint>
#include <string>

using namespace mintfs::proxy;
using mintfs::require;

namespace {

std::string sent_for(const RequestHead& head) {
  const std::size_t question = head.target.find('?');
  const bool has_query = question != std::string_view::npos;
  const Outgoing to{.method = head.method_text,
                    .prefix = "",
                    .path = head.target.substr(0, question),
                    .query = has_query ? head.target.substr(question + 1) : std::string_view(),
                    .has_query = has_query,
                    .authority = "upstream",
                    .framing = head.framing,
                    .identity_only = false};
  std::string sent;
  write_request_head(head, to, sent);
  return sent + "\r\n";
}

// The end of the section does not depend on how many bytes had come when it was looked for first.
void check_end(std::string_view bytes, std::size_t end) {
  std::size_t from = 0;
  for (std::size_t cut = 0; cut < end; cut += 1 + end / 7)
    require(find_header_end(bytes.substr(0, cut), from) == std::string_view::npos);
  require(find_header_end(bytes, from) == end);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  std::size_t from = 0;
  const std::size_t end = find_header_end(bytes, from);
  if (end == std::string::npos) return 0;
  check_end(bytes, end);
  bytes.resize(end);
  RequestHead head;
  if (parse_request(bytes, head)) return 0;
  require(head.target.starts_with('/') && head.fields.size() <= kMaxFields);
  require(head.framing.kind != BodyFraming::Kind::until_close);
  if (head.method == Method::get || head.method == Method::head) require(head.framing == BodyFraming());

  const std::string sent = sent_for(head);
  from = 0;
  require(find_header_end(sent, from) == sent.size());
  RequestHead again;
  require(!parse_request(sent, again));
  require(again.method_text == head.method_text && again.target == head.target && again.host == "upstream");
  require(!again.authorization);
  for (const FieldId id : {FieldId::connection, FieldId::cookie, FieldId::proxy_authorization, FieldId::upgrade,
                           FieldId::te, FieldId::expect})
    require(count_fields(again.fields, id) == 0);
  require(again.framing.kind == head.framing.kind || again.framing.length == 0);
  require(head.framing.kind == BodyFraming::Kind::none || again.framing == head.framing);
  return 0;
}
