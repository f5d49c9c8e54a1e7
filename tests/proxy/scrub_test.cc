#include "proxy/scrub.h"

#include "broker/encoding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mintfs::proxy {
namespace {

constexpr std::string_view kUser = "bot";
constexpr std::string_view kSecret = "S3cr3t/+&<\"\\';% word";

std::string base64url(std::string_view text) { return broker::base64url_encode(text); }

// Each in the form in which some server is known to echo what it was sent.
std::vector<std::string> echoes() {
  std::vector<std::string> all = {
      std::string(kSecret),
      "S3cr3t%2F%2B%26%3C%22%5C%27%3B%25%20word",  // RFC 3986
      "S3cr3t%2f%2b%26%3c%22%5c%27%3b%25%20word",
      "S3cr3t%2F%2B%26%3C%22%5C'%3B%25%20word",    // encodeURIComponent
      "S3cr3t/+&amp;&lt;&quot;\\&#x27;;% word",    // HTML, named
      "S3cr3t/&#43;&amp;&lt;&#34;\\&#39;;% word",  // HTML, Go
      "S3cr3t/+&<\\\"\\\\';% word",                // JSON
      "S3cr3t\\/+&<\\\"\\\\';% word",              // JSON, PHP
      "S3cr3t/+\\u0026\\u003c\\\"\\\\';% word",    // JSON, Go
      broker::base64_encode(std::string(kUser) + ":" + std::string(kSecret)),
      base64url(std::string(kUser) + ":" + std::string(kSecret)),
      broker::base64_encode(kSecret),
      base64url(kSecret),
  };
  for (const std::string front : {"", "x", "xy", "xyz", ":"})
    for (const std::string back : {"", "1", "12", "123"}) {
      all.push_back(broker::base64_encode(front + std::string(kSecret) + back));
      all.push_back(base64url(front + std::string(kSecret) + back));
    }
  return all;
}

// Whether too much of `echo` is still there: more than two characters of base64 at either end.
bool leaks(const std::string& text, const std::string& echo) {
  for (std::size_t i = 0; i + 8 <= echo.size(); ++i)
    if (text.find(echo.substr(i, 8)) != std::string::npos) return true;
  return false;
}

std::string stream(const ScrubPatterns& patterns, std::string_view text, std::size_t step) {
  Scrubber scrubber(patterns);
  std::string out;
  for (; !text.empty(); text.remove_prefix(std::min(step, text.size()))) scrubber.feed(text.substr(0, step), out);
  scrubber.finish(out);
  return out;
}

TEST(Scrub, FindsTheCredentialInEveryForm) {
  const ScrubPatterns patterns(kUser, kSecret);
  for (const auto& echo : echoes()) {
    const std::string page = "<p>before " + echo + " after</p>";
    EXPECT_TRUE(patterns.contains(page)) << echo;
    std::string text = page;
    patterns.scrub(text);
    EXPECT_EQ(text.size(), page.size());
    EXPECT_FALSE(leaks(text, echo)) << echo << " in " << text;
    EXPECT_TRUE(text.starts_with("<p>before ")) << text;
    EXPECT_TRUE(text.ends_with(" after</p>")) << text;
  }
}

TEST(Scrub, LeavesNoneOfTheBasicHeader) {
  const ScrubPatterns patterns(kUser, kSecret);
  std::string text = "Authorization: Basic " + broker::base64_encode(std::string(kUser) + ":" + std::string(kSecret));
  patterns.scrub(text);
  EXPECT_EQ(text.find_first_not_of("*=", 21), std::string::npos) << text;
}

TEST(Scrub, FindsWhatIsSplitBetweenBuffers) {
  const ScrubPatterns patterns(kUser, kSecret);
  for (const auto& echo : echoes()) {
    const std::string page = "<p>before " + echo + " after" + std::string(300, '.') + "</p>";
    std::string whole = page;
    patterns.scrub(whole);
    for (std::size_t step : {1u, 2u, 3u, 7u, 16u, 64u, 1000u}) EXPECT_EQ(stream(patterns, page, step), whole) << echo;
  }
}

TEST(Scrub, StarsTheUnionOfOverlappingOccurrences) {
  const ScrubPatterns patterns("", "abab");
  for (std::size_t step : {1u, 2u, 3u, 100u}) {
    EXPECT_EQ(stream(patterns, "xabababx", step), "x******x");
    EXPECT_EQ(stream(patterns, "ababab", step), "******");
    EXPECT_EQ(stream(patterns, "aba", step), "aba");
    EXPECT_EQ(stream(patterns, "abacabab", step), "abac****");
  }
}

TEST(Scrub, HoldsBackNoMoreThanItMust) {
  const ScrubPatterns patterns("", "0123456789");
  Scrubber scrubber(patterns);
  std::string out;
  scrubber.feed(std::string(1000, 'x'), out);
  EXPECT_EQ(out.size(), 1000 - (patterns.longest() - 1));
  scrubber.finish(out);
  EXPECT_EQ(out, std::string(1000, 'x'));
}

TEST(Scrub, WithoutACredentialPassesAll) {
  const ScrubPatterns patterns;
  EXPECT_EQ(stream(patterns, "anything", 3), "anything");
  EXPECT_FALSE(patterns.contains("anything"));
  EXPECT_FALSE(ScrubPatterns("user", "").contains("user:"));
}

TEST(Scrub, LeavesOrdinaryTextAlone) {
  const ScrubPatterns patterns(kUser, kSecret);
  std::string text = "The user bot may not read this repository: " + broker::base64_encode("bot:another password");
  const std::string before = text;
  patterns.scrub(text);
  EXPECT_EQ(text, before);
}

}  // namespace
}  // namespace mintfs::proxy
