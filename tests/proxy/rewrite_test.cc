#include "proxy/rewrite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using testing::HasSubstr;
using testing::Not;
using Kind = BodyFraming::Kind;

// Keeps the section that the head points into.
template <class Head>
struct Parsed {
  std::string section;
  Head head;
};

void parse(Parsed<RequestHead>& out, std::string section) {
  out.section = std::move(section) + "\r\n";
  ASSERT_FALSE(parse_request(out.section, out.head));
}

void parse(Parsed<ResponseHead>& out, std::string section, Method method = Method::get) {
  out.section = std::move(section) + "\r\n";
  ASSERT_FALSE(parse_response(out.section, method, out.head));
}

Outgoing outgoing() {
  return {
      .method = "GET", .prefix = "/scm", .path = "/a/b", .query = "q", .has_query = true, .authority = "git.example"};
}

TEST(RequestRewrite, SaysWhatGitNeeds) {
  Parsed<RequestHead> request;
  parse(request,
        "GET /x HTTP/1.1\r\nHost: proxy\r\nUser-Agent: git/2\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
        "Git-Protocol: version=2\r\nPragma: no-cache\r\n");
  std::string out = "old";
  write_request_head(request.head, outgoing(), out);
  EXPECT_EQ(out,
            "GET /scm/a/b?q HTTP/1.1\r\nHost: git.example\r\nUser-Agent: git/2\r\nAccept: */*\r\n"
            "Accept-Encoding: gzip\r\nGit-Protocol: version=2\r\nPragma: no-cache\r\n");
  auto to = outgoing();
  to.identity_only = true;
  write_request_head(request.head, to, out);
  EXPECT_THAT(out, Not(HasSubstr("Accept-Encoding")));
}

TEST(RequestRewrite, FramesTheBodyAnew) {
  Parsed<RequestHead> request;
  parse(request, "POST /x HTTP/1.1\r\nHost: p\r\nContent-Type: t\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n");
  auto to = outgoing();
  to.method = "POST";
  to.has_query = false;
  const std::string head =
      "POST /scm/a/b HTTP/1.1\r\nHost: git.example\r\nContent-Type: t\r\nContent-Encoding: gzip\r\n";
  std::string out;
  to.framing = {Kind::length, 5};
  write_request_head(request.head, to, out);
  EXPECT_EQ(out, head + "Content-Length: 5\r\n");
  to.framing = {Kind::chunked, 0};
  write_request_head(request.head, to, out);
  EXPECT_EQ(out, head + "Transfer-Encoding: chunked\r\n");
  to.framing = {};
  write_request_head(request.head, to, out);
  EXPECT_EQ(out, head + "Content-Length: 0\r\n");
}

TEST(RequestRewrite, DropsWhatIsNotForTheUpstream) {
  Parsed<RequestHead> request;
  const char* names[] = {"Authorization", "Proxy-Authorization", "Cookie", "Keep-Alive", "Proxy-Connection", "TE",
                         "Trailer", "Upgrade", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP",
                         // What a server or a frontend would obey.
                         "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Private-Token", "Job-Token",
                         "Sudo", "Proxy", "Content_Length", "Git_Protocol", "X-Unknown"};
  std::string section = "GET /x HTTP/1.1\r\nHost: proxy\r\nExpect: 100-continue\r\n";
  for (const char* name : names) section.append(name).append(": secret\r\n");
  parse(request, section);
  std::string out;
  write_request_head(request.head, outgoing(), out);
  EXPECT_EQ(out, "GET /scm/a/b?q HTTP/1.1\r\nHost: git.example\r\n");
}

TEST(RequestRewrite, DropsWhatConnectionNamesButNotItsOwnFields) {
  Parsed<RequestHead> request;
  parse(request,
        "POST /x HTTP/1.1\r\nHost: p\r\nConnection: User-Agent, x\r\nConnection: host,content-length, ACCEPT\r\n"
        "User-Agent: u\r\nAccept: a\r\nPragma: p\r\nContent-Length: 5\r\n");
  auto to = outgoing();
  to.method = "POST";
  to.framing = {Kind::length, 5};
  std::string out;
  write_request_head(request.head, to, out);
  EXPECT_EQ(out, "POST /scm/a/b?q HTTP/1.1\r\nHost: git.example\r\nPragma: p\r\nContent-Length: 5\r\n");
}

