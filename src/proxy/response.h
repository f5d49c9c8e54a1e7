// The head of an upstream's response.
//
// The upstream is trusted less than it seems: an answer whose end is in doubt would become the
// answer to somebody else's request on the same connection. Doubt is upstream_malformed, and the
// connection must not be used again.
#pragma once

#include "proxy/message.h"
#include "proxy/request.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

// Reusable like RequestHead.
struct ResponseHead {
  unsigned status = 0;    // 100 to 599, never 101; 1xx are interim and another head follows
  int version_minor = 1;  // 0 or 1
  std::vector<Field> fields;
  BodyFraming framing;
  // What Content-Length says where it describes no body that follows: HEAD and 304.
  std::optional<std::uint64_t> content_length;
  bool keep_alive = false;  // the connection can carry another request; never with until_close
};

// `section` is one whole header section and outlives `out`; `method` is that of the request it answers.
boost::system::error_code parse_response(std::string_view section, Method method, ResponseHead& out);

// The value of the only field `id`; nothing where there is none or more than one.
std::optional<std::string_view> single_value(const std::vector<Field>& fields, FieldId id) noexcept;

}  // namespace mintfs::proxy
