#include "broker/encoding.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace mintfs::broker {
namespace {

std::optional<std::string> from_base64url(std::string_view text) {
  std::string out(text.size() * 3 / 4 + 1, '\0');
  const auto size = base64url_decode(text, out.data());
  if (!size) return std::nullopt;
  out.resize(*size);
  return out;
}

// RFC 4648 section 10.
TEST(Encoding, AgreesWithTheVectorsOfTheRfc) {
  struct Case {
    std::string_view plain, base64, base32, hex;
  };
  for (const auto& each : {Case{"", "", "", ""}, Case{"f", "Zg==", "my", "66"}, Case{"fo", "Zm8=", "mzxq", "666f"},
                           Case{"foo", "Zm9v", "mzxw6", "666f6f"}, Case{"foob", "Zm9vYg==", "mzxw6yq", "666f6f62"},
                           Case{"fooba", "Zm9vYmE=", "mzxw6ytb", "666f6f6261"},
                           Case{"foobar", "Zm9vYmFy", "mzxw6ytboi", "666f6f626172"}}) {
    EXPECT_EQ(base64_encode(each.plain), each.base64);
    EXPECT_EQ(base64_decode(each.base64), each.plain);
    const std::string unpadded(each.base64.substr(0, each.base64.find('=')));
    EXPECT_EQ(base64url_encode(each.plain), unpadded);
    EXPECT_EQ(from_base64url(unpadded), each.plain);
    EXPECT_EQ(base32_encode(each.plain), each.base32);
    EXPECT_EQ(hex_encode(each.plain), each.hex);
    EXPECT_EQ(hex_decode(each.hex), each.plain);
  }
}

TEST(Encoding, BringsEveryByteBackInEveryPlace) {
  for (std::size_t length = 1; length <= 4; ++length)
    for (std::size_t place = 0; place < length; ++place)
      for (int byte = 0; byte < 256; ++byte) {
        std::string plain(length, 'x');
        plain[place] = static_cast<char>(byte);
        ASSERT_EQ(base64_decode(base64_encode(plain)), plain);
        ASSERT_EQ(from_base64url(base64url_encode(plain)), plain);
        ASSERT_EQ(hex_decode(hex_encode(plain)), plain);
        ASSERT_EQ(base64_encode(plain).size(), base64_size(length));
        ASSERT_EQ(base64url_encode(plain).size(), base64url_size(length));
      }
}

TEST(Encoding, UsesTheAlphabetsOfSections4And5) {
  EXPECT_EQ(base64_encode("\xfb\xff"), "+/8=");
  EXPECT_EQ(base64url_encode("\xfb\xff"), "-_8");
}

TEST(Encoding, Base64RefusesEveryOtherSpelling) {
  for (const std::string_view text :
       {"Zg", "Zg=", "Zg===", "Zg====", "Zg=a", "Z===", "====", "=",
        "Zm9v====", "Zm9vYg==Zg==", "Zh==", "Zm9=", " Zg==", "Zg==\n", "Zm 9", "Zm-_", "Zm\x80v", "Zm9v=", "Zm\n9v"})
    EXPECT_FALSE(base64_decode(text)) << text;
  EXPECT_FALSE(base64_decode(std::string_view("Zg\0=", 4)));
}

TEST(Encoding, Base64UrlRefusesEveryOtherSpelling) {
  for (const std::string_view text : {"Z", "Zg==", "Zh", "Zm9", "Zm9vY", "Zm+/", "Zm 9", "Zm9v\n", "Zm\x80v", "Zm.v"})
    EXPECT_FALSE(from_base64url(text)) << text;
}

// Two texts for one value would be two tokens for one: count the spellings that decode.
TEST(Encoding, Base64UrlHasOneSpellingPerValue) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  int accepted = 0;
  for (const char first : alphabet)
    for (const char second : alphabet) {
      const std::string text{first, second};
      if (const auto value = from_base64url(text)) {
        ++accepted;
        EXPECT_EQ(base64url_encode(*value), text);
      }
    }
  EXPECT_EQ(accepted, 256);
}

TEST(Encoding, HexRefusesUpperCaseAndOddLength) {
  for (const std::string_view text : {"A0", "0", "0g", "0x", " 0", "00 "}) EXPECT_FALSE(hex_decode(text)) << text;
}

}  // namespace
}  // namespace mintfs::broker
