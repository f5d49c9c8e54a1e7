#include "proxy/egress.h"

#include <gtest/gtest.h>

#include <map>
#include <stdexcept>

namespace mintfs::proxy {
namespace {

using Variables = std::map<std::string, std::string>;

Egress egress(Variables variables, const std::string& setting = "environment") {
  return Egress(setting, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string way(const Egress& egress, const char* url) {
  const auto* proxy = egress.find(broker::Address::parse(url).value());
  return proxy == nullptr ? "direct" : proxy->host + ":" + std::to_string(proxy->port);
}

TEST(Egress, IsDirectWithoutAnyVariable) { EXPECT_EQ(way(egress({}), "https://git.example"), "direct"); }

TEST(Egress, ReadsTheVariablesThatCurlReads) {
  EXPECT_EQ(way(egress({{"https_proxy", "http://p:1"}}), "https://git.example"), "p:1");
  EXPECT_EQ(way(egress({{"HTTPS_PROXY", "http://p:1"}}), "https://git.example"), "p:1");
  EXPECT_EQ(way(egress({{"https_proxy", "http://p:1"}}), "http://git.example"), "direct");
  EXPECT_EQ(way(egress({{"http_proxy", "p:1"}}), "http://git.example"), "p:1");
  EXPECT_EQ(way(egress({{"HTTP_PROXY", "http://p:1"}}), "http://git.example"), "direct") << "httpoxy";
  EXPECT_EQ(way(egress({{"ALL_PROXY", "http://p"}}), "https://git.example"), "p:1080");
  EXPECT_EQ(way(egress({{"https_proxy", ""}}), "https://git.example"), "direct");
}

TEST(Egress, MayBeSaidByTheConfiguration) {
  const Variables variables = {{"https_proxy", "http://p:1"}};
  EXPECT_EQ(way(egress(variables, "none"), "https://git.example"), "direct");
  EXPECT_EQ(way(egress(variables, "http://q:2"), "https://git.example"), "q:2");
  EXPECT_EQ(way(egress({}, "http://q:2"), "http://git.example"), "q:2");
}

TEST(Egress, LeavesOutWhatNoProxyNames) {
  const auto all =
      egress({{"https_proxy", "http://p:1"},
              {"no_proxy", "inner.example, .dot.example,only.example:8443,10.0.0.0/8,fd00::/8,192.0.2.7"}});
  for (const auto* url : {"https://inner.example", "https://git.inner.example", "https://dot.example",
                          "https://a.dot.example", "https://only.example:8443", "https://10.1.2.3", "https://[fd00::7]",
                          "https://192.0.2.7", "https://localhost:3000", "https://127.0.0.1:3000", "https://[::1]"})
    EXPECT_EQ(way(all, url), "direct") << url;
  for (const auto* url : {"https://notinner.example", "https://only.example", "https://11.0.0.1", "https://[fe00::7]",
                          "https://192.0.2.70", "https://inner.example.evil.example"})
    EXPECT_EQ(way(all, url), "p:1") << url;
  EXPECT_EQ(way(egress({{"https_proxy", "http://p:1"}, {"NO_PROXY", "*"}}), "https://git.example"), "direct");
}

TEST(Egress, RefusesAProxyThatItCannotSpeakTo) {
  for (const auto* url : {"socks5://p:1", "https://p:1", "http://", "http://user:secret@"}) {
    try {
      egress({{"https_proxy", url}});
      ADD_FAILURE() << url;
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("https_proxy"), std::string::npos);
    }
  }
}

TEST(Egress, SendsTheNameAndPasswordOfTheUrl) {
  const auto with_password = egress({{"https_proxy", "http://user:p%40ss@p:1"}});
  const auto* proxy = with_password.find(broker::Address::parse("https://git.example").value());
  EXPECT_EQ(proxy->authorization.reveal(), "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n");
}

TEST(ConnectRequest, NamesTheServerWithItsPort) {
  EXPECT_EQ(connect_request(broker::Address::parse("https://git.example").value()),
            "CONNECT git.example:443 HTTP/1.1\r\nHost: git.example:443\r\n");
  EXPECT_EQ(connect_request(broker::Address::parse("https://[fd00::1]:8443/x").value()),
            "CONNECT [fd00::1]:8443 HTTP/1.1\r\nHost: [fd00::1]:8443\r\n");
}

TEST(ConnectAnswer, IsYesOnlyForAWholeHeadOfStatus2xxWithNothingBehindIt) {
  EXPECT_EQ(read_connect_answer("HTTP/1.1 200 Connection established\r\n\r\n"), true);
  EXPECT_EQ(read_connect_answer("HTTP/1.0 200 OK\r\nVia: x\r\n\r\n"), true);
  EXPECT_EQ(read_connect_answer("HTTP/1.1 200 OK\r\nVia"), std::nullopt);
  EXPECT_EQ(read_connect_answer("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), false);
  EXPECT_EQ(read_connect_answer("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), false);
  EXPECT_EQ(read_connect_answer("SSH-2.0-x\r\n\r\n"), false);
}

}  // namespace
}  // namespace mintfs::proxy
