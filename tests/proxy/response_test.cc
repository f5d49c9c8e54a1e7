#include "proxy/response.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using Kind = BodyFraming::Kind;

std::string section(std::string_view status_line, std::string_view fields = "") {
  std::string out(status_line);
  out += "\r\n";
  for (const char c : fields) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out + "\r\n";
}

TEST(Response, ThatIsInDoubtIsRefused) {
  const struct {
    const char* status;
    std::string fields;
  } cases[] = {
      {"HTTP/1.1 200 OK", "Content-Length: 5\nTransfer-Encoding: chunked\n"},
      {"HTTP/1.1 200 OK", "Content-Length: 5\nContent-Length: 5\n"},
      {"HTTP/1.1 200 OK", "Content-Length: 5, 5\n"},
      {"HTTP/1.1 200 OK", "Content-Length: -1\n"},
      {"HTTP/1.1 200 OK", "Content-Length: 99999999999999999999\n"},
      {"HTTP/1.1 200 OK", "Transfer-Encoding: gzip\n"},
      {"HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked\n"},
      {"HTTP/1.1 200 OK", "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n"},
      {"HTTP/1.0 200 OK", "Transfer-Encoding: chunked\n"},
      {"HTTP/1.1 200 OK", "X: a\n b\n"},
      {"HTTP/1.1 200 OK", "X : a\n"},
      {"HTTP/1.1 200 OK", "X: a\rb\n"},
      {"HTTP/1.1 200 OK", std::string("X: \0\n", 5)},
      {"HTTP/1.1 101 Switching Protocols", "Upgrade: h2c\n"},
      {"HTTP/1.1 204 No Content", "Content-Length: 5\n"},
      {"HTTP/1.1 204 No Content", "Transfer-Encoding: chunked\n"},
      {"HTTP/1.1 103 Early Hints", "Content-Length: 5\n"},
      {"HTTP/1.1 099 X", ""},
      {"HTTP/1.1 600 X", ""},
      {"HTTP/1.1 20 X", ""},
      {"HTTP/2.0 200 OK", ""},
      {"ICY 200 OK", ""},
      {"", ""},
  };
  for (const auto& one : cases) {
    ResponseHead head;
    EXPECT_EQ(parse_response(section(one.status, one.fields), Method::get, head), Errc::upstream_malformed)
        << one.status << " " << one.fields;
  }
}

TEST(Response, TooLargeIsRefused) {
  ResponseHead head;
  const std::string large = "X: " + std::string(kMaxField, 'a') + "\n";
  EXPECT_EQ(parse_response(section("HTTP/1.1 200 OK", large), Method::get, head), Errc::upstream_malformed);
}

TEST(Response, EndsAsRfc9112Section63Says) {
  const struct {
    Method method;
    const char* status;
    const char* fields;
    BodyFraming framing;
    bool keep_alive;
  } cases[] = {
      {Method::get, "HTTP/1.1 200 OK", "Content-Length: 5\n", {Kind::length, 5}, true},
      {Method::get, "HTTP/1.1 200 OK", "Content-Length: 0\n", {Kind::length, 0}, true},
      {Method::get, "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\n", {Kind::chunked, 0}, true},
      {Method::get, "HTTP/1.1 200 OK", "Content-Length: 5\nConnection: close\n", {Kind::length, 5}, false},
      {Method::get, "HTTP/1.1 200 OK", "", {Kind::until_close, 0}, false},
      {Method::get, "HTTP/1.1 200 OK", "Connection: keep-alive\n", {Kind::until_close, 0}, false},
      {Method::get, "HTTP/1.0 200 OK", "Content-Length: 5\n", {Kind::length, 5}, false},
      {Method::get, "HTTP/1.0 200 OK", "Content-Length: 5\nConnection: keep-alive\n", {Kind::length, 5}, true},
      {Method::head, "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\n", {}, true},
      {Method::head, "HTTP/1.1 200 OK", "Content-Length: 5\n", {}, true},
      {Method::get, "HTTP/1.1 304 Not Modified", "Content-Length: 5\n", {}, true},
      {Method::get, "HTTP/1.1 204 No Content", "Content-Length: 0\n", {}, true},
      {Method::post, "HTTP/1.1 100 Continue", "", {}, true},
  };
  for (const auto& one : cases) {
    ResponseHead head;
    ASSERT_FALSE(parse_response(section(one.status, one.fields), one.method, head)) << one.status << one.fields;
    EXPECT_EQ(head.framing, one.framing) << one.status << " " << one.fields;
    EXPECT_EQ(head.keep_alive, one.keep_alive) << one.status << " " << one.fields;
  }
}

TEST(Response, ToHeadKeepsItsLength) {
  ResponseHead head;
  ASSERT_FALSE(parse_response(section("HTTP/1.1 200 OK", "Content-Length: 7\n"), Method::head, head));
  EXPECT_EQ(head.content_length, 7u);
  ASSERT_FALSE(parse_response(section("HTTP/1.1 200 OK", "Content-Length: 7\n"), Method::get, head));
  EXPECT_EQ(head.content_length, std::nullopt);
}

TEST(Response, MayHaveNoReasonAndUtf8InValues) {
  ResponseHead head;
  const std::string bytes = section("HTTP/1.1 200 ", "Content-Length: 0\nContent-Disposition: x=\xc3\xa9\n");
  ASSERT_FALSE(parse_response(bytes, Method::get, head));
  EXPECT_EQ(head.status, 200u);
}

TEST(Response, HasASingleValueOrNone) {
  ResponseHead head;
  const std::string bytes = section("HTTP/1.1 302 Found", "Content-Length: 0\nLocation: /a\nServer: x\nServer: y\n");
  ASSERT_FALSE(parse_response(bytes, Method::get, head));
  EXPECT_EQ(single_value(head.fields, FieldId::location), "/a");
  EXPECT_EQ(single_value(head.fields, FieldId::server), std::nullopt);
  EXPECT_EQ(single_value(head.fields, FieldId::date), std::nullopt);
}

}  // namespace
}  // namespace mintfs::proxy
