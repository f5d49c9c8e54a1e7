#include "proxy/request.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using Kind = BodyFraming::Kind;

struct Case {
  const char* name;
  std::string section;  // with "\n" for CRLF, "\r" stays
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

std::string name_of(const testing::TestParamInfo<Case>& info) {
  std::string name;
  bool upper = true;
  for (const char* c = info.param.name; *c != '\0'; ++c) {
    if (std::isalnum(static_cast<unsigned char>(*c)) != 0) name += upper ? static_cast<char>(std::toupper(*c)) : *c;
    upper = std::isalnum(static_cast<unsigned char>(*c)) == 0;
  }
  return name;
}

std::string crlf(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

const std::string kHead = "GET /x HTTP/1.1\nHost: proxy:8418\n";
const std::string kPost = "POST /x HTTP/1.1\nHost: proxy:8418\n";

class Refused : public testing::TestWithParam<Case> {};

TEST_P(Refused, IsMalformed) {
  RequestHead head;
  EXPECT_EQ(parse_request(crlf(GetParam().section), head), Errc::request_malformed);
}

INSTANTIATE_TEST_SUITE_P(
    Framing, Refused,
    testing::Values(Case{"transfer encoding gzip with length",
                         kPost + "Transfer-Encoding: gzip\nContent-Length: 5\n\n"},
                    Case{"transfer encoding gzip", kPost + "Transfer-Encoding: gzip\n\n"},
                    Case{"chunked then identity", kPost + "Transfer-Encoding: chunked, identity\n\n"},
                    Case{"gzip then chunked", kPost + "Transfer-Encoding: gzip, chunked\n\n"},
                    Case{"chunked in two fields", kPost + "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n"},
                    Case{"chunked with parameter", kPost + "Transfer-Encoding: chunked;q=1\n\n"},
                    Case{"empty transfer encoding", kPost + "Transfer-Encoding:\nContent-Length: 5\n\n"},
                    Case{"xchunked with length", kPost + "Transfer-Encoding: xchunked\nContent-Length: 5\n\n"},
                    Case{"chunked in http 1 0", "POST /x HTTP/1.0\nHost: h\nTransfer-Encoding: chunked\n\n"},
                    Case{"both framings", kPost + "Content-Length: 5\nTransfer-Encoding: chunked\n\n"},
                    Case{"length list", kPost + "Content-Length: 5, 5\n\n"},
                    Case{"same length twice", kPost + "Content-Length: 5\nContent-Length: 5\n\n"},
                    Case{"two lengths", kPost + "Content-Length: 5\nContent-Length: 6\n\n"},
                    Case{"signed length", kPost + "Content-Length: +5\n\n"},
                    Case{"negative length", kPost + "Content-Length: -5\n\n"},
                    Case{"hexadecimal length", kPost + "Content-Length: 0x5\n\n"},
                    Case{"empty length", kPost + "Content-Length:\n\n"},
                    Case{"length over 64 bits", kPost + "Content-Length: 18446744073709551616\n\n"},
                    Case{"length over 63 bits", kPost + "Content-Length: 9223372036854775808\n\n"},
                    Case{"tab before length", kPost + "Content-Length:\t5\n\n"},
                    Case{"tab after length", kPost + "Content-Length: 5 \t\n\n"},
                    Case{"tab before coding", kPost + "Transfer-Encoding: \tchunked\n\n"},
                    Case{"tab after coding", kPost + "Transfer-Encoding: chunked\t\n\n"},
                    Case{"get with a body", kHead + "Content-Length: 5\n\n"},
                    Case{"get with chunks", kHead + "Transfer-Encoding: chunked\n\n"},
                    Case{"head with a body", "HEAD /x HTTP/1.1\nHost: h\nContent-Length: 1\n\n"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(Host, Refused,
                         testing::Values(Case{"missing", "GET /x HTTP/1.1\nAccept: a\n\n"},
                                         Case{"twice", kHead + "Host: proxy:8418\n\n"},
                                         Case{"twice in http 1 0", "GET /x HTTP/1.0\nHost: a\nHost: a\n\n"},
                                         Case{"empty", "GET /x HTTP/1.1\nHost:\n\n"},
                                         Case{"with user", "GET /x HTTP/1.1\nHost: u@h\n\n"},
                                         Case{"with path", "GET /x HTTP/1.1\nHost: h/p\n\n"},
                                         Case{"with two", "GET /x HTTP/1.1\nHost: a, b\n\n"},
                                         Case{"with bad port", "GET /x HTTP/1.1\nHost: h:99999\n\n"},
                                         Case{"with empty port", "GET /x HTTP/1.1\nHost: h:\n\n"},
                                         Case{"with tab", "GET /x HTTP/1.1\nHost: h\t\n\n"},
                                         Case{"with a dot alone", "GET /x HTTP/1.1\nHost: .\n\n"},
                                         Case{"with two dots", "GET /x HTTP/1.1\nHost: a..b\n\n"},
                                         Case{"with bad literal", "GET /x HTTP/1.1\nHost: [::1\n\n"},
                                         Case{"with literal of two dots", "GET /x HTTP/1.1\nHost: [::1.2..4]\n\n"},
                                         Case{"with literal of nothing", "GET /x HTTP/1.1\nHost: [:]\n\n"},
                                         Case{"with literal and zone", "GET /x HTTP/1.1\nHost: [fe80::1%25e]\n\n"},
                                         Case{"with literal and more", "GET /x HTTP/1.1\nHost: [::1]x\n\n"}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(
    Target, Refused,
    testing::Values(
        Case{"absolute of another host", "GET http://other/x HTTP/1.1\nHost: proxy:8418\n\n"},
        Case{"absolute of another port", "GET http://proxy:80/x HTTP/1.1\nHost: proxy:8418\n\n"},
        Case{"absolute with user", "GET http://u@proxy:8418/x HTTP/1.1\nHost: proxy:8418\n\n"},
        Case{"absolute of another scheme", "GET ftp://proxy:8418/x HTTP/1.1\nHost: proxy:8418\n\n"},
        Case{"absolute without path but query", "GET http://proxy:8418?x HTTP/1.1\nHost: proxy:8418\n\n"},
        Case{"asterisk", "OPTIONS * HTTP/1.1\nHost: h\n\n"}, Case{"authority", "GET h:1 HTTP/1.1\nHost: h:1\n\n"},
        Case{"relative", "GET x HTTP/1.1\nHost: h\n\n"}, Case{"empty", "GET  HTTP/1.1\nHost: h\n\n"},
        Case{"trace", "TRACE /x HTTP/1.1\nHost: h\n\n"}, Case{"connect", "CONNECT h:1 HTTP/1.1\nHost: h:1\n\n"},
        Case{"connect with path", "CONNECT /x HTTP/1.1\nHost: h\n\n"}, Case{"http 2 preface", "PRI * HTTP/2.0\n\n"},
        Case{"http 2", "GET /x HTTP/2.0\nHost: h\n\n"}, Case{"http 1 2", "GET /x HTTP/1.2\nHost: h\n\n"},
        Case{"http 0 9", "GET /x\n\n"}, Case{"lower case http", "GET /x http/1.1\nHost: h\n\n"},
        Case{"two spaces", "GET  /x HTTP/1.1\nHost: h\n\n"}, Case{"tab for space", "GET\t/x HTTP/1.1\nHost: h\n\n"},
        Case{"byte over 7e", "GET /\xc3\xa9 HTTP/1.1\nHost: h\n\n"},
        Case{"delete character", "GET /\x7f HTTP/1.1\nHost: h\n\n"},
        Case{"empty line first", "\nGET /x HTTP/1.1\nHost: h\n\n"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Fields, Refused,
    testing::Values(Case{"folded line", kHead + "X: a\n b\n\n"}, Case{"folded with tab", kHead + "X: a\n\tb\n\n"},
                    Case{"folded authorization", kHead + "Authorization: Basic eA==\n more\n\n"},
                    Case{"folded first line", "GET /x HTTP/1.1\n Host: h\nHost: h\n\n"},
                    Case{"two authorizations", kHead + "Authorization: a\nauthorization: a\n\n"},
                    Case{"space before colon", kHead + "X : 1\n\n"}, Case{"no colon", kHead + "X\n\n"},
                    Case{"no name", kHead + ": 1\n\n"}, Case{"nul", kHead + std::string("X: a\0b\n\n", 8)},
                    Case{"control character", kHead + "X: a\x01\n\n"}, Case{"bare cr", kHead + "X: a\rb\n\n"},
                    Case{"cr twice", kHead + "X: a\r\n\n"}, Case{"obs text in value", kHead + "X: \xe9\n\n"},
                    Case{"obs text in name", kHead + "X\xe9: 1\n\n"},
                    Case{"other expectation", kHead + "Expect: x\n\n"},
                    Case{"two expectations", kHead + "Expect: 100-continue\nExpect: 100-continue\n\n"}),
    name_of);

TEST(Request, WithABareLineFeedIsRefused) {
  RequestHead head;
  EXPECT_EQ(parse_request("GET /x HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", head), Errc::request_malformed);
  EXPECT_EQ(parse_request("GET /x HTTP/1.1\nHost: h\r\n\r\n", head), Errc::request_malformed);
}

TEST(Request, HasBoundedSizes) {
  RequestHead head;
  const auto with = [&](const std::string& fields) { return parse_request(crlf(kHead) + fields + "\r\n", head); };
  EXPECT_EQ(with("X: " + std::string(kMaxField - 3, 'a') + "\r\n"), boost::system::error_code());
  EXPECT_EQ(with("X: " + std::string(kMaxField - 2, 'a') + "\r\n"), Errc::header_too_large);
  EXPECT_EQ(with(std::string(kMaxField + 1, 'a') + ": 1\r\n"), Errc::header_too_large);

  std::string many;
  for (std::size_t i = 1; i < kMaxFields; ++i) many += "X: 1\r\n";
  EXPECT_EQ(with(many), boost::system::error_code());
  EXPECT_EQ(head.fields.size(), kMaxFields);
  EXPECT_EQ(with(many + "X: 1\r\n"), Errc::header_too_large);

  std::string large;
  while (large.size() <= kMaxHeaderSection) large += "X: " + std::string(8000, 'a') + "\r\n";
  EXPECT_EQ(with(large), Errc::header_too_large);
  EXPECT_EQ(parse_request("GET /" + std::string(kMaxField, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", head),
            Errc::header_too_large);
}

TEST(Request, OfGitIsRead) {
  const std::string section = crlf(
      "POST /namespaces/default/connectors/github/a/b.git/git-upload-pack?q HTTP/1.1\nHost: 127.0.0.1:8418\n"
      "Authorization: Basic OnRva2Vu\nUser-Agent: git/2.39.5\nContent-Encoding: gzip\nContent-Length:  1234 \n"
      "expect: 100-Continue\n\n");
  RequestHead head;
  ASSERT_EQ(parse_request(section, head), boost::system::error_code());
  EXPECT_EQ(head.method, Method::post);
  EXPECT_EQ(head.method_text, "POST");
  EXPECT_EQ(head.target, "/namespaces/default/connectors/github/a/b.git/git-upload-pack?q");
  EXPECT_EQ(head.host, "127.0.0.1:8418");
  EXPECT_EQ(head.authorization, "Basic OnRva2Vu");
  EXPECT_EQ(head.framing, (BodyFraming{Kind::length, 1234}));
  EXPECT_EQ(head.version_minor, 1);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_TRUE(head.expect_continue);
  ASSERT_EQ(head.fields.size(), 6u);
  EXPECT_EQ(head.fields[4].value, "1234");
  EXPECT_EQ(head.fields[4].id, FieldId::content_length);
}

TEST(Request, LeavesNothingOfTheOneBeforeIt) {
  RequestHead head;
  ASSERT_FALSE(
      parse_request(crlf(kPost + "Authorization: a\nExpect: 100-continue\nTransfer-Encoding: Chunked\n\n"), head));
  EXPECT_EQ(head.framing.kind, Kind::chunked);
  ASSERT_FALSE(parse_request("GET /y HTTP/1.0\r\n\r\n", head));
  EXPECT_EQ(head.authorization, std::nullopt);
  EXPECT_EQ(head.framing, BodyFraming());
  EXPECT_EQ(head.host, "");
  EXPECT_FALSE(head.expect_continue);
  EXPECT_TRUE(head.fields.empty());
}

TEST(Request, StaysOpenAsItsVersionSays) {
  const struct {
    std::string head;
    bool keep_alive;
  } cases[] = {{"HTTP/1.1\nHost: h", true},
               {"HTTP/1.1\nHost: h\nConnection: close", false},
               {"HTTP/1.1\nHost: h\nConnection: x, CLOSE", false},
               {"HTTP/1.1\nHost: h\nConnection: x\nConnection: close", false},
               {"HTTP/1.1\nHost: h\nConnection: enclosed", true},
               {"HTTP/1.0\nHost: h", false},
               {"HTTP/1.0\nHost: h\nConnection: Keep-Alive", true},
               {"HTTP/1.0\nHost: h\nConnection: keep-alive, close", false}};
  for (const auto& one : cases) {
    RequestHead head;
    ASSERT_FALSE(parse_request(crlf("GET /x " + one.head + "\n\n"), head)) << one.head;
    EXPECT_EQ(head.keep_alive, one.keep_alive) << one.head;
  }
}

TEST(Request, InAbsoluteFormIsReduced) {
  RequestHead head;
  const std::string section = "GET HTTP://Proxy:8418/x?y HTTP/1.1\r\nHost: proxy:8418\r\n\r\n";
  ASSERT_FALSE(parse_request(section, head));
  EXPECT_EQ(head.target, "/x?y");
  ASSERT_FALSE(parse_request("GET http://h HTTP/1.0\r\n\r\n", head));
  EXPECT_EQ(head.target, "/");
}

TEST(Request, OfLength0HasNoBodyWhereNoneIsMeant) {
  RequestHead head;
  ASSERT_FALSE(parse_request(crlf(kHead + "Content-Length: 0\n\n"), head));
  EXPECT_EQ(head.framing.kind, Kind::none);
  ASSERT_FALSE(parse_request(crlf(kPost + "Content-Length: 0\n\n"), head));
  EXPECT_EQ(head.framing, (BodyFraming{Kind::length, 0}));
  ASSERT_FALSE(parse_request(crlf(kPost + "Content-Length: 9223372036854775807\n\n"), head));
  EXPECT_EQ(head.framing.length, 9223372036854775807u);
}

TEST(Request, FromHttp10MayNotExpect100) {
  RequestHead head;
  ASSERT_FALSE(parse_request("POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", head));
  EXPECT_FALSE(head.expect_continue);
}

TEST(Request, MethodIsCaseSensitive) {
  RequestHead head;
  ASSERT_FALSE(parse_request("get /x HTTP/1.1\r\nHost: h\r\n\r\n", head));
  EXPECT_EQ(head.method, Method::other);
}

TEST(HeaderEnd, IsFoundWhereverTheBytesAreCut) {
  const std::string section = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string bytes = section + "body\r\n\r\n";
  for (std::size_t cut = 0; cut < section.size(); ++cut) {
    std::size_t from = 0;
    EXPECT_EQ(find_header_end(std::string_view(bytes).substr(0, cut), from), std::string_view::npos);
    EXPECT_EQ(find_header_end(bytes, from), section.size()) << cut;
  }
}

}  // namespace
}  // namespace mintfs::proxy
