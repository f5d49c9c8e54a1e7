#include "proxy/cargo_index.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mintfs::proxy {
namespace {

using broker::Errc;

constexpr std::string_view kBase = "http://proxy/namespaces/default/connectors/c";

struct Outcome {
  boost::system::error_code error;
  std::string text;
};

Outcome rewritten(std::string_view json) {
  static const auto upstream = *broker::Address::parse("https://host.example/base");
  Outcome outcome;
  outcome.error = rewrite_index_config(json, upstream, "/repository/crates/config.json", kBase, outcome.text);
  return outcome;
}

// What is downloaded and published where.
std::string config(std::string_view download, std::string_view api) {
  return R"({"dl":")" + std::string(download) + R"(","api":")" + std::string(api) + R"(","auth-required":true})";
}

TEST(IndexConfig, LeadsToTheProxyWhichDemandsAToken) {
  struct Case {
    std::string_view in, download, api;
  };
  const std::string base(kBase);
  for (
      const auto& each : {
          Case{
              R"({"dl":"https://host.example/base/r/c/{crate}/{version}/download","api":"https://host.example/base/r"})",
              "/r/c/{crate}/{version}/download", "/r"},
          Case{R"({"dl":"https://host.example:443/base/r/{lowerprefix}/{crate}-{version}.crate","api":"/base"})",
               "/r/{lowerprefix}/{crate}-{version}.crate", ""},
          Case{R"({"dl":"https://host.example/base/v1/crates/","api":"https://host.example/base/r/"})", "/v1/crates",
               "/r"},
          Case{R"({"dl":"https:\/\/host.example\/base\/v1","api":"https://host.example/base/","auth-required":false})",
               "/v1", ""},
      }) {
    const Outcome outcome = rewritten(each.in);
    EXPECT_FALSE(outcome.error) << each.in;
    EXPECT_EQ(outcome.text, config(base + std::string(each.download), base + std::string(each.api)));
  }
}

TEST(IndexConfig, HasNothingThatIsNotKnown) {
  EXPECT_EQ(rewritten(R"({"x":[1e999,"https://evil.example"],"dl":"https://host.example/base/a","api":null})").text,
            R"({"dl":"http://proxy/namespaces/default/connectors/c/a","auth-required":true})");
}

TEST(IndexConfig, ThatSendsForCratesElsewhereIsRefused) {
  for (const std::string_view download :
       {"https://static.crates.example/crates", "http://host.example/base/r", "https://host.example:444/base/r",
        "https://host.example/other/{crate}", "https://{crate}.host.example/base/x", "{crate}",
        "https://u:p@host.example/base/r", "https://host.example/base/{crate}/../../../other",
        "https://host.example/base/r?x={crate}", "https://host.example/base/r?x", "https://host.example/base/{crate}?x",
        "https://host.example/base/{crate}#x", "https://host.example/base/{crate}//x",
        "https://host.example/base/{crate}/%2e%2e/x", "https://host.example/base/{crate", ""})
    EXPECT_EQ(rewritten(config(download, "https://host.example/base")).error, Errc::upstream_redirect) << download;
}

TEST(IndexConfig, LosesAnApiThatIsElsewhere) {
  const Outcome outcome = rewritten(config("https://host.example/base/a", "https://crates.example"));
  EXPECT_FALSE(outcome.error);
  EXPECT_EQ(outcome.text, R"({"dl":"http://proxy/namespaces/default/connectors/c/a","auth-required":true})");
}

TEST(IndexConfig, ThatIsNoneStaysAsItIs) {
  for (const std::string_view text :
       {R"({ "downloads" : "https://host.example/base" })", R"({"dl":1})", R"({"api":"https://host.example/base"})",
        R"([{"dl":"https://host.example/base"}])", "[]", "", "no JSON", "\x1f\x8b\x08", R"("dl")"}) {
    const Outcome outcome = rewritten(text);
    EXPECT_FALSE(outcome.error) << text;
    EXPECT_EQ(outcome.text, text);
  }
}

TEST(IndexConfig, ThatCargoMightReadOtherwiseIsRefused) {
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  for (const std::string& text : {
           std::string(R"(["https://evil.example","https://evil.example",true])"),
           R"({"dl":"https://evil.example","x":)" + deep + "}",
           std::string("{\"dl\":\"https://evil.example\",\"x\":\"\xff\"}"),
           std::string("\r\n\t {\"dl\":\"https://evil.example\",}"),
       })
    EXPECT_EQ(rewritten(text).error, Errc::upstream_malformed) << text;
}

}  // namespace
}  // namespace mintfs::proxy