TEST(ResponseRewrite, DropsWhatIsNotForTheClient) {
  Parsed<RequestHead> request;
  parse(request, "GET /x HTTP/1.1\r\nHost: p\r\n");
  Parsed<ResponseHead> response;
  const char* names[] = {"Set-Cookie",
                         "Set-Cookie2",
                         "WWW-Authenticate",
                         "Proxy-Authenticate",
                         "Authentication-Info",
                         "Proxy-Authentication-Info",
                         "LFS-Authenticate",
                         "Strict-Transport-Security",
                         "Alt-Svc",
                         "Public-Key-Pins",
                         "Public-Key-Pins-Report-Only",
                         "Location",
                         "Content-Location",
                         "Refresh",
                         "Clear-Site-Data",
                         "X-Accel-Redirect",
                         "X-Sendfile",
                         "Keep-Alive",
                         "Upgrade",
                         "Trailer",
                         "Proxy-Connection",
                         "X-Hop"};
  std::string section = "HTTP/1.1 200 Fine\r\nConnection: x-hop\r\nX-Kept: kept\r\nContent-Length: 5\r\n";
  for (const char* name : names) section.append(name).append(": secret\r\n");
  parse(response, section);
  std::string out;
  write_response_head(response.head, {Kind::length, 5}, true, request.head, out);
  EXPECT_EQ(out, "HTTP/1.1 200 OK\r\nX-Kept: kept\r\nContent-Length: 5\r\n\r\n");
  write_response_head(response.head, {Kind::chunked, 0}, false, request.head, out, "/safe");
  EXPECT_EQ(out,
            "HTTP/1.1 200 OK\r\nX-Kept: kept\r\nLocation: /safe\r\nTransfer-Encoding: chunked\r\n"
            "Connection: close\r\n\r\n");
}

TEST(ResponseRewrite, EndsTheMessageForEveryClient) {
  const struct {
    const char* request;
    const char* response;
    BodyFraming relayed;
    bool keep_alive;
    const char* expected;
  } cases[] = {
      {"GET /x HTTP/1.1", "200 OK\r\n", {Kind::until_close, 0}, true, "200 OK\r\nConnection: close\r\n\r\n"},
      {"GET /x HTTP/1.0",
       "200 OK\r\nContent-Length: 1\r\n",
       {Kind::length, 1},
       true,
       "200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n"},
      {"HEAD /x HTTP/1.1", "200 OK\r\nContent-Length: 7\r\n", {}, true, "200 OK\r\nContent-Length: 7\r\n\r\n"},
      {"HEAD /x HTTP/1.1", "200 OK\r\nTransfer-Encoding: chunked\r\n", {}, true, "200 OK\r\n\r\n"},
      {"GET /x HTTP/1.1", "304 Not Modified\r\n", {}, true, "304 Not Modified\r\n\r\n"},
      {"GET /x HTTP/1.1", "204 No Content\r\n", {}, true, "204 No Content\r\n\r\n"},
      {"GET /x HTTP/1.1", "299 What\r\nContent-Length: 0\r\n", {}, true, "299 \r\nContent-Length: 0\r\n\r\n"},
  };
  for (const auto& one : cases) {
    Parsed<RequestHead> request;
    parse(request, std::string(one.request) + "\r\nHost: p\r\n");
    Parsed<ResponseHead> response;
    parse(response, std::string("HTTP/1.1 ") + one.response, request.head.method);
    std::string out;
    write_response_head(response.head, one.relayed, one.keep_alive, request.head, out);
    EXPECT_EQ(out, std::string("HTTP/1.1 ") + one.expected);
  }
}

