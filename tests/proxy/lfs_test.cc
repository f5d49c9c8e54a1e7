#include "proxy/lfs.h"

#include "broker/encoding.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Address;
using broker::Errc;
using broker::Operation;

const Address kUpstream{.scheme = "https", .host = "git.example", .port = 443, .prefix = "/scm"};
const Address kOrigins[] = {Address{.scheme = "https", .host = "lfs.example", .port = 443, .prefix = ""}};
constexpr std::string_view kBase = "http://127.0.0.1:8418/namespaces/default/connectors/git";
constexpr std::string_view kPassword = "the-real-password";
const std::string kCredential = broker::base64_encode("bot:" + std::string(kPassword));

std::string batch(const std::string& action) {
  return R"({"transfer":"basic","objects":[{"oid":"1","size":5,"authenticated":true,"actions":{"download":)" + action +
         "}}],\"hash_algo\":\"sha256\"}";
}

boost::json::value object(std::initializer_list<std::pair<boost::json::string_view, boost::json::value_ref>> fields) {
  return boost::json::object(fields);
}

boost::json::value rewritten(const std::string& json) {
  const ScrubPatterns credential("bot", kPassword);
  std::string out;
  EXPECT_FALSE(rewrite_batch(json, kUpstream, kOrigins, kBase, credential, out)) << json;
  EXPECT_EQ(out.find(kPassword), std::string::npos) << out;
  EXPECT_EQ(out.find(kCredential), std::string::npos) << out;
  return boost::json::parse(out);
}

TEST(LfsAnswer, PointsSameOriginActionsToTheProxyWithoutCredentials) {
  for (const std::string action : {"download", "upload", "verify"}) {
    const auto document = rewritten(
        R"({"objects":[{"oid":"1","size":5,"actions":{")" + action +
        R"(":{"href":"https://git.example/scm/a/b.git/gitlab-lfs/objects/1?x=y","expires_in":60,"header":{)"
        R"("authorization":"Basic b3RoZXI6b3RoZXI=","Cookie":"a=b","Proxy-Authorization":"x","Accept":"y"}}}}]})");
    const auto& done = document.at("objects").at(0).at("actions").at(action);
    EXPECT_EQ(done.at("href").as_string(), std::string(kBase) + "/a/b.git/gitlab-lfs/objects/1?x=y");
    EXPECT_EQ(done.at("header"), object({{"Accept", "y"}}));
    EXPECT_EQ(done.at("expires_in").as_int64(), 60);
  }
}

TEST(LfsAnswer, TakesCredentialsForOtherOriginsAwayUnlessTheyAreListed) {
  const struct {
    const char* href;
    bool listed;
  } cases[] = {{"https://lfs.example/bucket/1", true},
               {"https://lfs.example:443/bucket/1", true},
               {"https://LFS.example/1?a=b", true},
               {"http://lfs.example/1", false},
               {"https://lfs.example:8443/1", false},
               {"https://lfs.example.evil/1", false},
               {"https://s3.example/bucket/1?X-Amz-Signature=f", false},
               {"http://git.example/scm/a/b", false},
               {"//s3.example/1", false},
               {"https://git.example:8443/scm/a", false}};
  for (const auto& one : cases) {
    const auto document =
        rewritten(batch(std::string(R"({"href":")") + one.href +
                        R"(","header":{"authorization":"RemoteAuth x","Cookie":"a=b","X-Kept":"1"}})"));
    const auto& done = document.at("objects").at(0).at("actions").at("download");
    EXPECT_EQ(done.at("href").as_string(), one.href);
    EXPECT_EQ(done.at("header").as_object().size(), one.listed ? 3u : 1u) << one.href;
    EXPECT_EQ(done.at("header").at("X-Kept").as_string(), "1");
  }
}

TEST(LfsAnswer, ThatLeadsToTheUpstreamPastTheProxyIsRefused) {
  const ScrubPatterns credential("bot", kPassword);
  for (const std::string href :
       {"https://git.example/elsewhere/a", "https://user@git.example/scm/a", "https://git.example/scm/../a",
        "https://user:word@s3.example/1", "https://", "ht tp://x", "/a b", "ftp://s3.example/1"}) {
    std::string out;
    EXPECT_EQ(rewrite_batch(batch(R"({"href":")" + href + R"("})"), kUpstream, kOrigins, kBase, credential, out),
              Errc::upstream_malformed)
        << href;
  }
}

