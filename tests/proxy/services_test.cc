#include "proxy/services/service.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mintfs::proxy {
namespace {

using broker::ConnectorClass;

broker::ConnectorConfig connector_of(ConnectorClass connector_class, std::string_view address = "https://host") {
  broker::ConnectorConfig connector;
  connector.connector_class = connector_class;
  connector.address = *broker::Address::parse(address);
  return connector;
}

constexpr std::pair<std::string_view, Method> kMethods[] = {
    {"GET ", Method::get}, {"HEAD ", Method::head},   {"POST ", Method::post},
    {"PUT ", Method::put}, {"PATCH ", Method::patch}, {"DELETE ", Method::del},
};

// "fetch acme/app", "push acme/app", "fetch (protocol)", "denied", "malformed": what is made of "GET /path".
std::string told(const broker::ConnectorConfig& connector, std::string_view line) {
  Method method = Method::other;
  for (const auto& [word, value] : kMethods)
    if (line.starts_with(word)) method = value;
  const std::string raw = "/namespaces/n/connectors/c" + std::string(line.substr(line.find(' ') + 1));
  Routed routed;
  ServiceRequest out;
  if (route(raw, routed)) return "malformed";
  if (const auto error = classify(connector, method, routed.target, out))
    return broker::to_errc(error) == broker::Errc::operation_denied ? "denied" : "malformed";
  const std::string operation(to_string(out.operation));
  switch (out.reach) {
    case broker::Reach::repository:
      return operation + " " + std::string(out.name());
    case broker::Reach::protocol:
      return operation + " (protocol)";
    case broker::Reach::everything:
      return operation + " (everything)";
    case broker::Reach::page:
      return operation + " (page)";
    case broker::Reach::own_page:
      return operation + " " + std::string(out.name()) + " (page)";
  }
  return {};
}

struct Case {
  std::string_view line;
  std::string_view expected;
};

template <std::size_t size>
void expect(const broker::ConnectorConfig& connector, const Case (&cases)[size]) {
  for (const auto& each : cases) EXPECT_EQ(told(connector, each.line), each.expected) << each.line;
}

TEST(Services, OfGitLabAreAboutTheProjectThatThePathNames) {
  expect(connector_of(ConnectorClass::gitlab),
         {
             {"GET /acme/app.git/info/refs?service=git-upload-pack", "fetch acme/app"},
             {"GET /api/v4/projects/acme%2Fapp", "fetch acme/app (page)"},
             {"HEAD /api/v4/projects/acme%2fteam%2Fapp/merge_requests?state=opened", "fetch acme/team/app (page)"},
             {"GET /api/v4/projects/acme%2Fapp/repository/archive.tar.gz?sha=main", "fetch acme/app (page)"},
             {"GET /api/v4/projects/acme%2Fapp/jobs/1/trace", "fetch acme/app (page)"},
             {"GET /api/v4/projects/acme%2Fapp/issues?labels%5B%5D=a&not%5bx%5d=b", "fetch acme/app (page)"},
             {"GET /api/v4/projects/acme%2F.app_-1", "fetch acme/.app_-1 (page)"},
             // Of nobody's or of everybody's.
             {"GET /api/v4/projects/17", "fetch (page)"},
             {"GET /api/v4/projects/acme", "fetch (page)"},
             {"GET /api/v4/projects/acme/app", "fetch (page)"},
             {"GET /api/v4/user", "fetch (page)"},
             // What hands out a credential, or another project.
             {"GET /api/v4/projects/acme%2Fapp/variables", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/triggers", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/Repository/tree", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/%76ariables", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/pipelines/1/variables", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/issues/1/links", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/issues/1/closed_by", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/merge_requests/1/closes_issues", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/packages/conan/v1/users/authenticate", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/packages/conan/v2/users/authenticate", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/repository/compare?from_project_id=2", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/repository/compare?from=a&from%5fproject_id=2", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/repository/compare?from=a;from_project_id=2", "fetch (page)"},
             {"GET /api/v4/projects/acme%2Fapp/issues?%73udo=root", "fetch (page)"},
             // No change, and nothing that git is asked.
             {"POST /api/v4/projects/acme%2Fapp/issues", "denied"},
             {"PUT /api/v4/projects/acme%2Fapp", "denied"},
             {"DELETE /api/v4/projects/acme%2Fapp", "denied"},
             {"GET /api/v4/projects/acme%2Fapp/info/refs?service=git-upload-pack", "fetch (page)"},
             {"POST /api/v4/projects/acme%2Fapp/git-receive-pack", "denied"},
         });
}

TEST(Services, TakeNoEncodedSlashOfGitLabsInAnotherPlace) {
  constexpr std::string_view kPaths[] = {
      "/acme%2Fapp",
      "/acme%2Fapp.git/info/refs",
      "/api/v4/groups/acme%2Fteam",
      "/api/v3/projects/acme%2Fapp",
      "/API/v4/projects/acme%2Fapp",
      "/api/v4/%70rojects/acme%2Fapp",
      "/x/api/v4/projects/acme%2Fapp",
      "/api/v4%2Fprojects/acme%2Fapp",
      "/api/v4/projects%2Facme%2Fapp",
      "/api/v4/projects/acme%2Fapp/repository/files/a%2Fb",
      "/api/v4/projects/17/repository/files/a%2Fb",
      // Encoded twice, or with more that is encoded.
      "/api/v4/projects/acme%252Fapp",
      "/api/v4/projects/acme%2Fteam%252Fapp",
      "/api/v4/projects/acme%2Fapp%2525",
      "/api/v4/projects/acme%2F%61pp",
      "/api/v4/projects/acme%2Fapp%3Fx",
      "/api/v4/projects/acme%2Fapp%23",
      "/api/v4/projects/acme%2Fapp%00",
      "/api/v4/projects/acme%2Fapp%2",
      "/api/v4/projects/acme%5Capp%2Fx",
      // Segments that are none.
      "/api/v4/projects/acme%2F..%2Fother%2Fapp",
      "/api/v4/projects/acme%2F%2E%2E%2Fother",
      "/api/v4/projects/..%2Fapp",
      "/api/v4/projects/acme%2F..",
      "/api/v4/projects/acme%2F.",
      "/api/v4/projects/acme%2F.%2Fapp",
      "/api/v4/projects/%2Facme%2Fapp",
      "/api/v4/projects/acme%2F",
      "/api/v4/projects/acme%2F%2Fapp",
      "/api/v4/projects/%2F",
      "/api/v4/projects/acme%2Fapp/../other",
      "/api/v4/projects/acme%2Fapp/%2e%2e/other",
      "/api/v4/projects/acme%2Fapp//issues",
      // Another name for a project to some part of the server.
      "/api/v4/projects/acme%2Fapp.git",
      "/api/v4/projects/acme%2Fapp.json",
      "/api/v4/projects/acme%2Fapp.atom",
      "/api/v4/projects/acme%2Fapp.",
      "/api/v4/projects/acme%2F-app",
      "/api/v4/projects/-acme%2Fapp",
      "/api/v4/projects/acme.json%2Fapp",
      "/api/v4/projects/acme%2Fa~b",
      "/api/v4/projects/acme%2Fa+b",
      "/api/v4/projects/acme%2Fa;b",
      "/api/v4/projects/@acme%2Fapp",
  };
  for (const auto path : kPaths)
    EXPECT_EQ(told(connector_of(ConnectorClass::gitlab), "GET " + std::string(path)), "malformed") << path;
  for (const auto other : {ConnectorClass::git, ConnectorClass::github, ConnectorClass::npm, ConnectorClass::nexus})
    EXPECT_EQ(told(connector_of(other), "GET /api/v4/projects/acme%2Fapp"), "malformed") << to_string(other);
}

TEST(Services, OfNpmAreAboutAPackage) {
  expect(connector_of(ConnectorClass::npm), {
                                                {"GET /left-pad", "fetch left-pad"},
                                                {"GET /left-pad/1.0.0", "fetch left-pad"},
                                                {"GET /left-pad/-/left-pad-1.0.0.tgz", "fetch left-pad"},
                                                {"GET /@acme%2fapp", "fetch @acme/app"},
                                                {"GET /@acme%2Fapp/1.0.0", "fetch @acme/app"},
                                                {"HEAD /@acme/app", "fetch @acme/app"},
                                                {"GET /@acme/app/-/app-1.0.0.tgz", "fetch @acme/app"},
                                                {"GET /@acme/app/-/@acme/app-1.0.0.tgz", "fetch @acme/app"},
                                                {"GET /download/@acme/app/1.0.0/0a1b", "fetch @acme/app"},
                                                {"PUT /@acme%2fapp", "push @acme/app"},
                                                {"PUT /app/-rev/1-0a", "push app"},
                                                {"DELETE /app/-rev/1-0a", "push app"},
                                                {"DELETE /app/-/app-1.0.0.tgz/-rev/1-0a", "push app"},
                                                {"GET /-/package/@acme%2fapp/dist-tags", "fetch @acme/app"},
                                                {"PUT /-/package/@acme%2fapp/dist-tags/latest", "push @acme/app"},
                                                {"POST /-/npm/v1/security/advisories/bulk", "fetch (protocol)"},
                                                {"GET /-/ping", "fetch (protocol)"},
                                                {"GET /-/v1/search?text=x", "fetch (everything)"},
                                                // What hands out or changes credentials, and who the account is.
                                                {"GET /-/npm/v1/tokens", "denied"},
                                                {"POST /-/npm/v1/tokens", "denied"},
                                                {"PUT /-/user/org.couchdb.user:x", "denied"},
                                                {"GET /-/whoami", "denied"},
                                                {"PUT /-/package/app/access", "denied"},
                                                {"POST /app", "denied"},
                                                {"GET /app/a/b", "denied"},
                                                // Two readings.
                                                {"GET /@acme%2f..", "malformed"},
                                                {"GET /@acme%2f%2e%2e%2fapp", "malformed"},
                                                {"GET /@acme%252fapp", "malformed"},
                                                {"GET /@acme%2fa%2fb", "malformed"},
                                                {"GET /@acme%2f/app", "malformed"},
                                                {"GET /@%2fapp", "malformed"},
                                                {"GET /acme%2fapp", "malformed"},
                                                {"GET /@acme", "malformed"},
                                                {"GET /@acme/", "malformed"},
                                                {"GET /app/", "malformed"},
                                                {"GET /_all", "malformed"},
                                            });
}

TEST(Services, OfPypiAreAboutAProjectByItsNormalisedName) {
  expect(connector_of(ConnectorClass::pypi),
         {
             {"GET /simple/acme-app/", "fetch acme-app"},
             {"GET /simple/Acme__App/", "fetch acme-app"},
             {"GET /root/pypi/+simple/acme.app", "fetch acme-app"},
             {"GET /packages/0a/1b/acme_app-1.0-py3-none-any.whl", "fetch acme-app"},
             {"GET /packages/acme_app-1.0-py3-none-any.whl.metadata", "fetch acme-app"},
             {"GET /packages/acme-app-1.0.tar.gz", "fetch acme-app"},
             {"GET /packages/acme-app-1.0.zip", "fetch acme-app"},
             {"GET /pypi/acme-app/json", "fetch acme-app"},
             {"GET /pypi/acme-app/1.0/json", "fetch acme-app"},
             {"GET /simple/", "fetch (everything)"},
             {"POST /", "push (everything)"},
             {"POST /legacy/", "push (everything)"},
             // Whose file it is could not be told.
             {"GET /packages/acme-secret-1.0-py3-none-any.whl", "denied"},
             {"GET /packages/acme", "denied"},
             {"GET /account/", "denied"},
             {"POST /pypi", "denied"},
             {"DELETE /simple/acme/", "denied"},
         });
}

TEST(Services, OfFileServersAreAboutADirectoryOrARepository) {
  expect(connector_of(ConnectorClass::maven), {
                                                  {"GET /org/acme/app/1.0/app-1.0.jar", "fetch org/acme/app/1.0"},
                                                  {"PUT /org/acme/app/maven-metadata.xml", "push org/acme/app"},
                                                  {"GET /archetype-catalog.xml", "fetch (everything)"},
                                                  {"GET /org/../x", "malformed"},
                                                  {"GET /org%2facme/x", "malformed"},
                                              });
  expect(connector_of(ConnectorClass::nexus), {
                                                  {"GET /repository/npm-all/@acme%2fapp", "fetch npm-all"},
                                                  {"PUT /repository/maven/org/acme/app-1.jar", "push maven"},
                                                  {"POST /repository/npm/-/npm/v1/security/audits/quick", "fetch npm"},
                                                  {"PUT /repository/npm/-/user/org.couchdb.user:x", "denied"},
                                                  {"GET /repository/docker/v2/acme/tags/list", "fetch docker"},
                                                  {"GET /repository/docker/v2/token?service=x", "denied"},
                                                  {"GET /repository/conan/v1/conans/search", "fetch conan"},
                                                  {"GET /repository/conan/v1/users/authenticate", "denied"},
                                                  {"GET /repository/conan/v2/users/authenticate/", "denied"},
                                                  {"GET /repository/gems/api/v1/api_key", "denied"},
                                                  {"GET /service/rest/v1/security/users", "denied"},
                                                  {"GET /", "denied"},
                                              });
  expect(connector_of(ConnectorClass::jfrog),
         {
             {"GET /artifactory/libs-release/org/acme/a.jar", "fetch libs-release"},
             {"PUT /artifactory/generic/a.bin", "push generic"},
             {"GET /artifactory/api/npm/npm-local/@acme%2fapp", "fetch npm-local"},
             {"GET /artifactory/api/pypi/pypi-local/simple/app/", "fetch pypi-local"},
             // The caller's own credential.
             {"GET /artifactory/api/npm/auth", "denied"},
             {"GET /artifactory/api/npm/npm-local/auth/acme", "denied"},
             {"GET /artifactory/api/gems/gems-local/api/v1/dependencies?gems=x", "fetch gems-local"},
             {"GET /artifactory/api/gems/gems-local/api/v1/api_key.yaml", "denied"},
             {"HEAD /artifactory/api/gems/gems-local/api/v1/api_key", "denied"},
             {"POST /artifactory/api/gems/gems-local/api/v1/api_key", "denied"},
             {"GET /artifactory/api/security/apiKey", "denied"},
             {"GET /artifactory/api/docker/x/v2/token", "denied"},
             {"POST /access/api/v1/tokens", "denied"},
             {"GET /artifactory/access/api/v1/tokens", "denied"},
         });
  expect(connector_of(ConnectorClass::jfrog, "https://host/artifactory"),
         {{"GET /libs-release/a.jar", "fetch libs-release"}, {"GET /api/security/apiKey", "denied"}});
}

TEST(Services, OfFileServersPointTheConfigurationOfACargoIndexToTheProxy) {
  struct Page {
    ConnectorClass connector_class;
    std::string_view path;
    bool is;
  };
  for (const auto& each : {
           Page{ConnectorClass::nexus, "/repository/crates/config.json", true},
           Page{ConnectorClass::nexus, "/repository/crates/config.json/x", false},
           Page{ConnectorClass::nexus, "/repository/crates/le/ft/config.json", false},
           Page{ConnectorClass::jfrog, "/artifactory/api/cargo/crates/index/config.json", true},
           Page{ConnectorClass::jfrog, "/artifactory/api/cargo/crates/config.json", false},
           Page{ConnectorClass::jfrog, "/artifactory/api/npm/crates/index/config.json", false},
           Page{ConnectorClass::jfrog, "/artifactory/crates/config.json", false},
       }) {
    Target target;
    ServiceRequest asked, put;
    ASSERT_FALSE(parse_target(each.path, target));
    const auto connector = connector_of(each.connector_class);
    ASSERT_FALSE(classify(connector, Method::get, target, asked)) << each.path;
    EXPECT_EQ(asked.links == Links::cargo, each.is) << each.path;
    ASSERT_FALSE(classify(connector, Method::put, target, put));
    EXPECT_EQ(put.links, Links::none);
  }
}

TEST(Services, OfARegistryAreAboutAnImage) {
  expect(connector_of(ConnectorClass::oci), {
                                                {"GET /v2/", "fetch (protocol)"},
                                                {"GET /v2/acme/app/manifests/latest", "fetch acme/app"},
                                                {"HEAD /v2/app/blobs/sha256:0a", "fetch app"},
                                                {"GET /v2/a/b/c/tags/list?n=1", "fetch a/b/c"},
                                                {"GET /v2/acme/app/referrers/sha256:0a", "fetch acme/app"},
                                                {"PUT /v2/acme/app/manifests/latest", "push acme/app"},
                                                {"POST /v2/acme/app/blobs/uploads/", "push acme/app"},
                                                {"PATCH /v2/acme/app/blobs/uploads/0a-1b?_state=x", "push acme/app"},
                                                {"DELETE /v2/acme/app/manifests/sha256:0a", "push acme/app"},
                                                {"GET /v2/_catalog", "fetch (everything)"},
                                                {"POST /v2/_catalog", "denied"},
                                                {"GET /v2/token?service=x", "denied"},
                                                {"GET /service/token?scope=x", "denied"},
                                                {"GET /api/v2.0/users/current", "denied"},
                                                {"GET /v2/acme/manifests/app/manifests/latest", "malformed"},
                                                {"GET /v2/acme/blobs/uploads/manifests/latest", "malformed"},
                                                {"GET /v2/ACME/app/manifests/latest", "malformed"},
                                                {"GET /v2/acme%2fapp/manifests/latest", "malformed"},
                                            });
}

TEST(Services, OfSonarqubeAreAboutAProjectThatTheQueryNames) {
  expect(connector_of(ConnectorClass::sonarqube),
         {
             {"GET /api/server/version", "fetch (protocol)"},
             {"GET /api/settings/values", "fetch (protocol)"},
             {"GET /api/settings/values?component=acme:app", "fetch acme:app"},
             {"GET /api/qualityprofiles/search?project=acme%3Aapp&defaults=true", "fetch acme:app"},
             {"POST /api/ce/submit?projectKey=acme", "push acme"},
             {"GET /api/users/search?project=acme", "fetch (page)"},
             {"POST /api/user_tokens/generate?name=x", "denied"},
             {"POST /api/ce/submit", "malformed"},
             {"POST /api/ce/submit?projectKey=acme&projectKey=other", "malformed"},
             {"POST /api/ce/submit?projectKey=acme&project%4bey=other", "malformed"},
             {"GET /api/measures/component?component=acme&componentId=AX", "malformed"},
             // By its former name a parameter is obeyed before its own.
             {"GET /api/measures/component?component=acme&componentKey=other", "malformed"},
             {"GET /api/settings/values?componentKey=other&component=acme", "malformed"},
             {"GET /api/settings/values?componentKey=other", "malformed"},
             {"GET /api/qualityprofiles/search?project=acme&projectKey=other", "malformed"},
             {"GET /api/qualityprofiles/search?projectKey=other", "malformed"},
             {"GET /api/ce/component?component=acme&componentKey=other", "malformed"},
             {"GET /api/settings/values?component=a%2Cb", "malformed"},
         });
}

TEST(Services, OfKubernetesAreAboutANamespace) {
  expect(connector_of(ConnectorClass::k8s),
         {
             {"GET /version", "fetch (protocol)"},
             {"GET /apis/apps/v1", "fetch (protocol)"},
             {"GET /openapi/v3/apis/apps/v1", "fetch (protocol)"},
             {"GET /api/v1/namespaces/acme/pods", "fetch acme"},
             {"GET /api/v1/namespaces/acme/pods?watch=true", "fetch acme"},
             {"PATCH /apis/apps/v1/namespaces/acme/deployments/app", "push acme"},
             {"DELETE /api/v1/namespaces/acme/pods/app", "push acme"},
             {"GET /api/v1/namespaces/acme/pods/app/log", "fetch acme"},
             {"GET /api/v1/namespaces/acme/pods/app/exec?command=sh", "push acme"},
             {"GET /api/v1/namespaces/acme/services/http:app:80/proxy/x", "push acme"},
             {"GET /api/v1/nodes/n1", "fetch (everything)"},
             {"GET /api/v1/nodes/n1/proxy/run/x", "push (everything)"},
             {"GET /api/v1/pods", "fetch (everything)"},
             {"GET /api/v1/namespaces", "fetch (everything)"},
             {"POST /apis/rbac.authorization.k8s.io/v1/clusterroles", "push (everything)"},
             {"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "fetch (protocol)"},
             {"POST /api/v1/namespaces/acme/serviceaccounts/default/token", "denied"},
             {"POST /apis/certificates.k8s.io/v1/certificatesigningrequests", "denied"},
             {"GET /metrics", "denied"},
         });
}

TEST(Services, OfARegistryMountNothingFromAnotherRepository) {
  const auto said = [](std::string_view line) {
    Target target;
    EXPECT_FALSE(parse_target(line, target)) << line;
    return mounts(target);
  };
  EXPECT_TRUE(said("/v2/acme/app/blobs/uploads/?mount=sha256:0a&from=other/secret"));
  EXPECT_TRUE(said("/v2/acme/app/blobs/uploads/?%66rom=other/secret&mount=sha256:0a"));
  EXPECT_FALSE(said("/v2/acme/app/blobs/uploads/?digest=sha256:0a"));
  EXPECT_FALSE(said("/v2/acme/app/blobs/uploads/"));
}

}  // namespace
}  // namespace mintfs::proxy
