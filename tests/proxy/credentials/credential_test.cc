#include "proxy/credentials/credential.h"

#include "broker/encoding.h"
#include "support/broker_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {
namespace {

using broker::AuthConfig;
using broker::ConnectorConfig;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string basic(std::string_view user, std::string_view password) {
  const std::string pair = std::string(user) + ":" + std::string(password);
  std::string encoded(broker::base64_size(pair.size()), '\0');
  broker::base64_encode(pair, encoded.data());
  return "Authorization: Basic " + encoded + "\r\n";
}

class CredentialTest : public testing::Test {
 protected:
  std::filesystem::path secret(std::string_view name, std::string_view content, mode_t mode = 0600) const {
    const auto file = directory.path() / name;
    std::ofstream(file, std::ios::binary) << content;
    chmod(file.c_str(), mode);
    return file;
  }
  // As an administrator does it: a new file takes the place of the old one.
  void replace(const std::filesystem::path& file, std::string_view content, mode_t mode = 0600) const {
    std::filesystem::rename(secret("next", content, mode), file);
  }
  static ConnectorConfig connector(std::string_view name, const std::filesystem::path& file,
                                   std::string_view address = "http://git.example") {
    ConnectorConfig made = test::connector(name, address);
    made.auth = {.type = AuthConfig::Type::basic, .username = "bot", .secret_file = file};
    return made;
  }
  std::string found(const ConnectorConfig& wanted) {
    const auto credential = store.find(wanted);
    return credential ? std::string(credential->header_line.reveal()) : std::string();
  }
  std::string load_failure(const std::vector<ConnectorConfig>& connectors) {
    try {
      store.load(*test::table_of(connectors));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return {};
  }
  std::vector<std::string> refresh() {
    std::vector<std::string> said;
    store.refresh([&](std::string sentence) { said.push_back(std::move(sentence)); });
    return said;
  }

  test::TempDir directory;
  CredentialStore store;
};

TEST_F(CredentialTest, IsTheHeaderLineOfItsKind) {
  auto git = connector("git", secret("password", "hunter2\n"));
  EXPECT_EQ(load_credential(git)->header_line.reveal(), basic("bot", "hunter2"));
  git.auth = {.type = AuthConfig::Type::bearer, .username = "", .secret_file = secret("token", "t0ken\r\n")};
  EXPECT_EQ(load_credential(git)->header_line.reveal(), "Authorization: Bearer t0ken\r\n");
}

TEST_F(CredentialTest, IsATokenAsItsClassSendsIt) {
  using Class = broker::ConnectorClass;
  struct Case {
    Class connector_class;
    std::string usual;
    std::string page;
  };
  const std::string bearer = "Authorization: Bearer t0ken\r\n";
  for (const auto& each :
       {Case{Class::github, basic("x-access-token", "t0ken"), bearer},
        Case{Class::gitlab, basic("oauth2", "t0ken"), "PRIVATE-TOKEN: t0ken\r\n"},
        Case{Class::pypi, basic("__token__", "t0ken"), basic("__token__", "t0ken")},
        Case{Class::sonarqube, basic("t0ken", ""), basic("t0ken", "")},
        Case{Class::jfrog, "X-JFrog-Art-Api: t0ken\r\n", "X-JFrog-Art-Api: t0ken\r\n"},
        Case{Class::oci, bearer, bearer}, Case{Class::harbor, bearer, bearer}, Case{Class::npm, bearer, bearer},
        Case{Class::maven, bearer, bearer}, Case{Class::nexus, bearer, bearer}, Case{Class::k8s, bearer, bearer}}) {
    auto made = connector("x", secret("token", "t0ken\n"));
    made.connector_class = each.connector_class;
    made.auth.type = AuthConfig::Type::token;
    const auto credential = load_credential(made);
    EXPECT_EQ(credential->line_for(false).reveal(), each.usual) << to_string(each.connector_class);
    EXPECT_EQ(credential->line_for(true).reveal(), each.page) << to_string(each.connector_class);
    EXPECT_TRUE(credential->patterns.contains(credential->header_line.reveal()));
  }
}

TEST_F(CredentialTest, GoesIntoTheHeaderFieldThatTheAdministratorNames) {
  auto made = connector("x", secret("value", "Token t0ken\n"));
  made.auth = {.type = AuthConfig::Type::header, .header_name = "X-Api-Key", .secret_file = made.auth.secret_file};
  const auto credential = load_credential(made);
  EXPECT_EQ(credential->header_line.reveal(), "X-Api-Key: Token t0ken\r\n");
  EXPECT_TRUE(credential->patterns.contains("said \"t0ken\""));
}

TEST_F(CredentialTest, WithAByteThatWouldEndTheHeaderLineIsRefused) {
  using namespace std::string_view_literals;
  for (const auto content : {"a\nb"sv, "a\rb"sv, "a\0b"sv, "a\tb"sv, "a\x7f"sv, "a\n\n"sv, "\0"sv}) {
    const auto file = secret("secret", content);
    for (const auto type : {AuthConfig::Type::basic, AuthConfig::Type::bearer}) {
      auto git = connector("git", file);
      git.auth.type = type;
      EXPECT_THAT(load_failure({git}), HasSubstr(file.string() + " holds more than one line or a control character"))
          << testing::PrintToString(content);
      EXPECT_EQ(found(git), "");
    }
  }
}

TEST_F(CredentialTest, IsFoundForItsVeryConnectorOnly) {
  const auto git = connector("git", secret("one", "1")), other = connector("other", secret("two", "2"));
  ASSERT_EQ(load_failure({git, other}), "");
  EXPECT_EQ(found(git), basic("bot", "1"));
  EXPECT_EQ(found(other), basic("bot", "2"));
  EXPECT_EQ(found(connector("unknown", git.auth.secret_file)), "");
  EXPECT_EQ(found(connector("team/git", git.auth.secret_file)), "");
}

TEST_F(CredentialTest, IsNotFoundOnceItsConnectorHasAnotherAddressOrAccount) {
  const auto git = connector("git", secret("password", "hunter2"), "https://git.example:8443/scm");
  ASSERT_EQ(load_failure({git}), "");
  for (const char* address : {"http://git.example:8443/scm", "https://evil.example:8443/scm", "https://git.example/scm",
                              "https://git.example:8443", "https://git.example:8443/other"})
    EXPECT_EQ(found(connector("git", git.auth.secret_file, address)), "") << address;
  auto changed = git;
  changed.auth.username = "somebody";
  EXPECT_EQ(found(changed), "");
  changed = git;
  changed.auth.secret_file = secret("another", "hunter2");
  EXPECT_EQ(found(changed), "");
  changed = git;
  changed.auth.type = AuthConfig::Type::bearer;
  EXPECT_EQ(found(changed), "");
  changed = git;
  changed.rights.operations = broker::Operations::only(broker::Operation::fetch);
  EXPECT_EQ(found(changed), basic("bot", "hunter2")) << "rights are no part of it";
}

TEST_F(CredentialTest, LoadedAnewReplacesAllOrNothing) {
  const auto git = connector("git", secret("one", "1"));
  ASSERT_EQ(load_failure({git}), "");
  const auto added = connector("added", secret("two", "2")), moved = connector("git", secret("three", "3"));
  // The map is ordered: "added" and "git" are read before "zero" is seen to be missing.
  EXPECT_THAT(load_failure({added, moved, connector("zero", directory.path() / "missing")}),
              HasSubstr("connector 'default/zero': cannot read the secret file"));
  EXPECT_EQ(found(git), basic("bot", "1"));
  EXPECT_EQ(found(moved), "");
  EXPECT_EQ(found(added), "");
  ASSERT_EQ(load_failure({added, moved}), "");
  EXPECT_EQ(found(git), "");
  EXPECT_EQ(found(moved), basic("bot", "3"));
  EXPECT_EQ(found(added), basic("bot", "2"));
}

TEST_F(CredentialTest, IsReadAgainWhenItsFileChanges) {
  const auto git = connector("git", secret("password", "old"));
  ASSERT_EQ(load_failure({git}), "");
  EXPECT_THAT(refresh(), IsEmpty());
  replace(git.auth.secret_file, "new");
  const auto held = store.find(git);
  EXPECT_THAT(refresh(), ElementsAre("connector 'default/git': the secret was read again"));
  EXPECT_EQ(found(git), basic("bot", "new"));
  EXPECT_EQ(held->header_line.reveal(), basic("bot", "old")) << "who is at it keeps what it took";
  EXPECT_THAT(refresh(), IsEmpty());
}

TEST_F(CredentialTest, IsKeptWhileItsFileIsOfNoUse) {
  const auto git = connector("git", secret("password", "old"));
  ASSERT_EQ(load_failure({git}), "");
  const auto spoil = [&](auto how) {
    how();
    EXPECT_THAT(refresh(), ElementsAre(HasSubstr("connector 'default/git' keeps its former secret: ")));
    EXPECT_EQ(found(git), basic("bot", "old"));
    EXPECT_THAT(refresh(), IsEmpty()) << "it is said once";
  };
  spoil([&] { replace(git.auth.secret_file, "readable", 0644); });
  spoil([&] { replace(git.auth.secret_file, ""); });
  spoil([&] { replace(git.auth.secret_file, "two\nlines"); });
  spoil([&] { std::filesystem::remove(git.auth.secret_file); });
  replace(git.auth.secret_file, "good again");
  refresh();
  EXPECT_EQ(found(git), basic("bot", "good again"));
}

}  // namespace
}  // namespace mintfs::proxy
