#include "broker/proxy_place.h"

#include "support/broker_fixture.h"

#include <gtest/gtest.h>

namespace mintfs::broker {
namespace {

CredentialPattern at(std::string protocol, std::string host, std::optional<std::string> path = {}) {
  return {.protocol = std::move(protocol), .host = std::move(host), .path = std::move(path), .username = {}};
}

Lease lease_of(std::initializer_list<const char*> names) {
  Lease lease;
  for (const auto* name : names) lease.connectors.push_back(ConnectorName::parse(name).value());
  return lease;
}

std::string connector(std::string_view proxy, std::optional<std::string> path, const Lease& lease) {
  const auto found = connector_at(proxy, at("http", "127.0.0.1:8418", std::move(path)), lease);
  return found ? found->text() : "";
}

TEST(ProxyPlace, IsOneSchemeHostAndPort) {
  EXPECT_TRUE(is_at_proxy("http://127.0.0.1:8418", at("http", "127.0.0.1:8418")));
  EXPECT_TRUE(is_at_proxy("https://mint.example/base", at("https", "mint.example")));
  EXPECT_TRUE(is_at_proxy("https://mint.example", at("https", "MINT.example:443")));
  EXPECT_FALSE(is_at_proxy("https://mint.example", at("http", "mint.example")));
  EXPECT_FALSE(is_at_proxy("http://127.0.0.1:8418", at("http", "127.0.0.1")));
  EXPECT_FALSE(is_at_proxy("http://127.0.0.1:8418", at("http", "127.0.0.1:84180")));
  EXPECT_FALSE(is_at_proxy("http://127.0.0.1:8418", at("http", "127.0.0.1:8418.evil.example")));
  EXPECT_FALSE(is_at_proxy("http://127.0.0.1:8418", {.protocol = "http"}));
}

TEST(ProxyPlace, NamesAConnectorOfTheLeaseByThePath) {
  const Lease lease = lease_of({"github", "team/gitlab"});
  constexpr std::string_view kProxy = "http://127.0.0.1:8418";
  EXPECT_EQ(connector(kProxy, "namespaces/default/connectors/github/acme/app.git", lease), "default/github");
  EXPECT_EQ(connector(kProxy, "namespaces/team/connectors/gitlab", lease), "team/gitlab");
  for (const auto* path : {"", "namespaces", "namespaces/default/connectors", "namespaces/default/connectors/",
                           "namespaces//connectors/github", "namespaces/default/connectors/other/x",
                           "/namespaces/default/connectors/github", "namespaces/team/connectors/github/x",
                           "namespaces/default/connectors/GitHub/x", "namespaces/default/connector/github/x"})
    EXPECT_EQ(connector(kProxy, path, lease), "") << path;
}

TEST(ProxyPlace, LooksBelowThePathOfTheProxysOwnUrl) {
  const Lease lease = lease_of({"github", "team/gitlab"});
  constexpr std::string_view kProxy = "http://127.0.0.1:8418/mint/fs";
  EXPECT_EQ(connector(kProxy, "mint/fs/namespaces/default/connectors/github/a/b", lease), "default/github");
  EXPECT_EQ(connector(kProxy, "namespaces/default/connectors/github/a/b", lease), "");
  EXPECT_EQ(connector(kProxy, "mint/fsnamespaces/default/connectors/github/a/b", lease), "");
}

TEST(ProxyPlace, WithoutAPathIsTheOnlyConnectorThereIs) {
  EXPECT_EQ(connector("http://127.0.0.1:8418", std::nullopt, lease_of({"github"})), "default/github");
  EXPECT_EQ(connector("http://127.0.0.1:8418", std::nullopt, lease_of({"github", "other"})), "");
}

}  // namespace
}  // namespace mintfs::broker
