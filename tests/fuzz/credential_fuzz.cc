// What git says reads the same whatever line ends it has, nothing of it is longer than it was said or holds the
// end of a line, and what is answered can be read back.
#include "credential/answer.h"
#include "credential/description.h"
#include "require.h"

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace mintfs::credential;
using mintfs::require;

namespace {

void check_value(std::string_view input, const std::optional<std::string_view>& value) {
  if (!value) return;
  require(value->find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  require(value->size() <= kMaxLine && value->data() >= input.data() &&
          value->data() + value->size() <= input.data() + input.size());
}

bool same(const Description& a, const Description& b) {
  return a.protocol == b.protocol && a.host == b.host && a.path == b.path && a.username == b.username &&
         a.password == b.password && a.password_expiry_utc == b.password_expiry_utc && a.authtype == b.authtype &&
         a.credential == b.credential && a.oauth_refresh_token == b.oauth_refresh_token && a.ephemeral == b.ephemeral &&
         a.can_authtype == b.can_authtype;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string problem;
  const auto read = parse_description(input, problem);
  require(read.has_value() == problem.empty());
  if (!read) return 0;
  for (const auto& value : {read->protocol, read->host, read->path, read->username, read->password, read->authtype,
                            read->credential, read->oauth_refresh_token})
    check_value(input, value);

  if (input.find('\r') == std::string_view::npos && size <= kMaxInput / 2) {
    std::string crlf;
    for (const char c : input) {
      if (c == '\n') crlf += '\r';
      crlf += c;
    }
    std::string none;
    const auto again = parse_description(crlf, none);
    require(again && same(*read, *again));
  }
  if (const auto object = to_store(*read)) {
    const auto lines = to_lines(*object, read->can_authtype);
    require(lines.has_value());
    const auto back = parse_description(lines->reveal(), problem);
    require(back && back->password == read->password && back->username == read->username);
  }
  to_get(*read);
  to_erase(*read);
  return 0;
}
