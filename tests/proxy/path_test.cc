#include "proxy/path.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Errc;

TEST(Path, ThatIsAmbiguousIsRefused) {
  const std::string cases[] = {
      "",
      "a",
      "//",
      "/a//b",
      "//a",
      "/a//",  // empty segments
      "/.",
      "/..",
      "/a/..",
      "/a/../b",
      "/a/./b",
      "/../a",  // dot segments
      "/%2e",
      "/%2e%2e",
      "/a/%2E%2e/b",
      "/a/.%2e/b",
      "/a/%2e./b",
      "/a/%2e",  // the same, encoded
      "/a%2fb",
      "/a%2Fb",
      "/%2f",
      "/..%2fb",  // encoded slash
      "/a\\b",
      "/a%5cb",
      "/a%5Cb",
      "/..\\b",  // backslash
      "/a#b",
      "/a%23b",
      "/a;b",
      "/a;b=c/d",
      "/a%3bb",
      "/a%3Bb",
      "/a%3fb",  // cut by some servers
      "/a%25b",
      "/a%252e",
      "/%25%32%65",
      "/a%252fb",
      "/a%255cb",  // encoded twice
      "/a%00",
      std::string("/a\0b", 4),
      "/a%0a",
      "/a%0d%0aX: y",
      "/a\tb",
      "/a%09b",
      "/a%1fb",
      "/a b",
      "/a%20b",
      "/a\x7f",
      "/a%7f",
      "/a\x80",
      "/a%80",
      "/a%ff",
      "/caf\xc3\xa9",
      "/caf%c3%a9",
      "/a%e2%80%ae",
      "/a%",
      "/a%2",
      "/a%zz",
      "/a%2g",
      "/%u002e",
      "/%c0%ae%c0%ae/",
  };
  for (const auto& raw : cases) {
    std::string out;
    EXPECT_EQ(normalise(raw, out), Errc::request_malformed) << raw;
  }
}

TEST(Path, OverItsBoundIsRefused) {
  std::string out;
  EXPECT_FALSE(normalise("/" + std::string(kMaxPath - 1, 'a'), out));
  EXPECT_EQ(normalise("/" + std::string(kMaxPath, 'a'), out), Errc::request_malformed);
  std::string encoded = "/";
  while (encoded.size() <= kMaxPath) encoded += "%61";
  EXPECT_EQ(normalise(encoded, out), Errc::request_malformed);
  EXPECT_EQ(normalise("/" + std::string(kMaxPath / 2, '"'), out), Errc::request_malformed);  // once encoded
}

TEST(Path, HasOneSpelling) {
  const struct {
    const char* raw;
    const char* canonical;
  } cases[] = {
      {"/", "/"},
      {"/acme/app.git/info/refs", "/acme/app.git/info/refs"},
      {"/acme/", "/acme/"},
      {"/%61cme/%41pp%2egit", "/acme/App.git"},
      {"/a%2Db%5f%7E%7e", "/a-b_~~"},
      {"/c%2b%2B+", "/c+++"},
      {"/%40x:%3a", "/@x::"},
      {"/a\"b%22", "/a%22b%22"},
      {"/%7b{%7C|", "/%7B%7B%7C%7C"},
      {"/[a]", "/%5Ba%5D"},
      {"/...", "/..."},
      {"/.git", "/.git"},
      {"/..a/b..", "/..a/b.."},
  };
  for (const auto& one : cases) {
    std::string out, again;
    ASSERT_FALSE(normalise(one.raw, out)) << one.raw;
    EXPECT_EQ(out, one.canonical) << one.raw;
    ASSERT_FALSE(normalise(out, again)) << out;
    EXPECT_EQ(again, out);
  }
}

TEST(Path, LetterCaseIsKept) {
  std::string out;
  ASSERT_FALSE(normalise("/Acme/APP.GIT", out));
  EXPECT_EQ(out, "/Acme/APP.GIT");
}

TEST(Query, IsPassedAsItIsOrRefused) {
  Target target;
  ASSERT_FALSE(parse_target("/a?b=c%20d&e=%C3%A9/?x", target));
  EXPECT_EQ(target.path, "/a");
  EXPECT_EQ(target.query, "b=c%20d&e=%C3%A9/?x");
  ASSERT_FALSE(parse_target("/a?", target));
  EXPECT_TRUE(target.has_query);
  ASSERT_FALSE(parse_target("/a", target));
  EXPECT_FALSE(target.has_query);
  for (const std::string query :
       {"a b", "a\tb", "a#b", "a\\b", "a\"b", "a<b", "a\x7f", "a\xe9", "a%", "a%zz", "a%00", "a%0d%0a", "a%7f"})
    EXPECT_EQ(parse_target("/a?" + query, target), Errc::request_malformed) << query;
  EXPECT_EQ(parse_target("/a?" + std::string(1, '\0'), target), Errc::request_malformed);
  EXPECT_EQ(parse_target("/a?" + std::string(kMaxQuery + 1, 'a'), target), Errc::request_malformed);
}

