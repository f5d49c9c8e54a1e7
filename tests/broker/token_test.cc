#include "broker/token.h"

#include "parts.h"

#include <gtest/gtest.h>

#include <functional>

namespace mintfs::broker {
namespace {

constexpr std::string_view kHeader = R"({"alg":"HS256","kid":"1","typ":"JWT"})";
constexpr std::string_view kPayload =
    R"({"iss":"mintfs","aud":"http://127.0.0.1:8418","sub":"uid:1000","lease":"abcdefghijklmnopqrstuvwxyz",)"
    R"("con":"default/github","iat":1767225600,"exp":1767227400,"jti":"0123456789abcdef"})";
constexpr Time kIssued{std::chrono::seconds(1'767'225'600)};
constexpr Time kExpires{std::chrono::seconds(1'767'227'400)};

const Claims kClaims{.audience = "http://127.0.0.1:8418",
                     .subject = "uid:1000",
                     .lease = "abcdefghijklmnopqrstuvwxyz",
                     .connector = "default/github",
                     .issued = 1'767'225'600,
                     .expires = 1'767'227'400,
                     .id = "0123456789abcdef"};

LeaseKey key_of(char c) {
  LeaseKey key;
  std::fill(key.bytes().begin(), key.bytes().end(), c);
  return key;
}

std::string mint(const Claims& claims, std::uint32_t kid = 1, const LeaseKey& key = key_of('k')) {
  Signer signer;
  std::string token(token_size(claims, kid), '\0');
  EXPECT_EQ(mint_token(claims, kid, key, signer, token.data()), token.data() + token.size());
  return token;
}

Errc parse(std::string_view token) {
  ParsedToken parsed;
  return static_cast<Errc>(parse_token(token, parsed).value());
}

std::string signed_as(std::string_view header, std::string_view payload) {
  return test::jwt(header, payload, key_of('k').reveal());
}

// `text` with the first `from` replaced.
std::string with(std::string_view text, std::string_view from, std::string_view to) {
  std::string changed(text);
  const std::size_t at = changed.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return changed.replace(at, from.size(), to);
}

TEST(Token, IsAJwtInTheSpellingOfTheRfc) { EXPECT_EQ(mint(kClaims), signed_as(kHeader, kPayload)); }

TEST(Token, GivesItsClaimsBack) {
  const std::string token = mint(kClaims, 4'294'967'295);
  ParsedToken parsed;
  ASSERT_FALSE(parse_token(token, parsed).failed());
  EXPECT_EQ(parsed.kid, 4'294'967'295);
  EXPECT_EQ(parsed.claims.audience, kClaims.audience);
  EXPECT_EQ(parsed.claims.subject, kClaims.subject);
  EXPECT_EQ(parsed.claims.lease, kClaims.lease);
  EXPECT_EQ(parsed.claims.connector, kClaims.connector);
  EXPECT_EQ(parsed.claims.issued, kClaims.issued);
  EXPECT_EQ(parsed.claims.expires, kClaims.expires);
  EXPECT_EQ(parsed.claims.id, kClaims.id);
  EXPECT_EQ(parsed.signing_input, std::string_view(token).substr(0, token.rfind('.')));
}

TEST(Token, HasTheSizeThatWasPromised) {
  for (const std::uint32_t kid : {1u, 9u, 10u, 999'999'999u, 1'000'000'000u, 4'294'967'295u})
    for (const std::string_view subject : {"u", "uid:1", "uid:10", "pod:ns/name"}) {
      Claims claims = kClaims;
      claims.subject = subject;
      EXPECT_EQ(mint(claims, kid).size(), token_size(claims, kid));
    }
}

TEST(Token, OfTheLongestNamesFits) {
  Claims claims = kClaims;
  const std::string audience(512, 'a'), subject(512, 's'),
      connector = std::string(63, 'n') + "/" + std::string(63, 'c');
  claims.audience = audience;
  claims.subject = subject;
  claims.connector = connector;
  const std::string token = mint(claims);
  EXPECT_LE(token.size(), kMaxTokenSize);
  EXPECT_EQ(parse(token), Errc{});
}

TEST(Token, IsRefusedInAnyOtherForm) {
  const std::string token = mint(kClaims);
  const std::size_t first = token.find('.'), second = token.rfind('.');
  const std::string header = token.substr(0, first), payload = token.substr(first + 1, second - first - 1);
  const std::string signature = token.substr(second + 1);
  for (const std::string& other : {std::string(),
                                   std::string("."),
                                   std::string(".."),
                                   std::string("..."),
                                   std::string("token"),
                                   header,
                                   header + "." + payload,
                                   header + "." + payload + ".",
                                   "." + payload + "." + signature,
                                   header + ".." + signature,
                                   token + ".",
                                   "." + token,
                                   token + "." + signature,
                                   token + "=",
                                   token + "\n",
                                   " " + token,
                                   token + signature,
                                   header + "=." + payload + "." + signature,
                                   header + "." + payload + "==." + signature,
                                   header + "." + payload + "." + signature.substr(0, 42),
                                   header + "." + payload + "." + signature + "A",
                                   header + "." + payload + "." + std::string(43, '.'),
                                   header + " ." + payload + "." + signature,
                                   token + std::string(kMaxTokenSize, 'A'),
                                   std::string(kMaxTokenSize, 'A'),
                                   std::string(kMaxTokenSize, '.'),
                                   std::string(1'000'000, 'A')})
    EXPECT_EQ(parse(other), Errc::token_malformed) << other.substr(0, 400);
}

// The last character of the signature holds two bits that no byte has; only one spelling is ours.
TEST(Token, HasNoSecondSpellingOfItsSignature) {
  const std::string token = mint(kClaims);
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  Signer signer;
  int accepted = 0;
  for (const char last : alphabet) {
    std::string other = token;
    other.back() = last;
    ParsedToken parsed;
    if (!parse_token(other, parsed).failed() && is_signed_with(parsed, key_of('k'), signer)) ++accepted;
  }
  EXPECT_EQ(accepted, 1);
}

TEST(Token, NamesNoAlgorithmButOurs) {
  for (const std::string_view header :
       {R"({"alg":"none","kid":"1","typ":"JWT"})", R"({"alg":"None","kid":"1","typ":"JWT"})",
        R"({"alg":"NONE","kid":"1","typ":"JWT"})", R"({"alg":"","kid":"1","typ":"JWT"})", R"({"alg":"none"})",
        R"({"alg":"RS256","kid":"1","typ":"JWT"})", R"({"alg":"EdDSA","kid":"1","typ":"JWT"})",
        R"({"alg":"ES256","kid":"1","typ":"JWT"})", R"({"alg":"HS512","kid":"1","typ":"JWT"})",
        R"({"alg":"hs256","kid":"1","typ":"JWT"})", R"({"alg":["HS256"],"kid":"1","typ":"JWT"})",
        R"({"alg":null,"kid":"1","typ":"JWT"})", R"({"kid":"1","typ":"JWT"})", R"({ "typ":"JWT", "alg":"none" })",
        R"({"alg":"RS256","jwk":{"kty":"oct","k":"AAAA"}})", "{}"}) {
    EXPECT_EQ(parse(signed_as(header, kPayload)), Errc::token_algorithm) << header;
    const std::string unsigned_token = base64url_encode(header) + "." + base64url_encode(kPayload) + ".";
    EXPECT_NE(parse(unsigned_token), Errc{}) << header;
  }
}

TEST(Token, HasNoSecondSpellingOfItsHeader) {
  for (const std::string_view header : {R"({"alg":"HS256"})",
                                        R"({"alg":"HS256","typ":"JWT","kid":"1"})",
                                        R"({"alg":"HS256","kid":1,"typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"01","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"0","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"-1","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"+1","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":" 1","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"1x","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"0x1","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"4294967296","typ":"JWT"})",
                                        R"({"alg":"HS256","kid":"1","typ":"JWT","crit":["exp"]})",
                                        R"({"alg":"HS256","kid":"1","typ":"jwt"})",
                                        R"({"alg":"HS256","kid":"1","typ":"JWT"} )",
                                        R"( {"alg":"HS256","kid":"1","typ":"JWT"})",
                                        R"({"alg":"none","alg":"HS256","kid":"1","typ":"JWT"})",
                                        R"({"alg":"HS\u0032\u0035\u0036","kid":"1","typ":"JWT"})",
                                        "",
                                        "[]",
                                        "\"HS256\"",
                                        "{",
                                        "\xff"})
    EXPECT_EQ(parse(signed_as(header, kPayload)), Errc::token_malformed) << header;
  EXPECT_EQ(parse(signed_as(std::string(300, '['), kPayload)), Errc::token_malformed);
}

TEST(Token, HasNoSecondSpellingOfItsClaims) {
  for (const std::string& payload :
       {std::string(),
        std::string("{}"),
        std::string("[]"),
        std::string(kPayload.substr(1)),
        kPayload.data() + std::string(" "),
        " " + std::string(kPayload),
        std::string(kPayload.substr(0, kPayload.size() - 1)),
        with(kPayload, "mintfs", "other"),
        with(kPayload, R"("iss":"mintfs",)", ""),
        with(kPayload, R"("aud":)", R"("aud": )"),
        with(kPayload, R"({"iss")", R"({"iss":"mintfs","iss")"),
        with(kPayload, R"("jti":"0123456789abcdef")", R"("jti":"0123456789abcdef","exp":9999999999)"),
        with(kPayload, R"("iat")", R"("exp":9999999999,"iat")"),
        with(kPayload, "1767225600", "\"1767225600\""),
        with(kPayload, "1767225600", "01767225600"),
        with(kPayload, "1767225600", "-1767225600"),
        with(kPayload, "1767225600", "+1767225600"),
        with(kPayload, "1767225600", "1767225600.0"),
        with(kPayload, "1767225600", "1767225600e0"),
        with(kPayload, "1767227400", "99999999999999999999"),
        with(kPayload, "1767227400", ""),
        with(kPayload, "1767227400", "0"),
        with(kPayload, "uid:1000", ""),
        with(kPayload, "uid:1000", "uid\\u003a1000"),
        with(kPayload, "uid:1000", "uid:1000\\"),
        with(kPayload, "uid:1000", "uid 1000"),
        with(kPayload, "uid:1000", "uid\n1000"),
        with(kPayload, "uid:1000", std::string_view("uid\0", 4)),
        with(kPayload, "uid:1000", "\xc3\xa4"),
        with(kPayload, "uid:1000", "\x7f"),
        with(kPayload, "0123456789abcdef", "")})
    EXPECT_EQ(parse(signed_as(kHeader, payload)), Errc::token_malformed) << payload;
}

TEST(Token, IsRefusedWithAnyBitChanged) {
  const std::string token = mint(kClaims);
  Signer signer;
  for (std::size_t i = 0; i < token.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string altered = token;
      altered[i] = static_cast<char>(altered[i] ^ (1 << bit));
      ParsedToken parsed;
      EXPECT_TRUE(parse_token(altered, parsed).failed() || !is_signed_with(parsed, key_of('k'), signer))
          << i << ' ' << bit;
    }
}

TEST(Token, IsSignedWithItsOwnKeyOnly) {
  const std::string token = mint(kClaims, 1, key_of('k'));
  ParsedToken parsed;
  ASSERT_FALSE(parse_token(token, parsed).failed());
  Signer signer;
  EXPECT_TRUE(is_signed_with(parsed, key_of('k'), signer));
  EXPECT_FALSE(is_signed_with(parsed, key_of('l'), signer));
  EXPECT_FALSE(is_signed_with(parsed, LeaseKey(), signer));
}

// All 32 bytes count: an early end of the comparison would let a guess grow byte by byte.
TEST(Token, IsComparedToTheLastByteOfTheSignature) {
  const std::string token = mint(kClaims);
  ParsedToken parsed;
  ASSERT_FALSE(parse_token(token, parsed).failed());
  Signer signer;
  for (std::size_t i = 0; i < parsed.signature.size(); ++i) {
    parsed.signature[i] = static_cast<char>(parsed.signature[i] ^ 1);
    EXPECT_FALSE(is_signed_with(parsed, key_of('k'), signer)) << i;
    parsed.signature[i] = static_cast<char>(parsed.signature[i] ^ 1);
  }
}

TEST(Token, IsValidFromAMinuteBeforeItWasIssuedUntilItExpires) {
  using namespace std::chrono_literals;
  struct Case {
    Time now;
    Errc error;
  };
  for (const auto& each :
       {Case{kIssued, Errc{}}, Case{kIssued - 60s, Errc{}}, Case{kIssued - 60s - 1ms, Errc::token_not_yet_valid},
        Case{kIssued - 61s, Errc::token_not_yet_valid}, Case{Time{}, Errc::token_not_yet_valid},
        Case{kExpires - 1ms, Errc{}}, Case{kExpires, Errc::token_expired}, Case{kExpires + 1s, Errc::token_expired},
        Case{kExpires + 87'600h, Errc::token_expired}})
    EXPECT_EQ(static_cast<Errc>(check_times(kClaims, each.now).value()), each.error)
        << (each.now - kIssued).count() << " ms after it was issued";
}

}  // namespace
}  // namespace mintfs::broker
