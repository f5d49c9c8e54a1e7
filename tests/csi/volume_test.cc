#include "csi/volume.h"

#include "csi.pb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <functional>
#include <set>

namespace mintfs::csi {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using Request = ::csi::v1::NodePublishVolumeRequest;

Request good() {
  Request request;
  request.set_volume_id("csi-1");
  request.set_target_path("/var/lib/kubelet/pods/0b2c-11/volumes/kubernetes.io~csi/gitconfig/mount");
  request.mutable_volume_capability()->mutable_mount();
  request.set_readonly(true);
  auto& context = *request.mutable_volume_context();
  context["csi.storage.k8s.io/pod.name"] = "git-clone";
  context["csi.storage.k8s.io/pod.namespace"] = "demo";
  context["csi.storage.k8s.io/pod.uid"] = "0b2c-11";
  context["csi.storage.k8s.io/ephemeral"] = "true";
  context["connector.name"] = "test-connector";
  context["configuration.names"] = "gitconfig";
  return request;
}

Request with(const std::string& name, const std::string& value) {
  Request request = good();
  (*request.mutable_volume_context())[name] = value;
  return request;
}

Volume volume_of(const Request& request) {
  Volume volume;
  const auto status = read_volume(request, {}, volume);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return volume;
}
std::string complaint(const Request& request) {
  Volume volume;
  const auto status = read_volume(request, {}, volume);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
  return status.error_message();
}

TEST(Volume, IsReadAsAPodAsksForIt) {
  const Volume volume = volume_of(good());
  EXPECT_EQ(volume.target, "pods/0b2c-11/volumes/kubernetes.io~csi/gitconfig/mount");
  EXPECT_THAT(volume.connectors, ElementsAre("demo/test-connector"));
  EXPECT_EQ(volume.about(), "connector demo/test-connector");
  const auto lease = volume.lease_request({}, "");
  EXPECT_EQ(lease.at("pod"), "demo/git-clone");
  EXPECT_EQ(boost::json::serialize(lease.at("configurations")), R"(["gitconfig"])");
  EXPECT_EQ(volume_of(with("configuration.names", "")).configurations, volume.configurations) << "the default";
  EXPECT_THAT(volume_of(with("configuration.names", "npmrc, netrc")).configurations, ElementsAre("npmrc", "netrc"));
  for (const auto* absent : {"uid", "repositories", "token_ttl", "cgroup"}) EXPECT_FALSE(lease.contains(absent));
  EXPECT_EQ(volume.lease_request({}, "/kubepods/pod1").at("cgroup"), "/kubepods/pod1");
}

TEST(Volume, TakesListsOfConnectorsAndRights) {
  Request request = with("connectors", "github, shared/gitlab ,github");
  auto& context = *request.mutable_volume_context();
  context.erase("connector.name");
  context["repositories"] = "acme/app,acme/lib-*";
  context["operations"] = "fetch";
  context["token.expiration"] = "10m";
  const Volume volume = volume_of(request);
  EXPECT_THAT(volume.connectors, ElementsAre("demo/github", "shared/gitlab"));
  EXPECT_EQ(volume.about(), "connectors demo/github, shared/gitlab");
  const auto lease = volume.lease_request({}, "");
  EXPECT_EQ(boost::json::serialize(lease.at("repositories")), R"(["acme/app","acme/lib-*"])");
  EXPECT_EQ(boost::json::serialize(lease.at("operations")), R"(["fetch"])");
  EXPECT_EQ(lease.at("token_ttl"), "10m");
}

TEST(Volume, OfAnotherNamespaceIsForTheAdministratorToShare) {
  const Volume volume = volume_of(with("connector.namespace", "other"));
  const auto status = check_namespaces(volume, {});
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("connector other/test-connector"));
  EXPECT_THAT(status.error_message(), HasSubstr("--shared-namespace other"));
  for (const auto& shared : std::vector<std::vector<std::string>>{{"x", "other"}, {"*"}})
    EXPECT_TRUE(check_namespaces(volume, {.shared_namespaces = shared}).ok());
  EXPECT_TRUE(check_namespaces(volume_of(good()), {}).ok());
}

struct Wrong {
  std::function<void(Request&)> change;
  std::string says;
};

void expect_complaints(const std::vector<Wrong>& cases) {
  for (const auto& each : cases) {
    Request request = good();
    each.change(request);
    EXPECT_THAT(complaint(request), HasSubstr(each.says));
  }
}

