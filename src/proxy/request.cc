#include "proxy/request.h"

#include <boost/asio/ip/address_v6.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <charconv>

namespace mintfs::proxy {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using broker::Errc;
using BeastView = boost::beast::string_view;

// Records views into the section; the body is not its business.
class Parser final : public http::basic_parser<true> {
 public:
  explicit Parser(RequestHead& out) : out_(out) {
    eager(false);
    header_limit(static_cast<std::uint32_t>(kMaxHeaderSection));
    body_limit(boost::none);
  }

 private:
  void on_request_impl(http::verb, BeastView method, BeastView target, int version, error_code&) override {
    out_.method_text = method;
    out_.target = target;
    out_.version_minor = version - 10;
  }
  void on_response_impl(int, BeastView, int, error_code&) override {}
  void on_field_impl(http::field id, BeastView name, BeastView value, error_code&) override {
    out_.fields.push_back({name, value, id});
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(BeastView, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, BeastView, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  RequestHead& out_;
};

Method to_method(std::string_view text) {
  if (text == "GET") return Method::get;
  if (text == "HEAD") return Method::head;
  if (text == "POST") return Method::post;
  if (text == "PUT") return Method::put;
  if (text == "PATCH") return Method::patch;
  if (text == "DELETE") return Method::del;
  return Method::other;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool valid_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return !text.empty() && text.size() <= 5 && error == std::errc() && end == text.data() + text.size() && port <= 65535;
}

// uri-host [ ":" port ] (RFC 9110 section 7.2), with the characters that hosts really have.
bool valid_host(std::string_view host) {
  std::size_t end = 0;
  if (host.starts_with('[')) {
    end = host.find(']');
    if (end == std::string_view::npos) return false;
    const auto literal = host.substr(1, end - 1);
    boost::system::error_code error;
    boost::asio::ip::make_address_v6(literal, error);
    if (error || literal.find('%') != std::string_view::npos) return false;  // a zone means something here only
    ++end;
  } else {
    const auto good = [](char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_'; };
    end = static_cast<std::size_t>(std::find_if_not(host.begin(), host.end(), good) - host.begin());
    // What a name without a label means is told differently.
    if (end == 0 || host.front() == '.' || host.substr(0, end).find("..") != std::string_view::npos) return false;
  }
  return end == host.size() || (host[end] == ':' && valid_port(host.substr(end + 1)));
}

// Whether only spaces stand around the value. The section goes on behind it with CRLF.
bool has_plain_margins(const Field& field) {
  const char* at = field.name.data() + field.name.size() + 1;  // after the colon
  for (; at != field.value.data(); ++at)
    if (*at != ' ') return false;
  for (at += field.value.size(); *at != '\r'; ++at)
    if (*at != ' ') return false;
  return true;
}

// A tab is white space as well (RFC 9110 section 5.6.3), but nginx takes it for a part of the value:
// not around what tells the host and the end of the body.
error_code check_margins(const RequestHead& head) {
  for (const Field& field : head.fields) {
    const bool decides =
        field.id == FieldId::host || field.id == FieldId::content_length || field.id == FieldId::transfer_encoding;
    if (decides && !has_plain_margins(field)) return Errc::request_malformed;
  }
  return {};
}

// Checks Host and brings the target into origin-form.
error_code check_target(RequestHead& out) {
  const std::size_t hosts = count_fields(out.fields, FieldId::host, &out.host);
  if (hosts > 1 || (hosts == 0 && out.version_minor == 1)) return Errc::request_malformed;
  if (hosts == 1 && !valid_host(out.host)) return Errc::request_malformed;
  if (out.target.starts_with('/')) return {};

  // absolute-form (RFC 9112 section 3.2.2); asterisk-form and authority-form fall through.
  const std::size_t colon = out.target.find("://");
  if (colon == std::string_view::npos) return Errc::request_malformed;
  const auto scheme = out.target.substr(0, colon);
  if (!iequals(scheme, "http") && !iequals(scheme, "https")) return Errc::request_malformed;
  const auto rest = out.target.substr(colon + 3);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const auto authority = rest.substr(0, slash);
  if (!valid_host(authority)) return Errc::request_malformed;
  if (hosts == 0) out.host = authority;
  if (!iequals(authority, out.host)) return Errc::request_malformed;
  out.target = slash == rest.size() ? std::string_view("/") : rest.substr(slash);
  return {};
}

error_code check_framing(RequestHead& out) {
  const auto declared = declared_length(out.fields, out.version_minor);
  if (!declared) return Errc::request_malformed;
  if (declared->chunked) {
    out.framing = {BodyFraming::Kind::chunked, 0};
  } else if (declared->length) {
    out.framing = {BodyFraming::Kind::length, *declared->length};
  }
  if (out.method != Method::get && out.method != Method::head) return {};
  // A body has no meaning there (RFC 9110 section 9.3.1) and some servers leave it for the next request.
  if (declared->chunked || declared->length.value_or(0) != 0) return Errc::request_malformed;
  out.framing = {};
  return {};
}

error_code check_expect(RequestHead& out) {
  std::string_view expect;
  const std::size_t expects = count_fields(out.fields, FieldId::expect, &expect);
  if (expects == 0) return {};
  if (expects > 1 || !iequals(expect, "100-continue")) return Errc::request_malformed;
  out.expect_continue = out.version_minor == 1;  // RFC 9110 section 10.1.1
  return {};
}

}  // namespace

error_code parse_request(std::string_view section, RequestHead& out) {
  if (const auto error = scan_section(section, false)) return error;

  out.fields.clear();
  out.framing = {};
  out.expect_continue = false;
  out.authorization.reset();
  out.host = {};
  Parser parser(out);
  error_code error;
  const std::size_t consumed = parser.put(boost::asio::const_buffer(section.data(), section.size()), error);
  if (error || consumed != section.size() || !parser.is_header_done()) return Errc::request_malformed;
  if (out.method_text == "TRACE" || out.method_text == "CONNECT") return Errc::request_malformed;
  out.method = to_method(out.method_text);

  std::string_view authorization;
  const std::size_t authorizations = count_fields(out.fields, FieldId::authorization, &authorization);
  if (authorizations > 1) return Errc::request_malformed;
  if (authorizations == 1) out.authorization = authorization;

  if ((error = check_margins(out)) || (error = check_target(out)) || (error = check_framing(out)) ||
      (error = check_expect(out)))
    return error;
  out.keep_alive =
      !connection_names(out.fields, "close") && (out.version_minor == 1 || connection_names(out.fields, "keep-alive"));
  return {};
}

}  // namespace mintfs::proxy
