// Builds the heads that leave the proxy: the request for the upstream, the response for the client,
// and the proxy's own error answers. Pure: text in, text out.
//
// A request carries on only fields from a list of those that git, git-lfs and the clients of registries use: a field
// that a server or a frontend obeys (X-Original-URL, X-HTTP-Method-Override, Sudo, Private-Token, names with an
// underscore) would otherwise walk around the policy. A response loses what is for one hop only, what sets state in a
// client, and all that would make git ask for, or forget, a password.
#pragma once

#include "broker/error.h"
#include "proxy/path.h"
#include "proxy/request.h"
#include "proxy/response.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::proxy {

// A request as it goes to the upstream. The views are written as they are: they come from
// RequestHead, Target and Address, which were checked.
struct Outgoing {
  std::string_view method;
  std::string_view prefix;  // of the connector's address: "" or "/path"
  std::string_view path;    // canonical
  Folded folded{};          // see there
  std::string_view query;
  bool has_query = false;
  std::string_view authority;
  BodyFraming framing = {};    // of what we send; none, length or chunked
  bool identity_only = false;  // drop Accept-Encoding: the answer's body must be readable
};

// Replaces `out` by the request head up to where "Authorization: ...\r\n" and the empty line go.
void write_request_head(const RequestHead& from, const Outgoing& to, std::string& out);

// Replaces `out` by the whole response head, empty line included. `relayed` is how the body is sent
// on: until_close closes, and is what HTTP/1.0 clients get for chunked. `location`, when not empty,
// is written; the upstream's own never is.
void write_response_head(const ResponseHead& from, BodyFraming relayed, bool keep_alive, const RequestHead& request,
                         std::string& out, std::string_view location = {});

// "HTTP/1.1 100 Continue\r\n\r\n"
extern const std::string_view kContinue;

int to_http_status(broker::Errc code) noexcept;

// Replaces `out` by a whole answer of status 200 with a body of this media type, which nobody may keep. `fields` are
// further lines, each with its CRLF.
void write_result(std::string_view type, std::string_view body, bool keep_alive, std::string& out,
                  std::string_view fields = {});

// The same as write_error(token_missing), but that it asks for a password: for clients of registries, which send
// none before. Never to git, which would ask its helpers and erase what they gave.
void write_challenge(bool keep_alive, bool head_request, std::string& out);

// Replaces `out` by a whole text/plain answer "mintfs: <reason>: [<detail>: ]<advice>\n", with the reason in its status
// line as well. `detail` names the thing, e.g. the connector; it is escaped and cut, so it may hold client bytes.
void write_error(broker::Errc code, std::string_view detail, bool keep_alive, bool head_request, std::string& out);

}  // namespace mintfs::proxy
