// The head of a client's request, checked more strictly than RFC 9112 asks for.
//
// Boost.Beast does the parsing and accepts what a security boundary must not; what it lets through
// is refused here: any doubt about where the body ends, which host is meant or who is asking. What
// is left can be sent on without two readers disagreeing about it.
#pragma once

#include "proxy/message.h"

#include <optional>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

// Names are case-sensitive (RFC 9110 section 9.1). TRACE and CONNECT never get this far.
enum class Method : std::uint8_t { get, head, post, put, patch, del, other };

// Reusable: parsing into one again allocates nothing once it has seen as many fields.
struct RequestHead {
  Method method = Method::other;
  std::string_view method_text;
  std::string_view target;  // origin-form: begins with '/', path and query; see path.h
  int version_minor = 1;    // 0 or 1
  std::vector<Field> fields;
  bool keep_alive = false;       // the client means to send another request
  bool expect_continue = false;  // it waits for 100 (Continue); never for HTTP/1.0
  BodyFraming framing;           // never until_close; none for GET and HEAD
  std::optional<std::string_view> authorization;
  std::string_view host;  // empty only for HTTP/1.0
};

// False where no header section can come of these bytes: they begin with what no method or empty line has. A client
// that begins with TLS would otherwise wait for our answer in it, while we wait for its line to end.
inline bool may_begin_request(std::string_view bytes) {
  return bytes.empty() || bytes.front() == '\r' || bytes.front() == '\n' ||
         (bytes.front() > ' ' && bytes.front() < 0x7f);
}

// `section` is one whole header section (find_header_end) and outlives `out`. request_malformed or
// header_too_large; `out` is then unspecified but may be used for another parse.
boost::system::error_code parse_request(std::string_view section, RequestHead& out);

}  // namespace mintfs::proxy
