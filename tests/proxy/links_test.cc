#include "proxy/links.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mintfs::proxy {
namespace {

constexpr std::string_view kBase = "http://proxy/c";

LinkMap map_of(std::string page) {
  static const auto upstream = *broker::Address::parse("https://host.example/base");
  return {upstream, std::move(page), std::string(kBase)};
}

// Whole, and byte by byte: what is split between buffers is found as well.
std::string filtered(BodyFilter& whole, BodyFilter& split, std::string_view text) {
  std::string out, again;
  whole.feed(text, out);
  whole.finish(out);
  for (const char c : text) split.feed(std::string_view(&c, 1), again);
  split.finish(again);
  EXPECT_EQ(out, again);
  return out;
}

std::string json(std::string_view text) {
  JsonLinks whole(map_of("/p"), "tarball"), split(map_of("/p"), "tarball");
  return filtered(whole, split, text);
}

std::string html(std::string_view text) {
  HtmlLinks whole(map_of("/simple/app/")), split(map_of("/simple/app/"));
  return filtered(whole, split, text);
}

struct Case {
  std::string_view in;
  std::string_view out;
};

TEST(Links, OfAPackumentLeadToTheProxy) {
  for (const auto& each : {
           Case{R"({"dist":{"tarball":"https://host.example/base/p/-/p-1.tgz","x":1}})",
                R"({"dist":{"tarball":"http://proxy/c/p/-/p-1.tgz","x":1}})"},
           Case{R"({ "tarball" : "/base/p/-/p-1.tgz" })", R"({ "tarball" : "http://proxy/c/p/-/p-1.tgz" })"},
           Case{R"({"tarball":"https:\/\/host.example\/base\/p"})", R"({"tarball":"http://proxy/c/p"})"},
           Case{R"({"tarball":"https://host.example/base/@a%2fb/-/b.tgz"})",
                R"({"tarball":"http://proxy/c/@a/b/-/b.tgz"})"},
       })
    EXPECT_EQ(json(each.in), each.out);
}

TEST(Links, ThatLeadElsewhereStay) {
  const std::string long_link(kMaxLink + 10, 'x');
  for (const std::string& text : {
           std::string(R"({"tarball":"https://cdn.example/base/p.tgz"})"),
           std::string(R"({"tarball":"http://host.example/base/p.tgz"})"),
           std::string(R"({"tarball":"https://host.example:444/base/p.tgz"})"),
           std::string(R"({"tarball":"https://host.example/other/p.tgz"})"),
           std::string(R"({"tarball":"https://bot:x@host.example/base/p.tgz"})"),
           std::string(R"({"tarball":"https://host.example/base/%2e%2e/p.tgz"})"),
           std::string(R"({"tarball":"https://host.example/base/\u0070"})"),
           std::string(R"({"tarball":{"tarball2":"https://host.example/base/p"}})"),
           std::string(R"({"readme":"\"tarball\":\"https://host.example/base/p\""})"),
           std::string(R"(["tarball","https://host.example/base/p"])"),
           R"({"tarball":")" + long_link + R"("})",
           std::string(R"({"tarball":"https://host.exam)"),
       })
    EXPECT_EQ(json(text), text);
}

TEST(Links, OfAnIndexLeadToTheProxy) {
  for (const auto& each : {
           Case{R"(<a href="../../packages/app-1.whl#sha256=0a">app</a>)",
                R"(<a href="http://proxy/c/packages/app-1.whl#sha256=0a">app</a>)"},
           Case{R"(<A data-x="1" HREF = '/base/f?a=1&amp;b=2'>)",
                R"(<A data-x="1" HREF = 'http://proxy/c/f?a=1&amp;b=2'>)"},
           Case{R"(<a href="https://host.example/base/f" data-requires-python="&gt;=3">)",
                R"(<a href="http://proxy/c/f" data-requires-python="&gt;=3">)"},
           Case{R"(<a data-href="/base/f" href="https://files.example/f">)",
                R"(<a data-href="/base/f" href="https://files.example/f">)"},
           Case{R"(text href="/base/f")", R"(text href="/base/f")"},
           Case{R"(<a title="href='/base/f'">)", R"(<a title="href='/base/f'">)"},
           Case{R"(<a href="../../../etc">)", R"(<a href="../../../etc">)"},
           Case{R"(<a href="/base/f)", R"(<a href="/base/f)"},
       })
    EXPECT_EQ(html(each.in), each.out);
}

}  // namespace
}  // namespace mintfs::proxy