TEST(Route, LeadsToOneConnector) {
  Routed routed;
  ASSERT_FALSE(route("/namespaces/team-a/connectors/git.hub_1/acme/app.git/info/refs?service=x", routed));
  EXPECT_EQ(routed.space, "team-a");
  EXPECT_EQ(routed.name, "git.hub_1");
  EXPECT_EQ(routed.target.path, "/acme/app.git/info/refs");
  EXPECT_EQ(routed.target.query, "service=x");
  ASSERT_FALSE(route("/namespaces/a/connectors/b/", routed));
  EXPECT_EQ(routed.target.path, "/");
}

TEST(Route, OfAnotherFormLeadsNowhere) {
  for (const std::string target :
       {"/", "/x", "/namespaces", "/namespaces/", "/namespaces/a", "/namespaces/a/connectors/",
        "/namespaces/a/connectors/b", "/namespaces/a/connectors/b?x=/", "/NAMESPACES/a/connectors/b/",
        "/namespaces/A/connectors/b/", "/namespaces/a/connectors/B/", "/namespaces/-a/connectors/b/",
        "/namespaces/a/connectors/b./", "/namespaces/%61/connectors/b/", "/namespaces/a/connectors/%62/",
        "/namespaces/a/connector/b/", "/x/namespaces/a/connectors/b/"}) {
    Routed routed;
    EXPECT_EQ(route(target, routed), Errc::connector_unknown) << target;
  }
  Routed routed;
  EXPECT_EQ(route("/namespaces/" + std::string(64, 'a') + "/connectors/b/", routed), Errc::connector_unknown);
}

TEST(Route, ThatIsAmbiguousIsRefused) {
  for (const std::string target :
       {"//namespaces/a/connectors/b/", "/namespaces//a/connectors/b/", "/namespaces/a/connectors/../connectors/b/",
        "/namespaces/../namespaces/a/connectors/b/", "/namespaces/a/connectors/b%2fc/", "/namespaces/a/connectors/b;c/",
        "/namespaces/a/connectors/b//c", "/namespaces/a/connectors/b/../../c/x",
        "/namespaces/a/connectors/b/%2e%2e/x"}) {
    Routed routed;
    EXPECT_EQ(route(target, routed), Errc::request_malformed) << target;
  }
}

TEST(Route, KnowsWhereAScopesSlashStandsInTheCanonicalPath) {
  Routed routed;
  for (const std::string front : {"", "/a", "/a]\"b", "/\"\"\""}) {
    ASSERT_FALSE(route("/namespaces/a/connectors/b" + front + "/@scope%2fname/-/x", routed)) << front;
    const std::string& path = routed.target.path;
    const Folded& folded = routed.target.folded;
    EXPECT_EQ(folded.kind, Folded::Kind::scope);
    EXPECT_EQ(path.substr(folded.begin, folded.end - folded.begin), "@scope/name") << path;
    EXPECT_EQ(path.substr(folded.end), "/-/x") << path;
  }
  ASSERT_FALSE(route("/namespaces/a/connectors/b/@s]%2fna[me?x=%2f", routed));
  EXPECT_EQ(routed.target.path, "/@s%5D/na%5Bme");
  EXPECT_EQ(routed.target.folded.begin, 1U);
  EXPECT_EQ(routed.target.folded.end, routed.target.path.size());
}

TEST(Route, KnowsWhereAProjectStandsWhoseGroupsAreFolded) {
  Routed routed;
  ASSERT_FALSE(route("/namespaces/a/connectors/b/api/v4/projects/a%2Fb%2fc/issues/%22?x=%2f", routed));
  EXPECT_EQ(routed.target.path, "/api/v4/projects/a/b/c/issues/%22");
  const Folded& folded = routed.target.folded;
  EXPECT_EQ(folded.kind, Folded::Kind::project);
  EXPECT_EQ(routed.target.path.substr(folded.begin, folded.end - folded.begin), "a/b/c");
  EXPECT_EQ(routed.target.query, "x=%2f");
  ASSERT_FALSE(route("/namespaces/a/connectors/b/api/v4/projects/17", routed));
  EXPECT_EQ(routed.target.folded.kind, Folded::Kind::none);
}

TEST(Route, OfImagesHasNoScopes) {
  Routed routed;
  EXPECT_EQ(route("/v2/namespaces/a/connectors/b/@scope%2fname", routed), Errc::request_malformed);
  ASSERT_FALSE(route("/v2/namespaces/a/connectors/b/name/tags/list", routed));
  EXPECT_EQ(routed.target.path, "/v2/name/tags/list");
}

}  // namespace
}  // namespace mintfs::proxy