TEST(RequestHead, FoldsWhatCameFoldedAndNothingElse) {
  const struct {
    std::string_view path;
    Folded folded;
    std::string_view sent;
  } cases[] = {
      {"/a/b", {}, "/a/b"},
      {"/@a/b", {Folded::Kind::scope, 1, 5}, "/@a%2fb"},
      {"/x/@a/b/-/c", {Folded::Kind::scope, 3, 7}, "/x/@a%2fb/-/c"},
      {"/p/a/b/c/d/e", {Folded::Kind::project, 3, 8}, "/p/a%2fb%2fc/d/e"},
  };
  for (const auto& each : cases) {
    std::string out;
    write_request_head({},
                       {.method = "GET",
                        .prefix = "/pre/fix",
                        .path = each.path,
                        .folded = each.folded,
                        .query = {},
                        .authority = "h"},
                       out);
    EXPECT_THAT(out, testing::StartsWith("GET /pre/fix" + std::string(each.sent) + " HTTP/1.1\r\n"));
  }
}

TEST(ErrorAnswer, SaysTheReasonAndNeverAsksForAPassword) {
  for (int value = static_cast<int>(Errc::token_missing); value <= static_cast<int>(Errc::internal); ++value) {
    const auto code = static_cast<Errc>(value);
    std::string out;
    write_error(code, "", true, false, out);
    const int status = to_http_status(code);
    EXPECT_THAT(out, testing::StartsWith("HTTP/1.1 " + std::to_string(status) + " "));
    EXPECT_NE(status, 401);
    EXPECT_GE(status, 400);
    EXPECT_THAT(out, Not(HasSubstr("Authenticate")));
    EXPECT_THAT(out, HasSubstr("\r\nContent-Type: text/plain"));
    const auto body = out.substr(out.find("\r\n\r\n") + 4);
    EXPECT_EQ(body,
              "mintfs: " + std::string(broker::reason_word(code)) + ": " + std::string(broker::advice(code)) + "\n");
    EXPECT_THAT(out, HasSubstr("\r\nContent-Length: " + std::to_string(body.size()) + "\r\n"));
  }
}

TEST(ErrorAnswer, HasTheStatusOfItsReason) {
  const std::pair<Errc, int> cases[] = {
      {Errc::request_malformed, 400}, {Errc::token_missing, 403},     {Errc::token_expired, 403},
      {Errc::lease_closed, 403},      {Errc::repository_denied, 403}, {Errc::operation_denied, 403},
      {Errc::connector_unknown, 404}, {Errc::request_timeout, 408},   {Errc::body_too_large, 413},
      {Errc::too_many, 429},          {Errc::header_too_large, 431},  {Errc::internal, 500},
      {Errc::upstream_refused, 502},  {Errc::upstream_redirect, 502}, {Errc::address_denied, 502},
      {Errc::upstream_timeout, 504},  {Errc::reference_denied, 403}};
  for (const auto& [code, status] : cases) EXPECT_EQ(to_http_status(code), status) << broker::reason_word(code);
}

TEST(ErrorAnswer, NamesTheThingAndKeepsClientBytesHarmless) {
  std::string out;
  write_error(Errc::upstream_refused, "default/git", false, false, out);
  EXPECT_THAT(out, HasSubstr("\r\n\r\nmintfs: upstream-refused: default/git: The server refuses"));
  EXPECT_THAT(out, HasSubstr("\r\nConnection: close\r\n"));
  write_error(Errc::connector_unknown, "a\r\nX: y\x1b[31m\xff" + std::string(5000, 'a'), true, false, out);
  EXPECT_THAT(out, HasSubstr("a??X: y?[31m?aaa"));
  EXPECT_LT(out.size(), 1000u);
}

TEST(ErrorAnswer, ToHeadHasNoBodyAndABoundSaysWhenToComeBack) {
  std::string out;
  write_error(Errc::too_many, "", true, true, out);
  EXPECT_THAT(out, HasSubstr("HTTP/1.1 429 Too Many Requests, mintfs: too-many\r\n"));
  EXPECT_THAT(out, HasSubstr("\r\nRetry-After: 1\r\n"));
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
  EXPECT_THAT(out, Not(HasSubstr("mintfs: too-many: ")));
}

}  // namespace
}  // namespace mintfs::proxy
