#include "mintfs/lease_request.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <functional>

namespace mintfs::cli {
namespace {

std::string request(const LeaseOptions& options) { return boost::json::serialize(lease_request(options)); }

TEST(LeaseRequest, HoldsOnlyWhatWasAskedFor) {
  EXPECT_EQ(request({.connectors = {"github"}}), R"({"connectors":["github"]})");
}

TEST(LeaseRequest, HoldsEachRestriction) {
  EXPECT_EQ(request({.connectors = {"github", "team/gitlab"},
                     .uid = "1000",
                     .ttl = "1h30m",
                     .labels = {"build=77", "note=a=b"},
                     .repositories = {"acme/*", "acme/app"},
                     .references = {"refs/heads/bot/*"},
                     .read_only = true}),
            R"({"connectors":["github","team/gitlab"],"uid":1000,"ttl":"1h30m","labels":{"build":"77","note":"a=b"},)"
            R"("operations":["fetch"],"repositories":["acme/*","acme/app"],"refs":["refs/heads/bot/*"]})");
}

TEST(LeaseRequest, NamesWhereTheJobsGitKeepsWhatItStores) {
  for (const char* name : {"memory", "cache", "store", "libsecret", "manager", "osxkeychain", "/usr/local/bin/helper"})
    EXPECT_NE(request({.connectors = {"x"}, .credential_store = name}).find("\"credential_store\":\""),
              std::string::npos);
  for (const char* name : {"netrc", "!sh", "cache --timeout=1", "helper", "./helper", "/"})
    EXPECT_THROW(request({.connectors = {"x"}, .credential_store = name}), UsageError) << name;
}

TEST(LeaseRequest, SaysWhereTheJobFindsThings) {
  EXPECT_EQ(request({.connectors = {"x"}, .proxy_url = "http://10.88.0.1:8418", .seen_at = "/run/git"}),
            R"({"connectors":["x"],"proxy_url":"http://10.88.0.1:8418","seen_at":"/run/git"})");
  for (const char* url : {"10.88.0.1:8418", "unix:/x", "http://a?b", "http://u@a", "ftp://a"})
    EXPECT_THROW(request({.connectors = {"x"}, .proxy_url = url}), UsageError) << url;
  for (const char* path : {"x", "/", "/a/../b", "/a b"})
    EXPECT_THROW(request({.connectors = {"x"}, .seen_at = path}), UsageError) << path;
}

TEST(LeaseRequest, TakesAUserByName) {
  EXPECT_EQ(request({.connectors = {"github"}, .uid = "root"}), R"({"connectors":["github"],"uid":0})");
}

TEST(LeaseRequest, NamesTheOptionThatIsWrong) {
  struct Case {
    std::string option;
    std::string value;
    std::function<void(LeaseOptions&, const std::string&)> set;
  };
  const auto label = [](LeaseOptions& options, const std::string& value) { options.labels = {"a=1", value}; };
  const auto repository = [](LeaseOptions& options, const std::string& value) { options.repositories = {value}; };
  const auto ref = [](LeaseOptions& options, const std::string& value) { options.references = {value}; };
  const auto ttl = [](LeaseOptions& options, const std::string& value) { options.ttl = value; };
  const auto uid = [](LeaseOptions& options, const std::string& value) { options.uid = value; };
  const auto connector = [](LeaseOptions& options, const std::string& value) { options.connectors = {value}; };
  const Case cases[] = {
      {"--label", "x", label},
      {"--label", "=x", label},
      {"--label", "x=", label},
      {"--label", "a=2", label},
      {"--repository", "", repository},
      {"--repository", "a/../b", repository},
      {"--repository", "a b", repository},
      {"--ref", "main", ref},
      {"--ref", "refs/heads/**", ref},
      {"--ttl", "2 hours", ttl},
      {"--ttl", "0s", ttl},
      {"--uid", "no-such-user", uid},
      {"--uid", "-1", uid},
      {"--uid", "99999999999", uid},
      {"-c", "GitHub", connector},
      {"-c", "a/b/c", connector},
      {"-c", "", connector},
  };
  for (const auto& each : cases) {
    LeaseOptions options{.connectors = {"github"}};
    each.set(options, each.value);
    try {
      lease_request(options);
      ADD_FAILURE() << each.option << " " << each.value;
    } catch (const UsageError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(each.option + ": ")) << error.what();
    }
  }
}

}  // namespace
}  // namespace mintfs::cli
