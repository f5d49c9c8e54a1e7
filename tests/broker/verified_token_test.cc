#include "broker/verified_token.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace mintfs::broker {
namespace {

LeaseKey key_of(char c) {
  LeaseKey key;
  std::fill(key.bytes().begin(), key.bytes().end(), c);
  return key;
}

std::string mint(std::string_view id, std::string_view subject = "uid:1000", std::uint32_t kid = 1) {
  const Claims claims{.audience = "http://127.0.0.1:8418",
                      .subject = subject,
                      .lease = "abcdefghijklmnopqrstuvwxyz",
                      .connector = "default/github",
                      .issued = 1'767'225'600,
                      .expires = 1'767'227'400,
                      .id = id};
  Signer signer;
  std::string token(token_size(claims, kid), '\0');
  mint_token(claims, kid, key_of('k'), signer, token.data());
  return token;
}

void set(VerifiedToken& verified, std::string_view token) {
  ParsedToken parsed;
  ASSERT_FALSE(parse_token(token, parsed).failed());
  verified.set(token, parsed, key_of('k'));
  parsed.payload.fill('x');  // what was kept does not point into it
}

TEST(VerifiedToken, IsNoneAtFirst) {
  const VerifiedToken verified;
  EXPECT_FALSE(verified.is(""));
  EXPECT_FALSE(verified.is(mint("0123456789abcdef")));
}

TEST(VerifiedToken, SaysWhatTheTokenSays) {
  VerifiedToken verified;
  set(verified, mint("0123456789abcdef"));
  EXPECT_EQ(verified.claims().audience, "http://127.0.0.1:8418");
  EXPECT_EQ(verified.claims().subject, "uid:1000");
  EXPECT_EQ(verified.claims().lease, "abcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(verified.claims().connector, "default/github");
  EXPECT_EQ(verified.claims().issued, 1'767'225'600);
  EXPECT_EQ(verified.claims().expires, 1'767'227'400);
  EXPECT_EQ(verified.claims().id, "0123456789abcdef");
}

TEST(VerifiedToken, IsTheseVeryBytesOnly) {
  VerifiedToken verified;
  const std::string token = mint("0123456789abcdef");
  set(verified, token);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string other = token;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_FALSE(verified.is(other)) << i;
    EXPECT_FALSE(verified.is(std::string_view(token).substr(0, i))) << i;
  }
  EXPECT_FALSE(verified.is(token + "A"));
  EXPECT_TRUE(verified.is(token));
}

TEST(VerifiedToken, IsTheLastOne) {
  VerifiedToken verified;
  const std::string one = mint("0123456789abcdef"), longer = mint("fedcba9876543210", "pod:team/a-name-that-is-longer");
  for (const auto& token : {one, longer, one}) {
    set(verified, token);
    EXPECT_EQ(verified.is(one), token == one);
    EXPECT_EQ(verified.is(longer), token == longer);
    EXPECT_EQ(verified.claims().id, token == one ? "0123456789abcdef" : "fedcba9876543210");
    EXPECT_EQ(verified.claims().subject, token == one ? "uid:1000" : "pod:team/a-name-that-is-longer");
  }
}

TEST(VerifiedToken, KnowsTheKeyAndItsVersion) {
  VerifiedToken verified;
  set(verified, mint("0123456789abcdef", "uid:1000", 3));
  EXPECT_TRUE(verified.was_signed_with(3, key_of('k')));
  EXPECT_FALSE(verified.was_signed_with(3, key_of('l')));
  EXPECT_FALSE(verified.was_signed_with(4, key_of('k')));
}

}  // namespace
}  // namespace mintfs::broker
