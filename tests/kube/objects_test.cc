#include "kube/objects.h"

#include "kube/fake_api.h"

#include <boost/json.hpp>

namespace mintfs::kube {
namespace {

using namespace std::chrono_literals;

// As the documentation for users has it, and as the API server completes it.
const std::string kConnector = R"({"metadata":{"name":"test-connector","namespace":"connectors-git-demo","uid":"u1",
  "generation":2},"spec":{"connectorClassName":"git","address":"https://github.com","auth":{"name":"basicAuth",
  "secretRef":{"name":"test-secret"},"params":[{"name":"repository","value":"AlaudaDevops/connectors-git.git"}]}}})";
const std::string kSecret = R"({"metadata":{"name":"test-secret","namespace":"connectors-git-demo"},
  "type":"kubernetes.io/basic-auth","data":{"username":"dXNlcm5hbWU=","password":"cGFzc3dvcmQ="}})";
const std::string kLease = R"({"metadata":{"name":"abcdefghijklmnopqrstuvwx27","namespace":"team-a"},"spec":{
  "pod":{"name":"job-1","uid":"p1"},"node":"node-7","serviceAccount":"builder","connectors":["team-b/github"],
  "operations":["fetch"],"repositories":["acme/*"],"keyVersion":3,"opened":"2026-01-01T00:00:00.000000Z",
  "expires":"2026-01-01T12:00:00.000000Z"}})";

std::string with(std::string text, const std::string& part, const std::string& instead) {
  const auto at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), instead);
}

struct Wrong {
  std::string part;
  std::string instead;
  std::string fault;  // how the message begins
};

template <class T>
void expect_faults(const std::string& good, const std::vector<Wrong>& cases,
                   Outcome<T> (*read)(const boost::json::object&)) {
  for (const auto& each : cases) {
    const auto got = read(test::object_of(with(good, each.part, each.instead)));
    ASSERT_FALSE(got) << each.instead;
    EXPECT_EQ(got.error().reason, Reason::invalid);
    EXPECT_TRUE(got.error().message.starts_with(each.fault)) << got.error().message << " for " << each.instead;
  }
}

TEST(Connector, IsReadAsUsersWriteIt) {
  const auto connector = read_connector(test::object_of(kConnector));
  ASSERT_TRUE(connector) << connector.error().message;
  EXPECT_EQ(connector->name.text(), "connectors-git-demo/test-connector");
  EXPECT_EQ(connector->class_name, "git");
  EXPECT_EQ(connector->address.text(), "https://github.com");
  EXPECT_EQ(connector->auth, "basicAuth");
  EXPECT_EQ(connector->secret, (ObjectName{"connectors-git-demo", "test-secret"}));
  EXPECT_EQ(connector->repository, "AlaudaDevops/connectors-git.git");
}

TEST(Connector, MayHaveNoCredential) {
  const auto connector = read_connector(test::object_of(
      R"({"metadata":{"name":"a","namespace":"b","uid":"u","generation":1},
          "spec":{"connectorClassName":"git","address":"https://h","auth":{"name":"basicAuth"}}})"));
  ASSERT_TRUE(connector);
  EXPECT_EQ(connector->secret, std::nullopt);
}

TEST(Connector, NeverUsesASecretOfAnotherNamespace) {
  expect_faults(kConnector,
                {{R"({"name":"test-secret"})", R"({"name":"test-secret","namespace":"kube-system"})",
                  "spec.auth.secretRef.namespace is not the connector's own"}},
                read_connector);
  EXPECT_TRUE(read_connector(test::object_of(
      with(kConnector, R"({"name":"test-secret"})", R"({"name":"test-secret","namespace":"connectors-git-demo"})"))));
}

TEST(Connector, ThatIsWrongSaysWhere) {
  expect_faults(kConnector,
                {{"https://github.com", "ftp://github.com", "spec.address is not"},
                 {"https://github.com", "https://bot:pw@github.com", "spec.address is not"},
                 {R"("https://github.com")", "7", "spec.address is not a string"},
                 {R"("https://github.com")", "null", "spec.address is missing"},
                 {R"("git")", R"("")", "spec.connectorClassName is missing"},
                 {R"("spec")", R"("spoc")", "spec is missing"},
                 {R"("generation":2)", R"("generation":"2")", "metadata.generation is not"},
                 {"test-connector", "Test", "metadata.name or"},
                 {"test-connector", std::string(64, 'a'), "metadata.name or"},
                 {R"("test-secret")", "{}", "spec.auth.secretRef.name is not a string"},
                 {R"({"name":"repository","value":"AlaudaDevops/connectors-git.git"})", "1",
                  "spec.auth.params[0] is not an object"},
                 {R"("value":"AlaudaDevops/connectors-git.git")", R"("value":[])", "spec.auth.params[0].value is not"}},
                read_connector);
}

TEST(ConnectorClass, SaysWhatKindOfSecretEachAuthTakes) {
  const auto read = read_connector_class(test::object_of(
      R"({"metadata":{"name":"git"},"spec":{"address":{"name":"address","type":"string"},"auth":{"types":[
          {"name":"basicAuth","secretType":"kubernetes.io/basic-auth","optional":true},{"name":"other"}]}}})"));
  ASSERT_TRUE(read);
  ASSERT_NE(read->find("basicAuth"), nullptr);
  EXPECT_TRUE(read->find("basicAuth")->optional);
  EXPECT_FALSE(read->find("other")->optional);
  EXPECT_EQ(read->find("none"), nullptr);
}