TEST(Volume, InAWrongPlaceIsRefused) {
  const auto target = [](std::string path) { return [path](Request& request) { request.set_target_path(path); }; };
  const std::string pod = "/var/lib/kubelet/pods/0b2c-11";
  expect_complaints({{target(""), "target_path is missing"},
                     {target("/etc"), "is not below /var/lib/kubelet/pods/"},
                     {target("/var/lib/kubelet/pods-of-others/x/y"), "is not below"},
                     {target("/var/lib/kubelet/pods/"), "component"},
                     {target(pod), "own directory"},
                     {target(pod + "/"), "ends with"},
                     {target(pod + "/x/"), "ends with"},
                     {target(pod + "/../x/mount"), "component"},
                     {target(pod + "/./mount"), "component"},
                     {target(pod + "//mount"), "component"},
                     {target(pod + "/x/.."), "component"},
                     {target(std::string(pod + "/x\0y").append(1, '\0')), "printable"},
                     {target(pod + "/a b"), "printable"},
                     {target(pod + "/" + std::string(1024, 'x')), "1024"},
                     {target("/var/lib/kubelet/pods/other/volumes/mount"), "not of the pod"}});
}

TEST(Volume, OfAnotherKindIsRefused) {
  expect_complaints(
      {{[](Request& r) { r.clear_volume_id(); }, "volume_id is missing"},
       {[](Request& r) { r.set_volume_id(std::string(129, 'x')); }, "128 printable"},
       {[](Request& r) { r.set_volume_id("a\nb"); }, "128 printable"},
       {[](Request& r) { r.clear_volume_capability(); }, "volume_capability is missing"},
       {[](Request& r) { r.mutable_volume_capability()->mutable_block(); }, "block"},
       {[](Request& r) { r.mutable_volume_capability()->clear_mount(); }, "access type"},
       {[](Request& r) { r.mutable_volume_capability()->mutable_mount()->add_mount_flags("exec"); }, "options"},
       {[](Request& r) { r.set_readonly(false); }, "readOnly: true"}});
}

TEST(Volume, IsRefusedForAnyAttributeThatIsWrong) {
  const auto attribute = [](std::string name, std::string value) {
    return [name, value](Request& request) { (*request.mutable_volume_context())[name] = value; };
  };
  expect_complaints({{attribute("csi.storage.k8s.io/pod.name", ""), "podInfoOnMount"},
                     {attribute("csi.storage.k8s.io/pod.namespace", "a/b"), "podInfoOnMount"},
                     {attribute("csi.storage.k8s.io/pod.uid", ".."), "not of the pod"},
                     {attribute("csi.storage.k8s.io/serviceAccount.name", "A B"), "podInfoOnMount"},
                     {attribute("csi.storage.k8s.io/ephemeral", "false"), "inline volumes only"},
                     {attribute("connector.name", ""), "'connector.name' or 'connectors'"},
                     {attribute("connectors", "github"), "one of them"},
                     {attribute("connector.name", ".."), "'..'"},
                     {attribute("connector.name", "a/b"), "'a/b'"},
                     {attribute("connector.name", std::string("a\0b", 3)), "printable"},
                     {attribute("connector.name", "a\nb"), "printable"},
                     {attribute("connector.name", std::string(64, 'a')), "no name"},
                     {attribute("connector.name", std::string(4097, 'a')), "4096"},
                     {attribute("connector.namespace", "a/b"), "no namespace"},
                     {attribute("connector.namespace", ".."), "no name"},
                     {attribute("configuration.names", "gitconfig,../x"), "'../x'"},
                     {attribute("configuration.params", "a=b"), "configuration.params"},
                     {attribute("token.expiration", "0"), "token.expiration"},
                     {attribute("repositories", ",acme/app"), "'repositories' is a list"},
                     {attribute("repositories", "../x"), "'../x'"},
                     {attribute("operations", "push,admin"), "'operations'"},
                     {attribute("operation", "fetch"), "'operation' is unknown; known are connector.name"},
                     {attribute("", ""), "'' is unknown"}});
}

TEST(Volume, ComplaintsShowWhatWasWrittenCutAndHarmless) {
  EXPECT_LT(complaint(with("configuration.names", std::string(500, 'x'))).size(), 200u);
  EXPECT_EQ(complaint(with("bad\x1b[2Jname", "x")).find('\x1b'), std::string::npos);
}

