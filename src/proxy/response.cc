#include "proxy/response.h"

#include <boost/beast/http/basic_parser.hpp>

namespace mintfs::proxy {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using broker::Errc;
using BeastView = boost::beast::string_view;

class Parser final : public http::basic_parser<false> {
 public:
  explicit Parser(ResponseHead& out) : out_(out) {
    eager(false);
    header_limit(static_cast<std::uint32_t>(kMaxHeaderSection));
    body_limit(boost::none);
  }

 private:
  void on_request_impl(http::verb, BeastView, BeastView, int, error_code&) override {}
  void on_response_impl(int status, BeastView, int version, error_code&) override {
    out_.status = static_cast<unsigned>(status);
    out_.version_minor = version - 10;
  }
  void on_field_impl(http::field id, BeastView name, BeastView value, error_code&) override {
    out_.fields.push_back({name, value, id});
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(BeastView, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, BeastView, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  ResponseHead& out_;
};

// RFC 9112 section 6.3, in its order.
error_code set_framing(Method method, ResponseHead& out) {
  const auto declared = declared_length(out.fields, out.version_minor);
  if (!declared) return Errc::upstream_malformed;
  if (out.status < 200 || out.status == 204) {
    // Neither field belongs here; a length of nothing is seen and harmless.
    if (declared->chunked || declared->length.value_or(0) != 0) return Errc::upstream_malformed;
  } else if (method == Method::head || out.status == 304) {
    out.content_length = declared->length;
  } else if (declared->chunked) {
    out.framing = {BodyFraming::Kind::chunked, 0};
  } else if (declared->length) {
    out.framing = {BodyFraming::Kind::length, *declared->length};
  } else {
    out.framing = {BodyFraming::Kind::until_close, 0};
  }
  return {};
}

}  // namespace

error_code parse_response(std::string_view section, Method method, ResponseHead& out) {
  // Servers do send UTF-8 in values (file names); git and curl take it.
  if (scan_section(section, true)) return Errc::upstream_malformed;

  out.fields.clear();
  out.framing = {};
  out.content_length.reset();
  Parser parser(out);
  error_code error;
  const std::size_t consumed = parser.put(boost::asio::const_buffer(section.data(), section.size()), error);
  if (error || consumed != section.size() || !parser.is_header_done()) return Errc::upstream_malformed;
  // We never ask for an upgrade, so that 101 would be an answer to nobody.
  if (out.status < 100 || out.status > 599 || out.status == 101) return Errc::upstream_malformed;
  if ((error = set_framing(method, out))) return error;
  out.keep_alive = out.framing.kind != BodyFraming::Kind::until_close && !connection_names(out.fields, "close") &&
                   (out.version_minor == 1 || connection_names(out.fields, "keep-alive"));
  return {};
}

std::optional<std::string_view> single_value(const std::vector<Field>& fields, FieldId id) noexcept {
  std::string_view value;
  if (count_fields(fields, id, &value) != 1) return std::nullopt;
  return value;
}

}  // namespace mintfs::proxy
