// What parse_response lets through has one reading: the head that we would send on is read by a second
// parse with the same status and the same end, and nothing in it makes a client ask for a password or
// follow the upstream elsewhere.
#include "proxy/response.h"
#include "proxy/rewrite.h"
#include "require.h"

#include <cstddef>
#include <cstdint>
#include <string>

using namespace mintfs::proxy;
using mintfs::require;
using Kind = BodyFraming::Kind;

namespace {

bool has_no_body(Method method, unsigned status) {
  return method == Method::head || status < 200 || status == 204 || status == 304;
}

void check_relayed(const ResponseHead& head, Method method) {
  if (head.fields.size() + 2 > kMaxFields) return;  // with ours it has more than we would read
  RequestHead request;
  request.method = method;
  std::string sent;
  write_response_head(head, head.framing, head.keep_alive, request, sent);
  std::size_t from = 0;
  require(find_header_end(sent, from) == sent.size());
  ResponseHead again;
  require(!parse_response(sent, method, again));
  require(again.status == head.status && again.framing == head.framing && again.keep_alive == head.keep_alive);
  for (const FieldId id :
       {FieldId::www_authenticate, FieldId::proxy_authenticate, FieldId::set_cookie, FieldId::location,
        FieldId::strict_transport_security, FieldId::alt_svc, FieldId::upgrade, FieldId::trailer})
    require(count_fields(again.fields, id) == 0);
}

}  // namespace

// The first byte tells what was asked.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr Method kMethods[] = {Method::get, Method::head, Method::post};
  const Method method = kMethods[data[0] % 3];
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::size_t from = 0;
  const std::size_t end = find_header_end(bytes, from);
  if (end == std::string::npos) return 0;
  bytes.resize(end);
  ResponseHead head;
  if (parse_response(bytes, method, head)) return 0;
  require(head.status >= 100 && head.status <= 599 && head.status != 101 && head.fields.size() <= kMaxFields);
  require(!has_no_body(method, head.status) || head.framing.kind == Kind::none);
  require(has_no_body(method, head.status) || head.framing.kind != Kind::none);
  require(head.framing.kind != Kind::until_close || !head.keep_alive);
  require(head.framing.kind != Kind::chunked || head.version_minor == 1);
  check_relayed(head, method);
  return 0;
}