TEST(Volume, HasBounds) {
  Request request = good();
  for (int i = 0; i < 65; ++i) (*request.mutable_volume_context())["csi.storage.k8s.io/" + std::to_string(i)] = "";
  EXPECT_THAT(complaint(request), HasSubstr("64 attributes"));
  std::string many = "c";
  for (int i = 0; i < 32; ++i) many += ",c" + std::to_string(i);
  request = with("connectors", many);
  request.mutable_volume_context()->erase("connector.name");
  EXPECT_THAT(complaint(request), HasSubstr("at most 32"));
}

constexpr const char* kTokens = "csi.storage.k8s.io/serviceAccount.tokens";

std::string token_given(const Volume& volume) {
  const auto request = volume.lease_request({}, "");
  const auto* const token = request.if_contains("pod_token");
  return token == nullptr ? "none" : std::string(token->as_string());
}

TEST(Volume, GivesTheDaemonTheTokenForItsAudienceAndNoOther) {
  Request request =
      with(kTokens, R"({"vault":{"token":"canary"},"mintfs":{"token":"ours","expirationTimestamp":"x"}})");
  (*request.mutable_secrets())["token"] = "canary";
  const Volume volume = volume_of(request);
  EXPECT_EQ(token_given(volume), "ours");
  EXPECT_EQ(boost::json::serialize(volume.renewal({})), R"({"ttl":"12h","pod_token":"ours"})");
  EXPECT_EQ(boost::json::serialize(volume.lease_request({}, "")).find("canary"), std::string::npos);
  EXPECT_EQ(volume.fingerprint(), volume_of(good()).fingerprint()) << "kubelet brings a new one each time";
}

TEST(Volume, TakesTheTokensOfTheSecretsWhereKubeletBringsThemThere) {
  Request request = with(kTokens, R"({"mintfs":{"token":"older"}})");
  (*request.mutable_secrets())[kTokens] = R"({"mintfs":{"token":"ours"}})";
  EXPECT_EQ(token_given(volume_of(request)), "ours");
}

TEST(Volume, HasNoTokenWhereThereIsNoneForTheAudience) {
  for (const char* const text : {"{}", R"({"vault":{"token":"canary"}})", R"({"mintfs":"canary"})",
                                 R"({"mintfs":{"token":7}})", R"({"mintfs":{}})"})
    EXPECT_EQ(token_given(volume_of(with(kTokens, text))), "none") << text;
  EXPECT_EQ(token_given(volume_of(good())), "none");
  for (const std::string& text : {std::string("canary"), std::string("[]"), std::string(200'000, ' ')}) {
    const std::string said = complaint(with(kTokens, text));
    EXPECT_THAT(said, HasSubstr("not JSON"));
    EXPECT_EQ(said.find("canary"), std::string::npos);
  }
}

TEST(Volume, HasAFingerprintOfAllThatWasAskedFor) {
  std::set<std::string> seen = {volume_of(good()).fingerprint()};
  EXPECT_EQ(seen.begin()->size(), 64u);
  EXPECT_TRUE(seen.contains(volume_of(good()).fingerprint()));
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"connector.name", "other"},
                                                        {"configuration.names", "gitconfig,netrc"},
                                                        {"repositories", "acme/app"},
                                                        {"repositories", "acme/app,acme/lib"},
                                                        {"operations", "fetch"},
                                                        {"operations", "push"},
                                                        {"token.expiration", "10m"},
                                                        {"csi.storage.k8s.io/pod.name", "other"},
                                                        {"csi.storage.k8s.io/pod.namespace", "other"},
                                                        {"csi.storage.k8s.io/serviceAccount.name", "other"}})
    EXPECT_TRUE(seen.insert(volume_of(with(name, value)).fingerprint()).second) << name;
  Request request = good();
  request.set_volume_id("csi-2");
  EXPECT_TRUE(seen.insert(volume_of(request).fingerprint()).second);
}

TEST(Volume, LabelsAreWhatTheDaemonTakes) {
  Request request = with("csi.storage.k8s.io/pod.name", std::string(253, 'p'));
  (*request.mutable_volume_context())["csi.storage.k8s.io/serviceAccount.name"] = std::string(253, 's');
  const auto lease = volume_of(request).lease_request({}, "");
  for (const auto& label : lease.at("labels").as_object()) EXPECT_LE(label.value().as_string().size(), 128u);
  EXPECT_EQ(lease.at("pod").as_string().size(), 5u + 253u) << "whole where it counts";
}

}  // namespace
}  // namespace mintfs::csi
