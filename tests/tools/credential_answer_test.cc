#include "credential/answer.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

namespace mintfs::credential {
namespace {

std::string text(const std::optional<boost::json::object>& object) {
  return object ? boost::json::serialize(*object) : "(none)";
}

std::string lines(std::string_view json, bool can_authtype) {
  const auto object = boost::json::parse(boost::json::string_view(json.data(), json.size())).as_object();
  const auto made = to_lines(object, can_authtype);
  return made ? std::string(made->reveal()) : "(none)";
}

const Description kWeb{.protocol = "https", .host = "a.example"};

TEST(CredentialAnswer, AsksForWhatGitNames) {
  EXPECT_EQ(text(to_get(kWeb)), R"({"protocol":"https","host":"a.example"})");
  Description newer = kWeb;
  newer.can_authtype = true;
  newer.password = "not sent";
  EXPECT_EQ(text(to_get(newer)), R"({"protocol":"https","host":"a.example","capabilities":["authtype"]})");
  EXPECT_EQ(text(to_get({.protocol = "https"})), "(none)");
  EXPECT_EQ(text(to_get({.protocol = "cert", .host = "", .path = "key"})), "(none)");
}

TEST(CredentialAnswer, StoresWhatIsWholeAndOfUseLater) {
  Description login = kWeb;
  login.username = "u";
  EXPECT_EQ(text(to_store(login)), "(none)");
  login.password = "p";
  login.authtype = "Bearer";
  login.credential = "c";
  EXPECT_EQ(text(to_store(login)), R"({"protocol":"https","host":"a.example","username":"u","password":"p"})");
  login.can_authtype = true;
  login.password.reset();
  EXPECT_EQ(text(to_store(login)),
            R"({"protocol":"https","host":"a.example","username":"u","credential":"c","authtype":"Bearer"})");
  login.ephemeral = true;
  EXPECT_EQ(text(to_store(login)), "(none)");
}

TEST(CredentialAnswer, ErasesNothingWhereNothingIsNamed) {
  EXPECT_EQ(text(to_erase({})), "(none)");
  EXPECT_EQ(text(to_erase({.host = ""})), "(none)");
  EXPECT_EQ(text(to_erase({.host = "a", .password = "p"})), R"({"host":"a","password":"p"})");
}

TEST(CredentialAnswer, TellsOnlyWhatThisGitKnows) {
  constexpr std::string_view kBoth =
      R"({"username":"u","password":"p","authtype":"Basic","credential":"c","ephemeral":true,"password_expiry_utc":7})";
  EXPECT_EQ(lines(kBoth, false), "username=u\npassword=p\npassword_expiry_utc=7\n");
  EXPECT_EQ(lines(kBoth, true),
            "capability[]=authtype\nauthtype=Basic\ncredential=c\nephemeral=1\nusername=u\npassword=p\n"
            "password_expiry_utc=7\n");
}

TEST(CredentialAnswer, NeverBecomesMoreLinesThanItHasValues) {
  for (const auto* value : {R"(x\npassword=y)", R"(x\r)", R"(x\u0000)"})
    EXPECT_EQ(lines(std::string(R"({"username":")") + value + "\"}", false), "(none)");
}

}  // namespace
}  // namespace mintfs::credential