TEST(LfsAnswer, TakesTheStoredCredentialAwayWhereverItStands) {
  const auto document =
      rewritten(batch(R"({"href":"https://s3.example/1","header":{"Authorization":"Basic )" + kCredential +
                      R"(","X-Token":"the-real-password","X-List":["the-real-password"],)" + R"("X-Kept":"1"}})"));
  EXPECT_EQ(document.at("objects").at(0).at("actions").at("download").at("header"), object({{"X-Kept", "1"}}));
  rewritten(R"({"message":"Basic )" + kCredential + R"(","objects":[]})");
}

TEST(LfsAnswer, KeepsEverythingElse) {
  const std::string json =
      R"({"objects":[{"oid":"1","size":18446744073709551615,"error":{"code":404,"message":"no"}}]})";
  EXPECT_EQ(rewritten(json), boost::json::parse(json));
}

TEST(LfsAnswer, RewritesLinksOfOldServers) {
  const auto document = rewritten(R"({"oid":"1","_links":{"download":{"href":"https://git.example/scm/x"}}})");
  EXPECT_EQ(document.at("_links").at("download").at("href").as_string(), std::string(kBase) + "/x");
}

TEST(LfsAnswer, MalformedIsRefused) {
  const ScrubPatterns credential("bot", kPassword);
  std::string deep = "{\"a\":";
  for (int i = 0; i < 40; ++i) deep += "[";
  for (const std::string& json :
       {std::string(), std::string("{"), std::string("[]"), std::string("{} x"), std::string("{'a':1}"),
        std::string("\xff{}"), batch(R"({"href":5})"), std::string(R"({"size":1e999})"),
        std::string(R"({"header":{"size":1e999}})"), std::string(R"({"header":{"a":{"href":5}}})"), deep,
        "{\"a\":\"" + std::string(kMaxBatch, 'a') + "\"}"}) {
    std::string out;
    EXPECT_EQ(rewrite_batch(json, kUpstream, kOrigins, kBase, credential, out), Errc::upstream_malformed)
        << json.substr(0, 80);
    EXPECT_EQ(out, "");
  }
}

TEST(LfsRequest, HasOneOperation) {
  EXPECT_EQ(batch_operation(R"({"operation":"download","objects":[]})").value(), Operation::fetch);
  EXPECT_EQ(batch_operation(R"( {"objects":[{"operation":"download"}],"oper\u0061tion":"upload"} )").value(),
            Operation::push);
}

TEST(LfsRequest, ThatTwoServersReadDifferentlyIsRefused) {
  for (const std::string json : {R"({"operation":"download","operation":"upload"})",
                                 R"({"operation":"upload","operation":"upload"})",
                                 R"({"operation":"","operation":"upload"})",
                                 R"({"operation":"download","Operation":"upload"})",
                                 R"({"OPERATION":"upload"})",
                                 R"({"operation":"download","oper\u0041tion":"upload"})",
                                 R"({"operation":"Upload"})",
                                 R"({"operation":"delete"})",
                                 R"({"operation":["upload"]})",
                                 R"({"operation":{"x":"upload"}})",
                                 R"({"operation":null})",
                                 R"({"operation":1})",
                                 R"({"objects":[]})",
                                 R"([{"operation":"upload"}])",
                                 R"("upload")",
                                 R"({"operation":"upload"}{)",
                                 R"({"operation":"upload"} x)",
                                 R"({"operation":"upload",})",
                                 R"({"operation":"upload")",
                                 R"({operation:"upload"})",
                                 "",
                                 "1",
                                 R"({"x":{"operation":"upload"}})",
                                 "\xef\xbb\xbf{\"operation\":\"upload\"}",
                                 R"({/**/"operation":"upload"})"})
    EXPECT_EQ(batch_operation(json).error(), Errc::request_malformed) << json;
  EXPECT_EQ(batch_operation(std::string(kMaxBatch + 1, ' ')).error(), Errc::body_too_large);
  EXPECT_EQ(batch_operation(std::string("{\"operation\":\"upload\"}\0", 23)).error(), Errc::request_malformed);
}

}  // namespace
}  // namespace mintfs::proxy
