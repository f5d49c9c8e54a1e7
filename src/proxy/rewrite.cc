#include "proxy/rewrite.h"

#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <span>

namespace mintfs::proxy {
namespace {

using broker::Errc;

// A set of field names that Beast knows.
class FieldSet {
 public:
  constexpr FieldSet(std::initializer_list<FieldId> ids) {
    for (const FieldId id : ids) members_[static_cast<std::size_t>(id)] = true;
  }
  constexpr bool contains(FieldId id) const { return members_[static_cast<std::size_t>(id)]; }

 private:
  std::array<bool, static_cast<std::size_t>(FieldId::xref) + 1> members_{};
};

constexpr FieldSet kRequestFields = {
    FieldId::accept,
    FieldId::accept_charset,
    FieldId::accept_encoding,
    FieldId::accept_language,
    FieldId::cache_control,
    FieldId::content_encoding,
    FieldId::content_language,
    FieldId::content_md5,
    FieldId::content_range,
    FieldId::content_type,
    FieldId::date,
    FieldId::if_match,
    FieldId::if_modified_since,
    FieldId::if_none_match,
    FieldId::if_range,
    FieldId::if_unmodified_since,
    FieldId::pragma,
    FieldId::range,
    FieldId::user_agent,
};
// Names that Beast does not know: git's own, and W3C Trace Context.
constexpr std::string_view kRequestNames[] = {"git-protocol", "traceparent", "tracestate"};

constexpr FieldSet kDroppedFromResponse = {
    // For one hop (RFC 9110 section 7.6.1), and written anew.
    FieldId::connection,
    FieldId::keep_alive,
    FieldId::proxy_connection,
    FieldId::te,
    FieldId::trailer,
    FieldId::transfer_encoding,
    FieldId::upgrade,
    FieldId::content_length,
    // Make a client ask for a password, or tell it how the proxy was let in.
    FieldId::www_authenticate,
    FieldId::proxy_authenticate,
    FieldId::authentication_info,
    FieldId::proxy_authentication_info,
    FieldId::set_cookie,
    FieldId::set_cookie2,
    // Speak for the upstream's origin, which is not the proxy's.
    FieldId::strict_transport_security,
    FieldId::alt_svc,
    FieldId::public_key_pins,
    FieldId::public_key_pins_report_only,
    FieldId::location,
    FieldId::content_location,
};
constexpr std::string_view kDroppedNames[] = {"lfs-authenticate", "refresh", "clear-site-data", "proxy-status"};

bool is_any_of(std::string_view name, std::span<const std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [&](std::string_view one) { return iequals(name, one); });
}

bool goes_upstream(const Field& field) {
  return field.id == FieldId::unknown ? is_any_of(field.name, kRequestNames) : kRequestFields.contains(field.id);
}

bool goes_to_client(const Field& field) {
  if (field.id != FieldId::unknown) return !kDroppedFromResponse.contains(field.id);
  // X-Accel-Redirect and its like command a web server in front of us.
  const bool commands = iequals(field.name.substr(0, 8), "x-accel-") || iequals(field.name.substr(0, 10), "x-sendfile");
  return !commands && !is_any_of(field.name, kDroppedNames);
}

void append_number(std::string& out, std::uint64_t value) {
  std::array<char, 20> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

void append_length(std::string& out, std::uint64_t value) {
  out.append("Content-Length: ");
  append_number(out, value);
  out.append("\r\n");
}

// All fields that `keep` lets through and that Connection does not name.
template <class Keep>
void append_fields(std::string& out, const std::vector<Field>& fields, Keep keep) {
  const bool names_some = count_fields(fields, FieldId::connection) != 0;
  for (const Field& field : fields)
    if (keep(field) && !(names_some && connection_names(fields, field.name)))
      append_field(out, field.name, field.value);
}

void append_path(std::string& out, std::string_view path, const Folded& folded) {
  for (std::size_t from = 0; from < path.size();) {
    const std::size_t slash = path.find('/', std::max(from, folded.begin));
    const bool is_folded = slash < folded.end;
    out.append(path.substr(from, is_folded ? slash - from : std::string_view::npos));
    if (!is_folded) return;
    out.append("%2f");
    from = slash + 1;
  }
}

// Package managers show of a refusal its status line and no more, so a `reason` of ours stands there too.
void append_status(std::string& out, unsigned status, std::string_view reason = {}) {
  out.append("HTTP/1.1 ");
  append_number(out, status);
  out.append(" ");
  const auto known = boost::beast::http::int_to_status(status);
  if (known != boost::beast::http::status::unknown) out.append(std::string_view(obsolete_reason(known)));
  if (!reason.empty()) out.append(", mintfs: ").append(reason);
  out.append("\r\n");
}

// Client bytes in an answer: printable and short.
void append_detail(std::string& out, std::string_view detail) {
  for (const char c : detail.substr(0, 200)) out += c >= 0x20 && c <= 0x7e ? c : '?';
}

}  // namespace

const std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

void write_request_head(const RequestHead& from, const Outgoing& to, std::string& out) {
  out.clear();
  out.append(to.method).append(" ").append(to.prefix);
  append_path(out, to.path, to.folded);
  if (to.has_query) out.append("?").append(to.query);
  out.append(" HTTP/1.1\r\n");
  append_field(out, "Host", to.authority);
  append_fields(out, from.fields, [&](const Field& field) {
    return goes_upstream(field) && !(to.identity_only && field.id == FieldId::accept_encoding);
  });
  switch (to.framing.kind) {
    case BodyFraming::Kind::chunked:
      append_field(out, "Transfer-Encoding", "chunked");
      break;
    case BodyFraming::Kind::length:
      append_length(out, to.framing.length);
      break;
    case BodyFraming::Kind::none:
    case BodyFraming::Kind::until_close:
      // A method that has a body says that there is none (RFC 9110 section 8.6).
      if (to.method != "GET" && to.method != "HEAD") append_length(out, 0);
      break;
  }
}

void write_response_head(const ResponseHead& from, BodyFraming relayed, bool keep_alive, const RequestHead& request,
                         std::string& out, std::string_view location) {
  out.clear();
  append_status(out, from.status);
  append_fields(out, from.fields, goes_to_client);
  if (!location.empty()) append_field(out, "Location", location);
  switch (relayed.kind) {
    case BodyFraming::Kind::chunked:
      append_field(out, "Transfer-Encoding", "chunked");
      break;
    case BodyFraming::Kind::length:
      append_length(out, relayed.length);
      break;
    case BodyFraming::Kind::until_close:
      keep_alive = false;
      break;
    case BodyFraming::Kind::none:
      if (request.method == Method::head || from.status == 304) {
        if (from.content_length) append_length(out, *from.content_length);
      } else if (from.status >= 200 && from.status != 204) {
        append_length(out, 0);
      }
      break;
  }
  if (!keep_alive) {
    append_field(out, "Connection", "close");
  } else if (request.version_minor == 0) {
    append_field(out, "Connection", "keep-alive");
  }
  out.append("\r\n");
}

int to_http_status(Errc code) noexcept {
  switch (code) {
    case Errc::lease_malformed:
    case Errc::request_malformed:
      return 400;
    // Not 401: git would ask its helpers and then erase what they gave.
    case Errc::token_missing:
    case Errc::token_malformed:
    case Errc::token_algorithm:
    case Errc::token_key_unknown:
    case Errc::token_signature:
    case Errc::token_expired:
    case Errc::token_not_yet_valid:
    case Errc::token_audience:
    case Errc::token_connector:
    case Errc::token_origin:
    case Errc::lease_closed:
    case Errc::lease_denied:
    case Errc::caller_denied:
    case Errc::connector_denied:
    case Errc::operation_denied:
    case Errc::repository_denied:
    case Errc::reference_denied:
      return 403;
    case Errc::connector_unknown:
      return 404;
    case Errc::request_timeout:
      return 408;
    case Errc::body_too_large:
      return 413;
    case Errc::too_many:
      return 429;
    case Errc::header_too_large:
      return 431;
    case Errc::storage_failed:
    case Errc::upgrade_failed:
    case Errc::internal:
      return 500;
    case Errc::address_denied:
    case Errc::egress_refused:
    case Errc::upstream_unreachable:
    case Errc::upstream_untrusted:
    case Errc::upstream_refused:
    case Errc::upstream_redirect:
    case Errc::upstream_malformed:
      return 502;
    case Errc::leases_unconfirmed:
    case Errc::gateway_unreachable:
      return 503;
    case Errc::upstream_timeout:
      return 504;
  }
  return 500;
}

void write_result(std::string_view type, std::string_view body, bool keep_alive, std::string& out,
                  std::string_view fields) {
  out.clear();
  append_status(out, 200);
  append_field(out, "Content-Type", type);
  append_field(out, "Cache-Control", "no-store");
  append_length(out, body.size());
  out.append(fields);
  append_field(out, "Connection", keep_alive ? "keep-alive" : "close");
  out.append("\r\n").append(body);
}

namespace {

void write_refusal(unsigned status, Errc code, std::string_view detail, std::string_view fields, bool keep_alive,
                   bool head_request, std::string& out) {
  std::string body("mintfs: ");
  body.append(broker::reason_word(code)).append(": ");
  if (!detail.empty()) {
    append_detail(body, detail);
    body.append(": ");
  }
  body.append(broker::advice(code)).append("\n");

  out.clear();
  append_status(out, status, broker::reason_word(code));
  append_field(out, "Content-Type", "text/plain; charset=utf-8");
  append_field(out, "Cache-Control", "no-store");
  append_length(out, body.size());
  out.append(fields);
  append_field(out, "Connection", keep_alive ? "keep-alive" : "close");
  out.append("\r\n");
  if (!head_request) out.append(body);
}

}  // namespace

void write_error(Errc code, std::string_view detail, bool keep_alive, bool head_request, std::string& out) {
  const std::string_view again = code == Errc::too_many ? "Retry-After: 1\r\n" : "";
  write_refusal(static_cast<unsigned>(to_http_status(code)), code, detail, again, keep_alive, head_request, out);
}

void write_challenge(bool keep_alive, bool head_request, std::string& out) {
  constexpr std::string_view kAsks =
      "WWW-Authenticate: Basic realm=\"mintfs\"\r\nDocker-Distribution-Api-Version: registry/2.0\r\n";
  write_refusal(401, Errc::token_missing, {}, kAsks, keep_alive, head_request, out);
}

}  // namespace mintfs::proxy