TEST(BasicAuth, IsReadFromASecretOfItsType) {
  const auto read = read_basic_auth(test::object_of(kSecret));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->username, "username");
  EXPECT_EQ(read->password.reveal(), "password");
}

TEST(BasicAuth, MayEndWithTheNewlineOfTheFileThatItWasMadeOf) {
  const auto read = read_basic_auth(test::object_of(with(kSecret, R"("cGFzc3dvcmQ=")", R"("cGFzc3dvcmQK")")));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->password.reveal(), "password");
  expect_faults(kSecret,
                {{R"("cGFzc3dvcmQ=")", R"("cGFzc3dvcmQKCg==")", "data.password is not base64"},  // two of them
                 {R"("cGFzc3dvcmQ=")", R"("Cg==")", "data.password is not base64"}},             // and nothing else
                read_basic_auth);
}

TEST(BasicAuth, ThatIsWrongSaysWhereAndNotWhat) {
  expect_faults(kSecret,
                {{"kubernetes.io/basic-auth", "Opaque", "type is not kubernetes.io/basic-auth"},
                 {R"("cGFzc3dvcmQ=")", R"("pass!word")", "data.password is not base64"},
                 {R"("cGFzc3dvcmQ=")", R"("")", "data.password is missing"},
                 {R"("cGFzc3dvcmQ=")", R"("YQpi")", "data.password is not base64"},  // a line break
                 {R"("dXNlcm5hbWU=")", R"("YTpi")", "data.username has a colon"},
                 {R"("password")", R"("passwort")", "data.password is missing"},
                 {R"("data")", R"("stringData")", "data is missing"}},
                read_basic_auth);
  const auto quoted = [](std::size_t size) { return '"' + std::string(size, 'A') + '"'; };
  expect_faults(kSecret,
                {{R"("cGFzc3dvcmQ=")", quoted(16 * 1024 + 4), "data.password is over 16384"},
                 {R"("dXNlcm5hbWU=")", quoted(16 * 1024 + 4), "data.username is over 16384"}},
                read_basic_auth);
  const auto wrong = read_basic_auth(test::object_of(with(kSecret, R"("cGFzc3dvcmQ=")", R"("canary!")")));
  EXPECT_EQ(wrong.error().message.find("canary"), std::string::npos);
}

TEST(ConnectorLease, IsWrittenAsItIsRead) {
  const auto lease = read_connector_lease(test::object_of(kLease));
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_EQ(lease->pod_uid, "p1");
  EXPECT_EQ(lease->connectors, (std::vector<broker::ConnectorName>{{"team-b", "github"}}));
  EXPECT_FALSE(lease->operations.contains(broker::Operation::push));
  EXPECT_EQ(lease->expires - lease->opened, 12h);
  const auto written = write_connector_lease(*lease);
  const auto again = read_connector_lease(written);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->id, lease->id);
  EXPECT_EQ(again->kid, 3u);
  EXPECT_EQ(boost::json::serialize(written.at("metadata").at("ownerReferences")),
            R"([{"apiVersion":"v1","kind":"Pod","name":"job-1","uid":"p1"}])");
}

TEST(ConnectorLease, ThatIsWrongOpensNothing) {
  expect_faults(kLease,
                {{"abcdefghijklmnopqrstuvwx27", "abc", "metadata.name is not the id"},
                 {"abcdefghijklmnopqrstuvwx27", "abcdefghijklmnopqrstuvwx18", "metadata.name is not the id"},
                 {R"(["fetch"])", "[]", "spec.operations names none"},
                 {R"(["fetch"])", R"(["delete"])", "spec.operations has an entry"},
                 {R"(["team-b/github"])", "[]", "spec.connectors names none"},
                 {R"(["team-b/github"])", R"(["github"])", "spec.connectors has an entry"},
                 {R"(["acme/*"])", R"(["../x"])", "spec.repositories has an entry"},
                 {R"(["acme/*"])", R"([""])", "spec.repositories has an entry"},
                 {R"(["acme/*"])", R"("acme/*")", "spec.repositories is not a list"},
                 {R"("keyVersion":3)", R"("keyVersion":0)", "spec.keyVersion is no"},
                 {R"("keyVersion":3)", R"("keyVersion":4294967296)", "spec.keyVersion is no"},
                 {"2026-01-01T12:00:00.000000Z", "tomorrow", "spec.expires is not"}},
                read_connector_lease);
}

TEST(ObjectPath, HasItsNamespace) {
  EXPECT_EQ(in_namespace(kConnectors, "team-a"), "/apis/connectors.alauda.io/v1alpha1/namespaces/team-a/connectors");
}

}  // namespace
}  // namespace mintfs::kube
