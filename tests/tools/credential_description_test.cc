#include "credential/description.h"

#include <gtest/gtest.h>

namespace mintfs::credential {
namespace {

std::string problem_of(std::string_view input) {
  std::string problem;
  const bool read = parse_description(input, problem).has_value();
  EXPECT_EQ(read, problem.empty());
  return problem;
}

Description read(std::string_view input) {
  std::string problem;
  return parse_description(input, problem).value();
}

TEST(Description, HoldsWhatGitSaidUpToTheEmptyLine) {
  const auto got = read(
      "capability[]=authtype\nprotocol=https\nhost=a.example:8443\npath=x/y.git\nusername=\npassword=a=b \n"
      "password_expiry_utc=17\noauth_refresh_token=r\nauthtype=Bearer\ncredential=c\nunknown=x\nwwwauth[]=Basic\n"
      "\nhost=other\nrubbish");
  EXPECT_EQ(got.protocol, "https");
  EXPECT_EQ(got.host, "a.example:8443");
  EXPECT_EQ(got.path, "x/y.git");
  EXPECT_EQ(got.username, "");
  EXPECT_EQ(got.password, "a=b ");
  EXPECT_EQ(got.password_expiry_utc, 17);
  EXPECT_EQ(got.oauth_refresh_token, "r");
  EXPECT_EQ(got.authtype, "Bearer");
  EXPECT_EQ(got.credential, "c");
  EXPECT_TRUE(got.can_authtype);
  EXPECT_FALSE(got.ephemeral);
}

TEST(Description, MayEndWithoutAnEmptyLineOrANewline) {
  EXPECT_EQ(read("host=a").host, "a");
  EXPECT_EQ(read("host=a\n").host, "a");
  EXPECT_FALSE(read("").host);
  EXPECT_EQ(read("host=a\nhost=b").host, "b");
}

TEST(Description, ThatCouldBeReadInTwoWaysIsMalformed) {
  EXPECT_NE(problem_of("host=a\r"), "");
  EXPECT_NE(problem_of("host=a\r\nprotocol=https\n"), "");
  EXPECT_NE(problem_of("protocol=https\nhost=a\r\n"), "");
  EXPECT_NE(problem_of("protocol=https\r\nhost=a\r\r\n"), "");
  EXPECT_NE(problem_of("host=a\rb\n"), "");
  EXPECT_NE(problem_of(std::string_view("host=a\0b\n", 9)), "");
  EXPECT_NE(problem_of("host\n"), "");
  EXPECT_EQ(problem_of("protocol=https\r\nhost=a\r\n\r\n"), "");
  EXPECT_EQ(read("protocol=https\r\nhost=a\r\n\r\nx").host, "a");
}

TEST(Description, IsBounded) {
  const std::string most = "k=" + std::string(kMaxLine - 2, 'x');
  EXPECT_EQ(problem_of(most + "\n"), "");
  EXPECT_NE(problem_of(most + "x\n"), "");
  std::string input;
  while (input.size() + 4 <= kMaxInput) input += "k=v\n";
  EXPECT_EQ(problem_of(input), "");
  EXPECT_NE(problem_of(input + "\n"), "");
}

TEST(Description, TakesAnExpiryThatIsNoNumberForNone) {
  for (const auto* value : {"", "x", "1x", "-1", "0", "99999999999999999999"})
    EXPECT_FALSE(read(std::string("password_expiry_utc=") + value).password_expiry_utc) << value;
}

TEST(Description, ForgetsCapabilitiesAtAnEmptyOne) {
  EXPECT_FALSE(read("capability[]=authtype\ncapability[]=\n").can_authtype);
  EXPECT_TRUE(read("capability[]=authtype\ncapability[]=state\n").can_authtype);
}

}  // namespace
}  // namespace mintfs::credential
