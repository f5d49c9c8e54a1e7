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
  if (routed.target.scope_slash != 0 && !takes_scopes(connector.connector_class)) return "malformed";
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
             {"GET /artifactory/api/security/apiKey", "denied"},
             {"GET /artifactory/api/docker/x/v2/token", "denied"},
             {"POST /access/api/v1/tokens", "denied"},
             {"GET /artifactory/access/api/v1/tokens", "denied"},
         });
  expect(connector_of(ConnectorClass::jfrog, "https://host/artifactory"),
         {{"GET /libs-release/a.jar", "fetch libs-release"}, {"GET /api/security/apiKey", "denied"}});
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
